"""Whether a backup takes content digests, which cost about as much as another dump."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from backup.crypto.allowed_signers import AllowedSigners
from backup.errors import IntegrityError, NotFoundError
from backup.repository.access import Repository
from backup.repository.layout import BackupKey

DigestPolicy: TypeAlias = Literal["never", "weekly", "always"]

# Half a day less than a week: a weekly backup that begins a minute early takes them all the same.
_WEEK = timedelta(days=6, hours=12)


def are_digests_due(
    repository: Repository,
    name: str,
    allowed: AllowedSigners | None,
    policy: DigestPolicy,
    *,
    now: datetime,
) -> bool:
    """Return whether this backup takes them; weekly: no pinned one of the week before has."""
    if policy != "weekly":
        return policy == "always"
    recent = (key for key in repository.backups(name) if key.id.started > now - _WEEK)
    return not any(_has_digests(repository, key, allowed) for key in recent)


def _has_digests(repository: Repository, key: BackupKey, allowed: AllowedSigners | None) -> bool:
    try:
        signed = repository.manifest(key, allowed)
    except (IntegrityError, NotFoundError):
        # A damaged backup proves nothing; that it is damaged is told by who reads its chunks.
        return False
    return signed.signer.principal is not None and signed.manifest.has_digests
