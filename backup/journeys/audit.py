"""`log verify`: is the evidence log whole, and does it tell of the backups that there are?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.timestamp import Certificate
from backup.errors import IntegrityError, StrongroomError, UnpinnedError
from backup.evidence.accounting import wrong_slots
from backup.evidence.log import Claim, check_log, read_log
from backup.evidence.timestamp import Stamped, check_timestamps
from backup.repository.access import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was read, and everything that is wrong with it, a sentence each."""

    entries: int
    checkpoints: int
    backups: int
    stamps: tuple[Stamped, ...]
    wrong: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether there is a log and nothing is wrong with it."""
        return not self.wrong


def audit(
    repository: Repository,
    allowed: AllowedSigners | None,
    remembered: Sequence[Claim],
    *,
    authorities: Sequence[Certificate] | None = None,
    now: datetime,
) -> Audited:
    """Read the whole log and every manifest; judge slots as of `now`.

    With `authorities` each time stamp must be by one of them; without, it must be over its
    checkpoint. Raises `UnpinnedError` without pinned signers.
    """
    if allowed is None:
        raise UnpinnedError(
            f"UNPINNED: nothing here says whose evidence log {repository.store.address} may hold",
            hint="add --allowed-signers FILE, the line that `strongroom init` printed",
        )
    wrong: list[str] = []
    claims = list(remembered)
    manifests: dict[str, str] = {}
    for key in repository.backups():
        try:
            signed = repository.manifest(key, allowed)
        except StrongroomError as error:
            wrong.append(error.message)
            continue
        manifests[key.id.text] = signed.sha256
        if signed.manifest.log is not None:
            claims.append(Claim(who=f"backup {key.id}", head=signed.manifest.log))
    log = read_log(repository.store)
    wrong += check_log(
        log,
        repository_id=repository.id,
        keys=[signer.public_key for signer in allowed.signers],
        claims=claims,
        manifests=manifests,
    )
    with suppress(IntegrityError):  # of an entry that can't be read `check_log` has told
        wrong += wrong_slots(tuple(log.entries()), now=now)
    stamps, doubtful = check_timestamps(repository.store, authorities)
    wrong += doubtful
    return Audited(
        entries=len(log.lines),
        checkpoints=len(log.notes),
        backups=len(manifests),
        stamps=stamps,
        wrong=tuple(wrong),
    )
