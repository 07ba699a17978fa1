"""Telling systemd how the daemon is: sd_notify(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

# A manager that takes nothing holds nothing up. What it must hear it is given time for; that we are
# alive it hears again in a moment.
_PATIENCE: Final = 2.0


class Manager:
    """Whoever started us, if it listens; else nobody is told anything."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog: timedelta | None = None
        period, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        if period.isdigit() and int(period) > 0 and pid in {"", str(os.getpid())}:
            self.watchdog = timedelta(microseconds=int(period))

    def ready(self, status: str) -> None:
        """Say that the daemon is at work."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self, status: str) -> None:
        """Say that the loop that runs jobs goes round."""
        self._send(f"WATCHDOG=1\nSTATUS={status}", patience=0.0)

    def reloading(self) -> None:
        """Say that settings are read again; `ready` ends it."""
        self._send("RELOADING=1")

    def stopping(self, status: str) -> None:
        """Say that the daemon is about to end."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, message: str, patience: float = _PATIENCE) -> None:
        if not self._address:
            return
        # An abstract address begins with @, where the kernel wants a zero byte.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),  # it is not our failure that nobody listens
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.settimeout(patience)
            channel.sendto(message.encode(), address)
