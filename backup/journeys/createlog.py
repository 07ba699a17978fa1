"""What a backup tells the evidence log: that it begins, that it exists, or why it does not."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime, timedelta
from pathlib import Path

from backup.errors import StrongroomError
from backup.evidence.entry import Detail, EntryType
from backup.evidence.log import TELLS_OF_A_BACKUP, EvidenceLog
from backup.repository.access import SignedManifest
from backup.repository.layout import BackupKey
from backup.repository.manifest import LogHead, Manifest

_log = logging.getLogger(__name__)


def is_logged(told: Path, previous: SignedManifest, head: LogHead) -> bool:
    """Whether this host's last run of this database noted that it told the log of that backup.

    Only if the log is longer now than it was then. Without the note the log is looked through: with
    many databases there are hundreds of entries between two backups of one.
    """
    with contextlib.suppress(OSError, ValueError):
        id_, size = told.read_text(encoding="ascii").split()
        return id_ == previous.manifest.backup_id and int(size) < head.size
    return False


def remember(told: Path, key: BackupKey, head: LogHead) -> None:
    """Note that the log was told of a backup."""
    with contextlib.suppress(OSError):
        told.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        told.write_text(f"{key.id.text} {head.size}\n", encoding="ascii")


def reconcile(log: EvidenceLog, previous: SignedManifest, now: datetime) -> None:
    """Log the backup before this one, if its run was killed before it could say that it exists."""
    key = previous.manifest.key
    told = log.newest(lambda entry: entry.details.get("backup") == key.id.text)
    if told is None or told.type not in TELLS_OF_A_BACKUP:
        details: dict[str, Detail] = {**names(key), "manifest_sha256": previous.sha256}
        log.append(EntryType.INVENTORY_RECONCILED, details, now=now)


def names(key: BackupKey) -> dict[str, Detail]:
    """Return the details that say which backup an entry is of."""
    return {"backup": key.id.text, "database": key.database}


def log_success(
    log: EvidenceLog, named: dict[str, Detail], manifest: Manifest, sha256: str, now: datetime
) -> LogHead:
    """Tell the evidence log of a backup that exists; if it cannot be told, say that it exists."""
    took = now - manifest.started
    details: dict[str, Detail] = {
        **named,
        "manifest_sha256": sha256,
        "plain_bytes": manifest.plain_bytes,
        "stored_bytes": manifest.stored_bytes,
        "new_bytes": manifest.new_bytes,
        "duration_ms": took // timedelta(milliseconds=1),
    }
    try:
        return log.append(EntryType.BACKUP_FINISHED, details, now=now).head
    except StrongroomError as error:
        raise type(error)(
            f"backup {manifest.backup_id} exists, but the evidence log could not be told:"
            f" {error.message}",
            hint=error.hint,
        ) from error


def log_failure(
    log: EvidenceLog, named: dict[str, Detail], error: BaseException, now: datetime
) -> None:
    """Tell the evidence log that there is no backup, if it can be told; messages may hold names."""
    details: dict[str, Detail] = {**named, "error": type(error).__name__}
    try:
        log.append(EntryType.BACKUP_FAILED, details, now=now)
    except StrongroomError as unheard:
        _log.warning(
            "the evidence log could not be told of the failure: %s",
            unheard.message,
            extra={"action": "log_failed"},
        )
