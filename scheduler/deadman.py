"""The dead-man ping: somebody else notices when good runs stop, whatever happened to this host.

After each good run the URL is fetched; after one that failed, the URL with `/fail` (the form of
healthchecks.io). A ping that fails is logged and is a failure of nothing else: whoever waits for
it will say that it did not come.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPHandler, HTTPSHandler, ProxyHandler, build_opener

from pydantic import SecretStr

from backup.errors import SettingsError
from scheduler.credentials import DEAD_MAN_URL
from scheduler.limited import Limited

_log = logging.getLogger(__name__)


class DeadMan:
    """Where to ping."""

    def __init__(self, url: SecretStr, *, limit: timedelta) -> None:
        """Raises `SettingsError` if it is no http or https URL."""
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError(
                f"credential {DEAD_MAN_URL}: it is no http or https URL",
                hint="one URL, such as https://hc-ping.com/<uuid>",
            )
        self._parts = parts
        self._limit = limit
        self._thread = Limited("dead-man", limit)
        # No other handlers: a redirect must not turn it into a file or an ftp transfer.
        self._opener = build_opener(ProxyHandler(), HTTPHandler(), HTTPSHandler())

    def ping(self, *, is_good: bool) -> bool:
        """Return whether somebody heard; raises nothing."""
        path = self._parts.path if is_good else self._parts.path.rstrip("/") + "/fail"
        url = urlunsplit(self._parts._replace(path=path))
        try:
            self._thread.call(lambda: self._get(url))
        except Exception as error:  # noqa: BLE001 - nothing that happens here may fail a run
            # The error may quote the URL, which is a secret.
            _log.warning(
                "the dead-man ping failed: %s",
                type(error).__name__,
                extra={"action": "dead_man_failed"},
            )
            return False
        return True

    def _get(self, url: str) -> None:
        with self._opener.open(url, timeout=self._limit.total_seconds()) as answer:
            answer.read(1024)
