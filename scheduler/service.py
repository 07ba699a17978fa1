"""The daemon as a process: made from settings, kept alive, told by signals, ended in good order."""

from __future__ import annotations

import faulthandler
import logging
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Final

from backup import app
from backup.errors import BusyError, KeyUnavailableError, SettingsError, StrongroomError
from backup.evidence.entry import Entry
from backup.evidence.log import EvidenceLog, read_log
from backup.journeys.create import lock_path
from backup.lock import exclusive
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.settings import Settings
from scheduler.daemon import Daemon, Work
from scheduler.events import JournalTrouble, JournalWell, Observer, Observers, SettingsRefused
from scheduler.jobs import JobKey, jobs_of
from scheduler.journal import FILE_NAME, Journal, JournalError
from scheduler.ledger import Ledger
from scheduler.outcomes import Outcome
from scheduler.plan import Patience, SlotRecord
from scheduler.policynotes import policy_note, policy_text
from scheduler.recorder import Recorder
from scheduler.recovery import interrupted, outcome_by_log, rebuild, settled
from scheduler.runner import Runner
from scheduler.systemd import Manager
from scheduler.tenancy import Tenancy
from scheduler.wakeup import TICK, AlarmClock

_log = logging.getLogger(__name__)

# How long a run that was ended may take to clean up, beyond what its watcher gives it.
_ABORT_LIMIT: Final = timedelta(seconds=45)
# Children die with the daemon; cleaning up takes them this long at most.
_ORPHAN_LIMIT: Final = timedelta(seconds=40)
_ORPHAN_NAP: Final = timedelta(milliseconds=100)
_CLOSE_LIMIT: Final = timedelta(seconds=20)
_SHORTEST_WAIT: Final = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a daemon is started with.

    `load` reads the settings anew; `options` go to every child. `reloaded` is handed new settings
    before they are in force, and may refuse them with a `SettingsError`. In each `tick` the daemon
    looks what is due at least once. `alarm` makes what it sleeps by.
    """

    load: Callable[[], Settings]
    options: tuple[str, ...]
    environment: Mapping[str, str]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    tick: timedelta = TICK
    alarm: Callable[[], AlarmClock] = AlarmClock
    observers: tuple[Observer, ...] = ()
    reloaded: Callable[[Settings], None] = lambda _: None


def journal_path(settings: Settings) -> Path:
    """Return where the journal of this host's daemon is."""
    return settings.state_directory / FILE_NAME


def named(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Return settings in which a single database has a name too: its own, if nothing else."""
    if settings.databases or settings.name is not None or settings.dsn is None:
        return settings
    name = Dsn.parse(settings.dsn.get_secret_value(), environment).database
    return settings.model_copy(update={"name": name})


def work_of(settings: Settings, environment: Mapping[str, str]) -> Work:
    """Return what the settings ask for. Raises `SettingsError` if that is nothing."""
    jobs = jobs_of(named(settings, environment))
    if not jobs:
        raise SettingsError(
            "the settings have no schedule, so there is nothing for the daemon to do",
            hint='add schedule = "0 * * * *" to the settings; docs/settings.md has an example',
        )
    asked = settings.daemon
    return Work(
        jobs=jobs,
        concurrency=asked.concurrency,
        patience=Patience(
            attempts=asked.attempts,
            retry_after=asked.retry_after,
            retry_after_at_most=asked.retry_after_at_most,
        ),
    )


def serve(given: Given, *, once: bool = False) -> int:
    """Run the daemon until it is told to stop; return its exit code.

    `once`: do what is due, and end. Raises `BusyError` if another daemon is at work here or on
    another host, `SettingsError`, `StoreError`.
    """
    settings = given.load()
    _require_absolute(settings)
    work = work_of(settings, given.environment)
    with ExitStack() as stack:
        stack.enter_context(
            exclusive(settings.state_directory / "locks" / "daemon.lock", "running the daemon")
        )
        repository = app.open_repository(settings)
        service = _Service(given, settings, repository, work)
        stack.callback(service.alarm.close)
        return service.run(once=once)


class _Service:
    def __init__(
        self, given: Given, settings: Settings, repository: Repository, work: Work
    ) -> None:
        self._given = given
        self._settings = settings
        self._repository = repository
        self._observers = Observers(given.observers)
        self._manager = Manager(given.environment)
        self._received: list[signal.Signals] = []
        self.alarm = given.alarm()
        clock = given.clock
        self._ledger = Ledger(
            lambda: _open_journal(journal_path(settings), clock),
            troubled=lambda message: self._observers.tell(
                JournalTrouble(at=clock(), message=message)
            ),
            well=lambda: self._observers.tell(JournalWell(at=clock())),
        )
        self._is_journal_known = self._ledger.load()
        self._tenancy = Tenancy(repository.store, self._ledger, clock)
        self._tenancy.take()
        self._runner = Runner(
            options=(*given.options, *_place(settings)),
            environment=given.environment,
            silence=settings.daemon.silence_timeout,
            wake=self.alarm.ring,
            outcome_by_log=self._outcome_by_log,
        )
        self._daemon = Daemon(
            work,
            ledger=self._ledger,
            runs=self._runner,
            recorder=Recorder(self._open_log),
            observers=self._observers,
            clock=clock,
            chance=random.random,
        )
        self._work = work

    def run(self, *, once: bool) -> int:
        """Go round until told to stop; return the exit code."""
        self._listen()
        try:
            self._recover()
            self._daemon.start()
            self.alarm.start()
            self.alarm.set_jobs(self._work.jobs)
            reason = self._go_round(once=once)
            self._drain()
        except BaseException:
            self._daemon.abort()
            self._end("error")
            raise
        self._end(reason)
        return BusyError.exit_code if reason == "error" else 0

    def _go_round(self, *, once: bool) -> str:
        is_told = False
        while True:
            try:
                may_begin = self._tenancy.check()
            except BusyError as error:
                _log.error("%s; this daemon ends", error.message, extra={"action": "lease_lost"})
                return "error"
            self._daemon.tick(may_begin=may_begin, elapsed=_elapsed())
            status = f"{len(self._daemon.running)} runs at work"
            if not is_told:
                self._manager.ready(status)
                is_told = True
            self._manager.alive(status)
            if once and self._daemon.is_idle:
                return "signal"
            if self._told_to_stop():
                return "signal"
            self.alarm.wait(self._wait())
            if self._told_to_stop():
                return "signal"

    def _wait(self) -> timedelta:
        """Return how long nothing can become due; at most as long as a watchdog bears."""
        wait = self._given.tick
        if self._manager.watchdog is not None:
            wait = min(wait, self._manager.watchdog / 3)
        due = self._daemon.next_due()
        if due is not None:
            wait = min(wait, due - self._given.clock())
        return max(wait, _SHORTEST_WAIT)

    def _told_to_stop(self) -> bool:
        """Take in the signals that have come; return whether one of them says stop."""
        stop = False
        while self._received:
            number = self._received.pop(0)
            if number == signal.SIGHUP:
                self._reload()
            else:
                stop = True
        return stop

    def _reload(self) -> None:
        self._manager.reloading()
        try:
            settings = self._given.load()
            _require_absolute(settings)
            _require_same_place(self._settings, settings)
            work = work_of(settings, self._given.environment)
            self._given.reloaded(settings)
        except StrongroomError as error:
            self._observers.tell(SettingsRefused(at=self._given.clock(), message=error.message))
        else:
            self._settings, self._work = settings, work
            self._runner.silence = settings.daemon.silence_timeout
            self._daemon.reload(work)
            self.alarm.set_jobs(work.jobs)
        self._manager.ready(f"{len(self._daemon.running)} runs at work")

    def _drain(self) -> None:
        """Let runs end by themselves up to the limit, then end them in good order."""
        self._daemon.stop()
        self._manager.stopping(f"waiting for {len(self._daemon.running)} runs")
        self._wait_for_runs(self._settings.daemon.drain_timeout)
        if self._daemon.running:
            self._daemon.abort()
            self._wait_for_runs(_ABORT_LIMIT)

    def _wait_for_runs(self, limit: timedelta) -> None:
        end = time.monotonic() + limit.total_seconds()
        while self._daemon.running and (left := end - time.monotonic()) > 0:
            self._daemon.tick(may_begin=False)
            self._manager.alive(f"waiting for {len(self._daemon.running)} runs")
            self.alarm.wait(timedelta(seconds=min(left, 5.0)))
            if self._told_to_stop():  # once more: it is urgent
                return

    def _end(self, reason: str) -> None:
        self._daemon.tick(may_begin=False)
        self._daemon.stop()
        with suppress(StrongroomError):
            self._tenancy.release()
        self._daemon.close(reason, _CLOSE_LIMIT)

    def _recover(self) -> None:
        """Find out what became of the daemon before, and of what it had begun."""
        now = self._given.clock()
        if not self._is_journal_known:
            found = rebuild(self._entries(), now=now)
            self._ledger.adopt(found.floors)
            self._ledger.miss(found.missed)
            self._ledger.set_notes(
                {policy_note(key): policy_text(policy) for key, policy in found.policies.items()}
            )
            if found.floors:
                _log.warning(
                    "there was no journal; %d jobs were found in the evidence log",
                    len(found.floors),
                    extra={"action": "journal_rebuilt"},
                )
        dead = interrupted(self._ledger.open)
        for record in dead:
            self._wait_for_orphan(record.key)
        entries = self._entries() if dead else []
        for record in dead:
            outcome = outcome_by_log(record, entries, self._backup_ids)
            self._daemon.settle(settled(record, outcome, now=now, patience=self._work.patience))

    def _wait_for_orphan(self, key: JobKey) -> None:
        """Wait for a backup that outlives its daemon by a moment: it may be about to succeed."""
        if key.job != "backup":
            return
        path = lock_path(self._settings.state_directory, self._repository.id, key.database)
        end = time.monotonic() + _ORPHAN_LIMIT.total_seconds()
        while time.monotonic() < end:
            try:
                with exclusive(path, "looking for a run of the daemon before"):
                    return
            except BusyError:
                time.sleep(_ORPHAN_NAP.total_seconds())

    def _entries(self) -> list[Entry]:
        return list(read_log(self._repository.store).entries())

    def _outcome_by_log(self, record: SlotRecord) -> Outcome | None:
        return outcome_by_log(record, self._entries(), self._backup_ids)

    def _backup_ids(self, database: str) -> set[str]:
        return {key.id.text for key in self._repository.backups(database)}

    def _open_log(self) -> EvidenceLog:
        log = app.open_log(self._settings, self._repository)
        if log is None:
            raise KeyUnavailableError(
                "this host has no key for the repository's evidence log",
                hint="run the daemon where `strongroom init` was run, with its state directory",
            )
        return log

    def _listen(self) -> None:
        def receive(number: int, frame: FrameType | None) -> None:
            del frame
            self._received.append(signal.Signals(number))
            self.alarm.ring()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, receive)
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def _place(settings: Settings) -> tuple[str, ...]:
    """Return what tells children where things are: they work in another directory than we do."""
    state = ("--state-directory", str(settings.state_directory.absolute()))
    address = settings.repository
    if address is None:
        return state
    if "://" not in address:
        address = str(Path(address).expanduser().absolute())
    return (*state, "--repository", address)


def _require_absolute(settings: Settings) -> None:
    for name in ("identity", "allowed_signers", "reports_directory", "scratch_directory"):
        path: Path | None = getattr(settings, name)
        if path is not None and not path.expanduser().is_absolute():
            raise SettingsError(
                f"{name}: {path} is relative, and the daemon has no directory of its own",
                hint="write the whole path",
            )


def _require_same_place(old: Settings, new: Settings) -> None:
    """Raise unless new settings are of the same repository and state: else it is another daemon."""
    for field in ("repository", "state_directory"):
        if getattr(old, field) != getattr(new, field):
            raise SettingsError(
                f"{field} is another one", hint="stop the daemon and start it again"
            )


def _open_journal(path: Path, clock: Callable[[], datetime]) -> Journal:
    """Open the journal; one that is damaged is moved aside, and rebuilt from the evidence log."""
    try:
        return Journal.open(path)
    except JournalError as error:
        if not error.is_damaged:
            raise
        aside = path.with_name(f"{path.name}.damaged-{clock():%Y%m%dT%H%M%SZ}")
        _log.error(
            "%s; it was moved to %s", error.message, aside, extra={"action": "journal_damaged"}
        )
        with suppress(OSError):
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.replace(aside)
        return Journal.open(path)


def _elapsed() -> timedelta:
    """Return time that nobody sets, and that stands still while a machine sleeps."""
    return timedelta(seconds=time.monotonic())
