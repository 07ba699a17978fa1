"""The first proof: a database that no restore test has judged yet does not wait for its schedule.

The daemon's own backups ask for it. A database without a table is left alone: restoring nothing
proves nothing, and the backup after its first table comes soon enough.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from backup.evidence.entry import Entry, EntryType
from backup.evidence.selection import Choice
from backup.evidence.verdict import Word
from backup.journeys.create import Created
from backup.journeys.progress import Progress
from backup.journeys.restoretest import Concluded, Examiner, restore_test
from backup.journeys.threads import to_end
from backup.repository.layout import encode_name


async def first_test(
    examiner: Examiner,
    made: Created,
    *,
    clock: Callable[[], datetime],
    random: Callable[[int], bytes],
    progress: Progress,
) -> Concluded | None:
    """Restore-test a backup if it has a table and none of its database was judged; else None.

    Judged is PASS or FAIL: a test that was broken off, or came to no conclusion, is made up for
    by the next backup. Raises what `restore_test` raises; the backup is there all the same.
    """
    database = made.manifest.database
    place = examiner.state_directory / "judged"
    known = place / f"{examiner.repository.id}-{encode_name(database)}"
    log = examiner.log
    if not made.tables or log is None or known.exists():
        return None
    told = await to_end(partial(log.newest, partial(_judges, database=database)))
    concluded = None
    if told is None:
        choice = Choice(rule="named", backup_id=made.manifest.backup_id)
        concluded = await restore_test(
            examiner, choice, database=database, clock=clock, random=random, progress=progress
        )
        if concluded.report.verdict.word is Word.INCONCLUSIVE:
            return concluded
    # Only so that the log is not read to its beginning by every backup.
    place.mkdir(mode=0o700, exist_ok=True)
    known.touch(mode=0o600)
    return concluded


def _judges(entry: Entry, database: str) -> bool:
    verdict = str(entry.details.get("verdict"))
    return (
        entry.type is EntryType.RESTORE_TEST_FINISHED
        and entry.details.get("database") == database
        and verdict.startswith((Word.PASS, Word.FAIL))
    )
