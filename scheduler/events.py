"""What the daemon tells whoever listens: notifications, metrics, logs. None can disturb it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, TypeAlias

from backup.evidence.slot import Reason
from scheduler.jobs import JobKey
from scheduler.outcomes import Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, when, and a sentence for people."""

    action: ClassVar[str]
    level: ClassVar[int] = logging.INFO

    at: datetime

    @property
    def sentence(self) -> str:
        """What happened, for a log."""
        return self.action


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted(Event):
    """The daemon is at work."""

    action = "daemon_started"
    jobs: int

    @property
    def sentence(self) -> str:
        """How many jobs there are."""
        return f"the daemon is at work with {self.jobs} jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStopping(Event):
    """No slot is begun any more."""

    action = "daemon_stopping"
    running: int

    @property
    def sentence(self) -> str:
        """How many runs are waited for."""
        return f"the daemon stops; {self.running} runs are at work"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsReloaded(Event):
    """Other settings are in force."""

    action = "settings_reloaded"
    jobs: int

    @property
    def sentence(self) -> str:
        """How many jobs there are now."""
        return f"the settings were read again: {self.jobs} jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsRefused(Event):
    """The settings are wrong, and the ones before stay in force."""

    action = "settings_refused"
    level = logging.ERROR
    message: str

    @property
    def sentence(self) -> str:
        """Why."""
        return f"the settings were refused, and the old ones stay in force: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStarted(Event):
    """A slot's job begins; `attempt` counts from 1."""

    action = "slot_started"
    key: JobKey
    due: datetime
    attempt: int

    @property
    def sentence(self) -> str:
        """Which."""
        again = "" if self.attempt == 1 else f", attempt {self.attempt}"
        return f"{self.key.text}: begun for {_short(self.due)}{again}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFinished(Event):
    """A slot's job is done and was good. `result` is what the verb printed, JSON."""

    action = "slot_finished"
    key: JobKey
    due: datetime
    attempt: int
    duration: timedelta
    result: str

    @property
    def sentence(self) -> str:
        """Which, and how long it took."""
        seconds = self.duration.total_seconds()
        return f"{self.key.text}: done for {_short(self.due)} in {seconds:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFailed(Event):
    """A slot's job ended otherwise. `retry_at` None: it is given up; the next slot is a new one."""

    action = "slot_failed"
    level = logging.WARNING
    key: JobKey
    due: datetime
    attempt: int
    duration: timedelta
    outcome: Outcome
    exit_code: int | None
    message: str
    retry_at: datetime | None

    @property
    def is_final(self) -> bool:
        """Whether this slot is given up."""
        return self.retry_at is None

    @property
    def sentence(self) -> str:
        """Which, how, and what comes now."""
        then = "given up" if self.retry_at is None else f"again at {_short(self.retry_at)}"
        return f"{self.key.text}: {self.outcome} for {_short(self.due)}, {then}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotMissed(Event):
    """Slots that nothing was done for, from the first to the last."""

    action = "slot_missed"
    level = logging.WARNING
    key: JobKey
    first: datetime
    last: datetime
    slots: int
    reason: Reason

    @property
    def sentence(self) -> str:
        """Which, how many, why."""
        return (
            f"{self.key.text}: {self.slots} slots missed from {_short(self.first)}"
            f" to {_short(self.last)} ({self.reason})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalTrouble(Event):
    """The journal can't be read or written; the daemon goes on from memory."""

    action = "journal_trouble"
    level = logging.ERROR
    message: str

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return f"the journal fails, the daemon goes on without: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalWell(Event):
    """The journal holds everything again."""

    action = "journal_well"

    @property
    def sentence(self) -> str:
        """That it does."""
        return "the journal is written again"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryTrouble(Event):
    """The repository, its evidence log or the daemon's lease in it can't be reached."""

    action = "repository_trouble"
    level = logging.ERROR
    message: str

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return f"the daemon's own records in the repository fail: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryWell(Event):
    """All of the daemon's own records are in the repository again."""

    action = "repository_well"

    @property
    def sentence(self) -> str:
        """That they are."""
        return "the daemon's own records are in the repository again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStepped(Event):
    """The clock was set back, or this machine slept."""

    action = "clock_stepped"
    level = logging.WARNING
    by: timedelta

    @property
    def sentence(self) -> str:
        """By how much."""
        return f"the clock went {self.by.total_seconds():+.0f} s in one step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked(Event):
    """The daemon has looked at what is due; comes twice a minute at least."""

    action = "ticked"
    level = logging.DEBUG
    running: tuple[JobKey, ...]
    next_due: datetime | None


Observer: TypeAlias = Callable[[Event], None]


class Observers:
    """Tells everybody. What an observer raises is logged and goes no further."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        """Have one more told."""
        self._observers.append(observer)

    def tell(self, event: Event) -> None:
        """Log an event and hand it to everybody."""
        _log.log(event.level, "%s", event.sentence, extra={"action": event.action, "event": event})
        for observer in self._observers:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - no listener may stop a backup
                _log.warning(
                    "%s could not take in %s: %s: %s",
                    getattr(observer, "__name__", type(observer).__name__),
                    event.action,
                    type(error).__name__,
                    error,
                    extra={"action": "observer_failed"},
                )


def _short(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
