"""What the demo has the daemon do by itself: half a day of it, in which it is down for ten hours.

The times are chosen so that it all ends now: `status`, which goes by the real clock, then tells of
it as it would tell of any night.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from backup.demo.fastdaemon import Steering
from backup.errors import IntegrityError
from backup.journeys.threads import Running, run_each
from backup.postgres.process import Command, Reader, reading, supervise

OUTAGE_SLOTS: Final = 10
_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
_SILENCE: Final = timedelta(minutes=8)
_GRACE: Final = timedelta(seconds=20)
_STATUS_LIMIT: Final = timedelta(minutes=2)
_CRITICAL: Final = 2

Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """When the demo's day has what; all of it in the past of `now`."""

    first: datetime
    second: datetime
    catch_up: datetime
    prune: datetime
    restore_test: datetime

    @classmethod
    def ending(cls, now: datetime) -> Self:
        """Return the one whose last job is due some minutes before `now`."""
        last = now.replace(second=0, microsecond=0) - 30 * _MINUTE
        second = last - (OUTAGE_SLOTS + 1) * _HOUR
        return cls(
            first=second - _HOUR,
            second=second,
            catch_up=last,
            prune=last + 10 * _MINUTE,
            restore_test=last + 20 * _MINUTE,
        )

    @property
    def settings(self) -> str:
        """The schedules, as the settings file has them: hourly, and twice once a day."""
        return (
            f'schedule = "{self.first.minute} * * * *"\n\n[schedules]\n'
            f'prune = "{self.prune.minute} {self.prune.hour} * * *"\n'
            f'restore_test_latest = "{self.restore_test.minute} {self.restore_test.hour} * * *"\n'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the daemon works, and how it speaks."""

    directory: Path
    say: Callable[[str], None]

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.directory / "strongroom.toml"


class Life:
    """A daemon at work."""

    def __init__(self, place: Place, steering: Path, reader: Reader, running: Running) -> None:
        self._place = place
        self._steering = steering
        self._reader = reader
        self._running = running
        self._number = 0
        self._buffer = bytearray()

    async def go_to(self, moment: datetime | None) -> list[Said]:
        """Let time pass up to a moment, None: the present; return what the daemon did meanwhile.

        Raises `IntegrityError` if one of its jobs failed for good.
        """
        self._number += 1
        Steering(number=self._number, until=moment).write(self._steering)
        [said] = await run_each(self._listen, [self._number], jobs=1, running=self._running)
        return said

    def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        Steering(number=self._number, is_stop=True).write(self._steering)
        while self._line() is not None:
            pass

    def _listen(self, number: int) -> list[Said]:
        heard: list[Said] = []
        while (line := self._line()) is not None:
            said: Said = json.loads(line)
            if said["action"] == "reached" and said["number"] == number:
                return heard
            heard.append(said)
            self._place.say(_sentence(said))
            if said["action"] == "slot_failed" and said["is_final"]:
                raise IntegrityError(f"the demo's own daemon: {said['job']}: {said['message']}")
        raise IntegrityError("the demo's own daemon ended before it was told to")

    def _line(self) -> bytes | None:
        """Return the next line of its output; None at the end."""
        while b"\n" not in self._buffer:
            piece = bytearray(4096)
            count = self._reader.readinto(memoryview(piece))
            if not count:
                return None
            self._buffer += piece[:count]
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line


@contextmanager
def daemon_from(place: Place, start: datetime) -> Iterator[Life]:
    """Have the daemon at work from a moment on while the block lasts; it ends in good order."""
    steering = place.directory / "steering"
    Steering(number=0, until=start).write(steering)
    place.say(f"  {_clock(start)}  the daemon starts")
    log = place.directory / "daemon.log"
    command = Command(
        label="the demo's daemon",
        argv=(
            *(sys.executable, "-m", "backup.demo.fastdaemon"),
            *(str(place.config), str(steering), str(log), start.isoformat()),
        ),
        environment={name: os.environ[name] for name in ("TMPDIR",) if name in os.environ},
        grace=_GRACE,
    )
    running = Running()
    with reading(command, stall=_SILENCE, entered=running.entered) as reader:
        life = Life(place, steering, reader, running)
        yield life
        life.stop()
    steering.unlink()


def the_only(said: list[Said], action: str, job: str) -> Said:
    """Return the only thing of its kind that the daemon did; raise `IntegrityError` otherwise."""
    found = [one for one in said if (one["action"], one["job"]) == (action, job)]
    if len(found) != 1:
        raise IntegrityError(f"the demo's own daemon: {action} of {job}: {len(found)}, not one")
    return found[0]


def require(holds: bool, what: str) -> None:
    """Raise `IntegrityError` unless it holds."""
    if not holds:
        raise IntegrityError(f"the demo's own daemon: {what}")


def show_status(place: Place) -> None:
    """Show `strongroom status` as it is now; raise `IntegrityError` if that is critical."""
    command = Command(
        label="strongroom status",
        argv=(sys.executable, "-m", "backup.cli", "status", "--config", str(place.config)),
    )
    shown = supervise(command, silence=_STATUS_LIMIT, deadline=_STATUS_LIMIT)
    for line in shown.stdout.decode(errors="replace").splitlines():
        place.say(f"    {line}".rstrip())
    if shown.exit_code >= _CRITICAL:
        raise IntegrityError(f"status after the demo: {shown.stderr_tail.strip() or 'critical'}")


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M}"


def _sentence(said: Said) -> str:
    due = datetime.fromisoformat(said["due"])
    job = said["job"]
    if said["action"] == "slot_missed":
        last = datetime.fromisoformat(said["last"])
        return f"  {_clock(due)}  {job}: {said['slots']} slots missed, the last at {_clock(last)}"
    if said["action"] == "slot_failed":
        return f"  {_clock(due)}  {job} failed: {said['message']}"
    return f"  {_clock(due)}  {job}: {_outcome(said)}, {said['seconds']:.1f} s"


def _outcome(said: Said) -> str:
    result = said["result"]
    if said["job"] == "backup":
        plain, new = result["plain_bytes"] / 1e6, result["new_bytes"] / 1e6
        return f"{plain:.1f} MB dumped, {new:.2f} MB new in the repository"
    if said["job"] == "prune":
        return f"{len(result['deleted'])} backup deleted, {len(result['kept'])} kept by the policy"
    return f"{result['verdict']}: level {result['level']}, seal S{result['seal']}"
