"""Which store an address means: a directory, or a bucket with its settings and credentials."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from backup.errors import SettingsError
from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from backup.repository.stores.s3options import SCHEME, Credentials, S3Address
from backup.storesettings import GivenS3

ACCESS_KEY_FILE = "s3-access-key-id"
SECRET_KEY_FILE = "s3-secret-access-key"  # noqa: S105 - a file's name


def open_store(
    address: str,
    s3: GivenS3,
    credentials: Path | None,
    *,
    suffix: str | None = None,
    longest: timedelta | None = None,
) -> Store:
    """Return the store at an address; nothing is asked of it yet.

    `suffix` is the name of a copy, which may have credential files of its own. `longest` is how
    long any backup is locked by the policy.
    """
    if not address.startswith(SCHEME):
        if "://" in address:
            raise SettingsError(
                f"{address}: not a kind of store that there is",
                hint="name a directory, or a bucket as s3://bucket/prefix",
            )
        return LocalStore(Path(address).expanduser().absolute())
    # boto3 takes a third of a second to load: only for those who use it.
    from backup.repository.stores.s3 import S3Store  # noqa: PLC0415

    options = s3.options(s3_credentials(credentials, suffix), longest)
    return S3Store(S3Address.parse(address), options)


def is_same_place(one: tuple[str, GivenS3], other: tuple[str, GivenS3]) -> bool:
    """Whether two addresses, each with its settings, mean one place."""
    return _place(*one) == _place(*other)


def _place(address: str, s3: GivenS3) -> tuple[str, str]:
    if address.startswith(SCHEME):
        return (s3.endpoint or "").rstrip("/"), str(S3Address.parse(address))
    return "", str(Path(address).expanduser().resolve())


def s3_credentials(directory: Path | None, suffix: str | None = None) -> Credentials | None:
    """Return the access key in the credentials directory; None: boto3 finds one by itself."""
    if directory is None:
        return None
    endings = ["", *([] if suffix is None else [f"-{suffix}"])]
    for ending in reversed(endings):
        key, secret = directory / (ACCESS_KEY_FILE + ending), directory / (SECRET_KEY_FILE + ending)
        if key.exists() or secret.exists():
            return Credentials(access_key_id=_read(key), secret_access_key=_read(secret))
    return None


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII"
        raise SettingsError(f"reading credential {path}: {reason}") from error
    if not text:
        raise SettingsError(f"credential {path} is empty")
    return text
