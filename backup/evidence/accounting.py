"""Which slots the evidence log promises, and which of them no entry answers for. Pure.

A `policy.set` promises the slots after it, up to the next one of the same job and database. A run
that never began leaves no entry of its own, so it is found by what was promised, not by what is
there. `docs/format.md` has the rules; `verify-log.py` of a period pack has them a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from backup.errors import SettingsError
from backup.evidence.entry import Entry, EntryType
from backup.evidence.slot import Job, Policy, parse_slot_time
from backup.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A policy in force: later than `since`, and not later than `until` (None: to this day)."""

    seq: int
    policy: Policy
    schedule: Schedule | None
    since: datetime
    until: datetime | None

    def slots(self, now: datetime) -> Iterator[datetime]:
        """Yield what it promises up to `now`."""
        until = now if self.until is None else min(now, self.until)
        if self.schedule is not None and self.since < until:
            yield from self.schedule.slots(self.since, until)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSlot:
    """A slot that was promised by entry `promised_by`, and the entries that answer for it.

    `missed_by` is the `slot.missed` that says that nothing ran. `is_open`: there is still time.
    """

    job: Job
    database: str | None
    due: datetime
    promised_by: int
    answered_by: tuple[Entry, ...]
    missed_by: Entry | None
    is_open: bool

    @property
    def is_unaccounted(self) -> bool:
        """Whether nothing says what became of it, and something had to by now."""
        return not (self.answered_by or self.missed_by or self.is_open)


def promises(entries: Iterable[Entry]) -> tuple[list[Promise], list[int]]:
    """Return the policies in the order of the log, and the numbers of those that say nothing."""
    found: list[Promise] = []
    unreadable: list[int] = []
    newest: dict[tuple[Job, str | None], int] = {}
    for entry in entries:
        if entry.type is not EntryType.POLICY_SET:
            continue
        policy = Policy.of(entry.details)
        try:
            if policy is None:
                raise SettingsError("the entry names no job, schedule and zone")
            schedule = policy.schedule and Schedule.parse(policy.schedule, policy.zone)
        except SettingsError:
            unreadable.append(entry.seq)
            continue
        key = (policy.job, policy.database)
        if key in newest:
            found[newest[key]] = replace(found[newest[key]], until=entry.ts)
        newest[key] = len(found)
        found.append(
            Promise(
                seq=entry.seq, policy=policy, schedule=schedule or None, since=entry.ts, until=None
            )
        )
    return found, unreadable


def due_slots(entries: Sequence[Entry], *, now: datetime) -> Iterator[DueSlot]:
    """Yield each slot of the whole log that was due by `now`, policy by policy."""
    answers = _Answers(entries)
    for promise in promises(entries)[0]:
        policy = promise.policy
        for due in promise.slots(now):
            yield DueSlot(
                job=policy.job,
                database=policy.database,
                due=due,
                promised_by=promise.seq,
                answered_by=answers.to(policy, due),
                missed_by=answers.missed(policy, due),
                is_open=now - due <= policy.grace,
            )


def unaccounted(entries: Sequence[Entry], *, now: datetime) -> list[DueSlot]:
    """Return the slots of the whole log that nothing answers for, policy by policy.

    The daemon writes a `slot.missed` for them when it starts, before it sets another policy.
    """
    return [slot for slot in due_slots(entries, now=now) if slot.is_unaccounted]


def wrong_slots(entries: Sequence[Entry], *, now: datetime) -> Iterator[str]:
    """Yield what is wrong with how the log accounts for its promises, a sentence each."""
    _, unreadable = promises(entries)
    for seq in unreadable:
        yield unreadable_sentence(seq)
    runs: dict[int, list[DueSlot]] = {}
    for slot in unaccounted(entries, now=now):
        runs.setdefault(slot.promised_by, []).append(slot)
    for seq, slots in runs.items():
        yield unaccounted_sentence(slots, seq)


def unreadable_sentence(seq: int) -> str:
    """Return one sentence for a policy that says nothing."""
    return f"entry {seq} sets a policy that can't be read, so nobody knows what was due"


def unaccounted_sentence(slots: Sequence[DueSlot], seq: int) -> str:
    """Return one sentence for the slots of one policy that nothing answers for."""
    first, last = slots[0], slots[-1]
    of = "" if first.database is None else f" of {first.database}"
    due = f"{first.due:%Y-%m-%dT%H:%M:%SZ}"
    if len(slots) > 1:
        due = f"{len(slots)} times from {due} to {last.due:%Y-%m-%dT%H:%M:%SZ}"
    return f"SLOT_UNACCOUNTED: {first.job}{of} was due {due} by entry {seq}, and no entry answers"


class _Answers:
    """The entries of a log by what they answer for."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._runs: dict[tuple[object, datetime], list[Entry]] = {}
        self._missed: dict[tuple[object, object], list[tuple[datetime, datetime, Entry]]] = {}
        for entry in entries:
            due = parse_slot_time(str(entry.details.get("slot")))
            if due is None or due > entry.ts:  # nothing can answer for what is not due yet
                continue
            job = entry.details.get("job")
            if entry.type is EntryType.SLOT_MISSED:
                until = parse_slot_time(str(entry.details.get("until"))) or due
                key = (job, entry.details.get("database"))
                self._missed.setdefault(key, []).append((due, min(until, entry.ts), entry))
            else:
                self._runs.setdefault((job, due), []).append(entry)

    def to(self, policy: Policy, due: datetime) -> tuple[Entry, ...]:
        """Return the entries of runs that answered a slot."""
        return tuple(
            entry
            for entry in self._runs.get((policy.job, due), ())
            if policy.database in {None, entry.details.get("database")}
        )

    def missed(self, policy: Policy, due: datetime) -> Entry | None:
        """Return the entry that says that a slot was missed."""
        for first, last, entry in self._missed.get((policy.job, policy.database), ()):
            if first <= due <= last:
                return entry
        return None
