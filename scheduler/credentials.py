"""The credentials of signals: whom to tell, whom to ping. URLs are secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import SecretStr

from backup.errors import SettingsError

NOTIFY_URLS: Final = "notify-urls"
DEAD_MAN_URL: Final = "dead-man-url"


def notify_urls(directory: Path | None) -> tuple[SecretStr, ...]:
    """Return whom to tell: one URL a line, `#` begins a comment; none without the credential."""
    return _lines(directory, NOTIFY_URLS)


def dead_man_url(directory: Path | None) -> SecretStr | None:
    """Return whom to ping; None without the credential."""
    lines = _lines(directory, DEAD_MAN_URL)
    if len(lines) > 1:
        raise SettingsError(
            f"the credential {DEAD_MAN_URL} has {len(lines)} lines", hint="it is one URL"
        )
    return lines[0] if lines else None


def _lines(directory: Path | None, credential: str) -> tuple[SecretStr, ...]:
    path = directory / credential if directory is not None else None
    if path is None or not path.exists():
        return ()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"reading the credential {credential}: {reason}") from error
    lines = (line.strip() for line in text.splitlines())
    return tuple(SecretStr(line) for line in lines if line and not line.startswith("#"))
