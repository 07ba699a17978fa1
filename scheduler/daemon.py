"""The daemon's loop: look what is due, begin it, take in what has ended, write it down.

It goes by the ledger and the clock it is given, never by timers: whatever wakes it, a tick does the
same. `service.py` puts it into a process.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from backup.evidence.entry import EntryType
from backup.evidence.slot import Policy
from backup.version import VERSION
from scheduler.events import (
    ClockStepped,
    DaemonStarted,
    DaemonStopping,
    Observers,
    RepositoryTrouble,
    RepositoryWell,
    SettingsReloaded,
    SlotFailed,
    SlotFinished,
    SlotMissed,
    SlotStarted,
    Ticked,
)
from scheduler.jobs import JobKey, ScheduledJob
from scheduler.ledger import Ledger
from scheduler.outcomes import Outcome
from scheduler.plan import (
    Missed,
    Patience,
    SlotRecord,
    State,
    Taken,
    begun,
    choose,
    ended,
    next_wake,
    take_due,
)
from scheduler.policynotes import (
    PREFIX,
    job_of,
    policies_of,
    policy_note,
    policy_text,
    withdrawn,
)
from scheduler.recorder import Recorder
from scheduler.rows import Attempt
from scheduler.runner import Concluded, Runs

HEARTBEAT_EVERY: Final = timedelta(days=1)
REMEMBERED: Final = timedelta(days=400)
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
_HEARTBEAT_NOTE: Final = "daemon.heartbeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the settings ask of the daemon."""

    jobs: tuple[ScheduledJob, ...]
    concurrency: int
    patience: Patience


class Daemon:
    """One daemon of one repository. Every method is called from one thread, the loop's."""

    def __init__(
        self,
        work: Work,
        *,
        ledger: Ledger,
        runs: Runs,
        recorder: Recorder,
        observers: Observers,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self._work = work
        self._ledger = ledger
        self._runs = runs
        self._recorder = recorder
        self._observers = observers
        self._clock = clock
        self._chance = chance
        self._ticked: datetime | None = None
        self._elapsed: timedelta | None = None
        self._was_in_trouble = False
        self._logging: set[tuple[JobKey, datetime]] = set()
        self.is_stopping = False

    @property
    def running(self) -> tuple[JobKey, ...]:
        """What is at work."""
        return self._runs.running

    @property
    def is_idle(self) -> bool:
        """Whether nothing is at work or could be begun now."""
        return not self._runs.running and not choose(
            self._work.jobs, self._ledger.open, self._clock(), concurrency=1
        )

    def start(self) -> None:
        """Say in the evidence log that there is a daemon, and what it promises."""
        now = self._clock()
        self._recorder.append(
            EntryType.DAEMON_STARTED,
            {"host": platform.node(), "version": VERSION, "policies": len(self._work.jobs)},
            now=now,
        )
        self._promise(self._work.jobs, now)
        self._observers.tell(DaemonStarted(at=now, jobs=len(self._work.jobs)))

    def reload(self, work: Work) -> None:
        """Go by other settings from now on."""
        now = self._clock()
        self._work = work
        self._promise(work.jobs, now)
        self._observers.tell(SettingsReloaded(at=now, jobs=len(work.jobs)))

    def tick(self, *, may_begin: bool = True, elapsed: timedelta | None = None) -> None:
        """Take in what has ended and what is due, and begin what can be begun.

        `may_begin` False: another host may be at work. `elapsed` is the time that has passed by a
        clock that nobody sets, to tell when the other one was.
        """
        now = self._clock()
        self._notice_step(now, elapsed)
        self._recorder.finish_done()
        for concluded in self._runs.concluded():
            self._conclude(concluded, now)
        self._take(take_due(self._work.jobs, self._ledger.floors, self._ledger.records, now), now)
        self._log_missed(now)
        if may_begin and not self.is_stopping:
            self._begin(now)
        self._beat(now)
        self._tell_trouble(now)
        self._ledger.flush()
        self._observers.tell(Ticked(at=now, running=self._runs.running, next_due=self.next_due()))

    def next_due(self) -> datetime | None:
        """Return when something becomes due, or is tried again."""
        return next_wake(self._work.jobs, self._ledger.open, self._clock())

    def stop(self) -> None:
        """Begin nothing more; what is at work goes on."""
        if not self.is_stopping:
            self.is_stopping = True
            self._observers.tell(DaemonStopping(at=self._clock(), running=len(self._runs.running)))

    def abort(self) -> None:
        """End what is at work, in good order."""
        self._runs.stop()

    def close(self, reason: str, limit: timedelta) -> None:
        """Write down that the daemon stops, and all that is left to write, for so long."""
        now = self._clock()
        self._recorder.append(
            EntryType.DAEMON_STOPPED, {"host": platform.node(), "reason": reason}, now=now
        )
        self._recorder.close(limit)
        self._recorder.finish_done()
        self._ledger.forget(now - REMEMBERED)
        self._ledger.close()

    def settle(self, record: SlotRecord) -> None:
        """Take in how a slot stands whose run died with the daemon before this one."""
        self._close(record, self._clock(), result="")

    def _begin(self, now: datetime) -> None:
        jobs = {job.key: job for job in self._work.jobs}
        for record in choose(
            self._work.jobs, self._ledger.open, now, concurrency=self._work.concurrency
        ):
            attempt = begun(record, now)
            self._ledger.put(attempt, _attempt(attempt))
            self._observers.tell(
                SlotStarted(at=now, key=record.key, due=record.due, attempt=attempt.attempts)
            )
            job = jobs[record.key]
            self._runs.start(attempt, job.arguments(record.due), job.deadline)

    def _conclude(self, concluded: Concluded, now: datetime) -> None:
        running = [
            record
            for record in self._ledger.open
            if record.key == concluded.key and record.state is State.RUNNING
        ]
        for record in running:
            after = ended(
                record,
                now,
                outcome=concluded.outcome,
                exit_code=concluded.exit_code,
                message=concluded.message,
                patience=self._work.patience,
                chance=self._chance(),
            )
            self._close(after, now, result=concluded.result)

    def _close(self, record: SlotRecord, now: datetime, *, result: str) -> None:
        """Write down how an attempt ended, and tell."""
        began = record.began or now
        number = record.attempts + (1 if record.outcome is Outcome.BUSY else 0)
        self._ledger.put(record, _attempt(replace(record, attempts=number), result))
        if record.state is State.DONE:
            self._observers.tell(
                SlotFinished(
                    at=now,
                    key=record.key,
                    due=record.due,
                    attempt=number,
                    duration=now - began,
                    result=result,
                )
            )
            return
        if record.state is State.FAILED:
            self._recorder.require_answer(record.key, record.due, now=now)
        self._observers.tell(
            SlotFailed(
                at=now,
                key=record.key,
                due=record.due,
                attempt=number,
                duration=now - began,
                outcome=record.outcome or Outcome.FAILED,
                exit_code=record.exit_code,
                message=record.message,
                retry_at=record.next_attempt,
            )
        )

    def _take(self, taken: Taken, now: datetime) -> None:
        self._ledger.take(taken)
        for one in taken.missed:
            self._observers.tell(
                SlotMissed(
                    at=now,
                    key=one.key,
                    first=one.first,
                    last=one.last,
                    slots=one.slots,
                    reason=one.reason,
                )
            )
        for record in taken.records:
            if record.state is State.FAILED:  # overtaken by a newer slot
                self._recorder.require_answer(record.key, record.due, now=now)

    def _log_missed(self, now: datetime) -> None:
        for one in self._ledger.unlogged:
            name = (one.key, one.first)
            if name not in self._logging:
                self._logging.add(name)
                self._recorder.miss(one, now=now, then=lambda one=one: self._logged(one))  # type: ignore[misc]

    def _logged(self, missed: Missed) -> None:
        self._logging.discard((missed.key, missed.first))
        self._ledger.logged(missed)

    def _promise(self, jobs: Sequence[ScheduledJob], now: datetime) -> None:
        """Log each policy that is not the one that was logged last, and settle what that promised.

        Slots of the old schedule that nobody has done are missed or queued; the new one begins now.
        Where nobody knows what was logged last, since the journal could not be read for it, the
        slots go on from where they were: no slot is lost for that.
        """
        before = policies_of(self._ledger.notes(PREFIX))
        wanted: Mapping[JobKey, Policy] = {job.key: job.policy for job in jobs}
        for key in sorted(before.keys() | wanted.keys()):
            old, new = before.get(key), wanted.get(key)
            if old == new:
                continue
            if old is not None and old.schedule is not None:
                self._settle_policy(key, old, now)
            if old is None:
                is_new = key not in self._ledger.floors
            else:
                is_new = new is None or (old.schedule, old.zone) != (new.schedule, new.zone)
            if is_new:
                self._ledger.adopt({key: now})
            said = new or (None if old is None else withdrawn(old))
            if said is None:
                continue
            self._recorder.append(
                EntryType.POLICY_SET,
                said.details,
                now=now,
                then=lambda key=key, new=new: self._ledger.set_notes(  # type: ignore[misc]
                    {policy_note(key): None if new is None else policy_text(new)}
                ),
            )

    def _settle_policy(self, key: JobKey, old: Policy, now: datetime) -> None:
        was = job_of(key, old)
        self._take(take_due([was], self._ledger.floors, self._ledger.of(key), now), now)

    def _beat(self, now: datetime) -> None:
        last = self._ledger.note(_HEARTBEAT_NOTE)
        if last is not None and abs(now - datetime.fromisoformat(last)) < HEARTBEAT_EVERY:
            return
        self._ledger.set_notes({_HEARTBEAT_NOTE: now.isoformat()})
        every = HEARTBEAT_EVERY // timedelta(seconds=1)
        self._recorder.append(
            EntryType.HEARTBEAT, {"host": platform.node(), "every_s": every}, now=now
        )

    def _notice_step(self, now: datetime, elapsed: timedelta | None) -> None:
        if None not in {self._ticked, self._elapsed, elapsed}:
            assert self._ticked is not None
            assert self._elapsed is not None
            assert elapsed is not None
            by = (now - self._ticked) - (elapsed - self._elapsed)
            if abs(by) > _CLOCK_TOLERANCE:
                self._observers.tell(ClockStepped(at=now, by=by))
        self._ticked, self._elapsed = now, elapsed

    def _tell_trouble(self, now: datetime) -> None:
        trouble = self._recorder.trouble
        if trouble is not None and not self._was_in_trouble:
            self._observers.tell(RepositoryTrouble(at=now, message=trouble))
        if trouble is None and self._was_in_trouble:
            self._observers.tell(RepositoryWell(at=now))
        self._was_in_trouble = trouble is not None


def _attempt(record: SlotRecord, result: str = "") -> Attempt:
    began = record.began
    assert began is not None
    return Attempt(
        key=record.key,
        due=record.due,
        number=record.attempts,
        began=began,
        ended=record.ended,
        outcome=record.outcome,
        exit_code=record.exit_code,
        message=record.message,
        result=result,
    )
