"""Since when somebody else vouches for a report: the seal S3 of `docs/verdict.md`.

The report itself is signed before any authority could be asked: a time stamp is over a later
checkpoint, and the log in the repository shows that what the report was proven under comes before.
"""

from __future__ import annotations

from collections.abc import Sequence

from backup.crypto import merkle
from backup.crypto.note import open_checkpoint
from backup.crypto.sshkey import PublicKey
from backup.crypto.timestamp import Certificate
from backup.errors import IntegrityError
from backup.evidence.log import origin, read_log
from backup.evidence.timestamp import Stamped, check_timestamps
from backup.repository.access import Repository


def stamped_since(
    repository: Repository,
    note: bytes,
    keys: Sequence[PublicKey],
    authorities: Sequence[Certificate],
) -> Stamped | None:
    """Return the earliest time stamp over what a report's checkpoint is over; None: there is none.

    Each step is verified: the authority, both checkpoints, and that the log under the later one
    begins with that of the report. Raises `IntegrityError` if the log holds other entries.
    """
    name = origin(repository.id)
    told, _ = open_checkpoint(note, name, keys)
    log = read_log(repository.store)
    roots = merkle.prefix_roots(log.leaves)
    if told.size >= len(roots) or roots[told.size] != told.root:
        raise IntegrityError(
            f"the evidence log of {repository.store.address} does not begin with what this report"
            " was proven under",
            hint="`strongroom log verify` names everything that is wrong",
        )
    stamps, _ = check_timestamps(repository.store, authorities)
    notes = dict(log.notes)
    for stamp in stamps:
        later, _ = open_checkpoint(notes[stamp.size], name, keys)
        if told.size <= later.size < len(roots) and roots[later.size] == later.root:
            return stamp
    return None
