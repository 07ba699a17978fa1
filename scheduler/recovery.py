"""Where a daemon that starts finds out how things stand: from its journal and the evidence log.

The journal tells what was at work when the last daemon died. Without a journal the log tells up to
when each job's slots are answered for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from backup.evidence.accounting import due_slots, promises
from backup.evidence.entry import Entry, EntryType
from backup.evidence.slot import Policy
from scheduler.jobs import JobKey
from scheduler.outcomes import Outcome
from scheduler.plan import Missed, Patience, SlotRecord, State, ended
from scheduler.recorder import answers

_STARTS: Final = frozenset({EntryType.BACKUP_STARTED, EntryType.RESTORE_TEST_STARTED})
# What ends a run in good order; each other end needs a look at what the entry says.
_GOOD_ENDS: Final = frozenset(
    {EntryType.BACKUP_FINISHED, EntryType.PRUNE_EXECUTED, EntryType.PERIOD_PUBLISHED}
)

# What must be none of for a good end.
_COUNTS: Final = {
    EntryType.VERIFY_FINISHED: ("damages", "unpinned"),
    EntryType.COPY_FINISHED: ("failed", "errors"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What the log alone tells: floors, the policies in force, slots that nobody answered."""

    floors: dict[JobKey, datetime]
    policies: dict[JobKey, Policy]
    missed: tuple[Missed, ...]


def rebuild(entries: Sequence[Entry], *, now: datetime) -> Rebuilt:
    """Return how every job stands by the log.

    A newest slot that was only begun is due again: whoever ran it is dead.
    """
    floors: dict[JobKey, datetime] = {}
    policies: dict[JobKey, Policy] = {}
    for promise in promises(entries)[0]:
        key = JobKey(job=promise.policy.job, database=promise.policy.database or "")
        if promise.schedule is None:
            floors.pop(key, None)
            policies.pop(key, None)
        else:
            floors[key] = max(promise.since, floors.get(key, promise.since))
            policies[key] = promise.policy
    slots: dict[JobKey, list[tuple[datetime, bool, bool]]] = {}
    for slot in due_slots(entries, now=now):
        key = JobKey(job=slot.job, database=slot.database or "")
        is_begun = bool(slot.answered_by)
        is_settled = slot.missed_by is not None or any(
            entry.type not in _STARTS for entry in slot.answered_by
        )
        slots.setdefault(key, []).append((slot.due, is_begun, is_settled))
    missed: list[Missed] = []
    for key, known in slots.items():
        answered = [one for one in known if one[1] or one[2]]
        if key in floors and answered:
            due, _, is_settled = max(answered)
            reached = due if is_settled else due - timedelta(seconds=1)
            floors[key] = max(floors[key], reached)
        limit = floors.get(key, now)
        gaps = [due for due, is_begun, is_settled in known if not is_begun and not is_settled]
        missed += _stretches(key, [due for due in gaps if due <= limit], known)
    return Rebuilt(floors=floors, policies=policies, missed=tuple(missed))


def _stretches(
    key: JobKey, gaps: Sequence[datetime], known: Sequence[tuple[datetime, bool, bool]]
) -> list[Missed]:
    """Return slots that nobody answered, as runs without an answered one in between."""
    order = {due: number for number, (due, _, _) in enumerate(sorted(known))}
    found: list[Missed] = []
    for due in sorted(gaps):
        last = found[-1] if found else None
        if last is not None and order[due] == order[last.last] + 1:
            found[-1] = replace(last, last=due, slots=last.slots + 1)
        else:
            found.append(Missed(key=key, first=due, last=due, slots=1, reason="down"))
    return found


def outcome_by_log(
    record: SlotRecord, entries: Sequence[Entry], backups: Callable[[str], Collection[str]]
) -> Outcome | None:
    """Return what the log says came of a run whose end nobody saw; None: it has to be done again.

    A backup exists if its manifest does, even if nobody lived to log that; `backups` gives the ids
    of a database's backups. A restore test whose report was not published is no evidence.
    """
    published = {
        one.details.get("report") for one in entries if one.type is EntryType.REPORT_PUBLISHED
    }
    for entry in entries:
        if not answers(entry, record.key, record.due):
            continue
        said = entry.details
        if entry.type in _GOOD_ENDS:
            return Outcome.SUCCEEDED
        if entry.type is EntryType.PRUNE_BLOCKED:
            return Outcome.FAILED
        if entry.type in _COUNTS:
            is_clean = all(said.get(name) == 0 for name in _COUNTS[entry.type])
            is_empty = entry.type is EntryType.VERIFY_FINISHED and not said.get("backups")
            return _good(is_clean and not is_empty)
        if entry.type is EntryType.RESTORE_TEST_FINISHED and said.get("report") in published:
            return _good(str(said.get("verdict")).startswith("PASS"))
        is_begun = entry.type is EntryType.BACKUP_STARTED
        if is_begun and said.get("backup") in backups(record.key.database):
            return Outcome.SUCCEEDED
    return None


def _good(is_good: object) -> Outcome:
    return Outcome.SUCCEEDED if is_good else Outcome.FAILED


def settled(
    record: SlotRecord, outcome: Outcome | None, *, now: datetime, patience: Patience
) -> SlotRecord:
    """Return how a slot stands whose run died with its daemon; `outcome` is what the log says."""
    messages = {
        Outcome.SUCCEEDED: "",
        Outcome.FAILED: "the evidence log has its result: not good",
    }
    return ended(
        record,
        now,
        outcome=outcome or Outcome.INTERRUPTED,
        exit_code=None,
        message="the daemon died while this was at work" if outcome is None else messages[outcome],
        patience=patience,
        chance=0.0,
    )


def interrupted(records: Iterable[SlotRecord]) -> list[SlotRecord]:
    """Return what was at work when the daemon died."""
    return [record for record in records if record.state is State.RUNNING]
