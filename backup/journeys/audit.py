"""`log verify`, and `verify`: is the evidence log whole, and does it tell of the backups?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.timestamp import Certificate
from backup.errors import IntegrityError, StrongroomError, UnpinnedError
from backup.evidence.accounting import wrong_slots
from backup.evidence.entry import EntryType
from backup.evidence.log import TELLS_OF_A_BACKUP, Claim, check_log, read_log
from backup.evidence.timestamp import Stamped, check_timestamps
from backup.repository.access import Repository
from backup.repository.layout import BackupKey


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the evidence log says of some backups; `entries` 0: there is none, as in a copy.

    `untold` are backups whose run began and has not said yet that it came to its end: it is at
    work, or was killed after its manifest, and the next backup says so.
    """

    entries: int
    untold: tuple[str, ...]
    wrong: tuple[str, ...]


def hear(
    repository: Repository,
    keys: Sequence[BackupKey],
    allowed: AllowedSigners,
    remembered: Sequence[Claim],
) -> Heard:
    """Read the log, which must be whole and tell of each of these backups, by its manifest.

    Others may be at work meanwhile. A manifest that cannot be read is `verify`'s own finding.
    """
    claims = list(remembered)
    manifests: dict[str, str] = {}
    for key in keys:
        with suppress(StrongroomError):
            signed = repository.manifest(key, allowed)
            manifests[key.id.text] = signed.sha256
            if signed.manifest.log is not None:
                claims.append(Claim(who=f"backup {key.id}", head=signed.manifest.log))
    log = read_log(repository.store)
    if not log.lines:
        return Heard(entries=0, untold=(), wrong=())
    wrong = check_log(
        log,
        repository_id=repository.id,
        keys=[signer.public_key for signer in allowed.signers],
        claims=claims,
        is_at_rest=False,
    )
    if wrong:
        return Heard(entries=len(log.lines), untold=(), wrong=wrong)
    begun: set[str] = set()
    told: dict[str, set[str]] = {}
    for entry in log.entries():
        backup = str(entry.details.get("backup"))
        if entry.type is EntryType.BACKUP_STARTED:
            begun.add(backup)
        elif entry.type in TELLS_OF_A_BACKUP:
            told.setdefault(backup, set()).add(str(entry.details.get("manifest_sha256")))
    untold = tuple(id_ for id_ in manifests if id_ in begun and id_ not in told)
    others = [id_ for id_, sha256 in manifests.items() if told.get(id_, {sha256}) != {sha256}]
    strange = [id_ for id_ in manifests if id_ not in told and id_ not in begun]
    return Heard(
        entries=len(log.lines),
        untold=untold,
        wrong=(
            *(f"backup {id_} has another manifest than the one that was logged" for id_ in others),
            *(f"backup {id_} exists, and no entry says that it was begun" for id_ in strange),
        ),
    )
