"""`report period`: what the evidence log tells of a stretch of time, signed, in a directory."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup.crypto import merkle
from backup.crypto.allowed_signers import AllowedSigners
from backup.errors import IntegrityError, SettingsError, UnpinnedError
from backup.evidence.bundle import REPORT, SUMS, decode_zip
from backup.evidence.entry import Detail, Entry, EntryType
from backup.evidence.log import Claim, StoredLog, check_log, read_log
from backup.evidence.period import Period, collect
from backup.evidence.periodpack import encode_pack
from backup.evidence.render.period import PERIOD
from backup.evidence.report import Report
from backup.evidence.slot import slot_text
from backup.journeys.reports import evidence_seal, put_in_place, stored_reports, write_new
from backup.repository.access import Repository
from backup.repository.canonical import decode
from backup.repository.manifest import LogHead, sha256_hex
from backup.repository.writing import WritingKeys

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which period: from the first moment up to and without the last; `database` None: all."""

    first: datetime
    last: datetime
    database: str | None


def gather(
    repository: Repository,
    asked: Asked,
    *,
    allowed: AllowedSigners | None,
    remembered: Sequence[Claim],
    directory: Path,
    version: str,
    now: datetime,
) -> tuple[Period, StoredLog]:
    """Return the period, and the log that it is made from, which was verified on the way.

    What is wrong with the log is part of the period: a pack is made all the same, and says so.
    Raises `UnpinnedError` without pins, `SettingsError` for a period that ends before it begins.
    """
    if asked.last <= asked.first:
        raise SettingsError("the period ends before it begins", hint="--from is before --to")
    if allowed is None:
        raise UnpinnedError(
            f"UNPINNED: nothing here says whose evidence log {repository.store.address} may hold",
            hint="add --allowed-signers FILE, the line that `strongroom init` printed",
        )
    log = read_log(repository.store)
    problems = check_log(
        log,
        repository_id=repository.id,
        keys=[signer.public_key for signer in allowed.signers],
        claims=remembered,
    )
    size = max((size for size, _ in log.notes if size <= len(log.lines)), default=0)
    period = collect(
        _readable(log),
        _reports(directory),
        repository_id=repository.id,
        generated_by=version,
        first=asked.first,
        last=asked.last,
        database=asked.database,
        log=LogHead(size=size, root=merkle.root(log.leaves[:size]).hex()),
        log_problems=problems,
        now=now,
    )
    return period, log


def write_pack(
    period: Period,
    log: StoredLog,
    *,
    keys: WritingKeys,
    allowed: AllowedSigners | None,
    directory: Path,
    now: datetime,
) -> dict[str, Detail]:
    """Write the signed files into a directory that is empty or not there.

    A new one appears with all of them or not at all: a run that was killed leaves a hidden one
    beside it, which is not in the next one's way. A pack of the same period that the log was never
    told of, since its run died first, is set aside under a name of its own; it is not deleted.
    Returns the details of the `period.published` that tells of them.
    """
    if directory.exists() and any(directory.iterdir()):
        if not _is_unpublished(directory, period, log):
            raise SettingsError(f"{directory} is not empty", hint="name a new directory with -o")
        aside = directory.with_name(f"{directory.name}.unpublished-{secrets.token_hex(4)}")
        put_in_place(directory, aside)
        _log.warning(
            "the evidence log was never told of the pack in %s: it is set aside as %s",
            directory,
            aside.name,
            extra={"action": "pack_set_aside"},
        )
    pack = encode_pack(period, log, evidence_seal(keys, allowed, now))
    if directory.exists():  # it may be a disk of its own, which nothing can be renamed to
        _write_all(directory, pack)
    else:
        unfinished = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
        try:
            _write_all(unfinished, pack)
            put_in_place(unfinished, directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return {
        "first": slot_text(period.first),
        "last": slot_text(period.last),
        "database": period.database,
        "period_sha256": sha256_hex(pack[PERIOD]),
        "sums_sha256": sha256_hex(pack[SUMS]),
    }


def _is_unpublished(directory: Path, period: Period, log: StoredLog) -> bool:
    """Return whether a directory holds a pack of this very period that the log does not name.

    A log that is not whole may have named any pack.
    """
    if period.log_problems:
        return False
    try:
        sums = sha256_hex((directory / SUMS).read_bytes())
        found = decode(Period, (directory / PERIOD).read_bytes(), PERIOD)
    except (OSError, IntegrityError):
        return False
    published = {
        entry.details.get("sums_sha256")
        for entry in _readable(log)
        if entry.type is EntryType.PERIOD_PUBLISHED
    }
    return (
        found.repository_id == period.repository_id
        and (found.first, found.last, found.database)
        == (period.first, period.last, period.database)
        and sums not in published
    )


def _write_all(directory: Path, pack: Mapping[str, bytes]) -> None:
    for name, data in pack.items():
        write_new(directory / name, data)


def _readable(log: StoredLog) -> list[Entry]:
    """Return the entries up to the first that can't be read; `check_log` names that one."""
    entries: list[Entry] = []
    with suppress(IntegrityError):
        entries.extend(log.entries())
    return entries


def _reports(directory: Path) -> dict[str, Report]:
    """Return the reports on this host, by the SHA-256 that the log names them by."""
    found = {}
    for one in stored_reports(directory):
        if one.report is not None:
            found[sha256_hex(decode_zip(one.path.read_bytes())[REPORT])] = one.report
    return found


def read_pack(directory: Path) -> dict[str, bytes]:
    """Return the files of a pack by name. Raises `IntegrityError` for what is no plain file."""
    members = {}
    for path in sorted(directory.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise IntegrityError(f"{path.name} in {directory} is no plain file")
        members[path.name] = path.read_bytes()
    return members
