"""The signals of a daemon at work, as one observer: the watch, and what is served over HTTP.

They begin when the daemon says that it is at work, not before: a second daemon that is refused
must not take the first one's port, nor tell anybody anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Self

from backup.errors import StrongroomError
from backup.settings import Settings
from scheduler.events import DaemonStarted, Event
from scheduler.http import serving
from scheduler.watch import Outlets, Watch

_log = logging.getLogger(__name__)


class Signals:
    """Hand it to the daemon as an observer, and `reload` as what takes in new settings."""

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime]) -> None:
        """Raises `SettingsError` if the credentials are wrong: before anything is begun."""
        self._listen = settings.monitoring.listen
        self._watch = Watch(settings, Outlets.of(settings), clock=clock)
        self._stack = ExitStack()
        self._is_begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell what is left to tell, and stop serving."""
        self._stack.close()

    def __call__(self, event: Event) -> None:
        """Take in an event of the daemon."""
        if isinstance(event, DaemonStarted) and not self._is_begun:
            self._is_begun = True
            self._stack.enter_context(self._watch)
            self._serve()
        self._watch(event)

    def reload(self, settings: Settings) -> None:
        """Go by other settings. Raises `SettingsError`, and goes by the old ones then."""
        self._watch.use(settings, Outlets.of(settings))
        if settings.monitoring.listen != self._listen:
            _log.warning(
                "`listen` of [monitoring] changes when the daemon is started again",
                extra={"action": "listen_kept"},
            )

    def _serve(self) -> None:
        try:
            port = self._stack.enter_context(serving(self._listen, self._watch))
        except StrongroomError as error:
            # Backups matter more than their metrics; a monitor misses them loudly enough.
            _log.error(
                "%s; metrics are not served", error.message, extra={"action": "http_not_served"}
            )
            return
        if port is not None:
            _log.info("metrics are served on port %d", port, extra={"action": "http_served"})
