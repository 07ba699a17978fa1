"""Holding a lease while work goes on: a thread renews it, and it is let go of at the end."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from backup.errors import BusyError, StoreError, StrongroomError
from backup.holders import Holders
from backup.repository.layout import BackupKey
from backup.repository.lease import (
    EXCLUSIVE,
    THE_ONLY,
    IsDead,
    Lease,
    LeaseKind,
    is_written,
    name_of,
    read_leases,
    release,
    renew,
    take,
)
from backup.repository.stores.base import Store

_log = logging.getLogger(__name__)

LIFETIME = timedelta(minutes=30)
RENEWED_EVERY = timedelta(minutes=5)

Clock = Callable[[], datetime]


class HeldLease:
    """A lease that this process holds, and a thread that renews it."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        *,
        clock: Clock,
        every: timedelta,
        is_dead: IsDead,
        holders: Holders | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._taken_over: BusyError | None = None
        self._last_put: Lease | None = None
        self._has_lapsed = False
        self._began = self._written = _elapsed()
        self._record = None if holders is None else holders.begin()
        try:
            self._lease = take(store, lease, lease.written, is_dead=is_dead, note=self._note)
        except BaseException as error:
            self._end_record(is_over=isinstance(error, BusyError))
            raise
        self._thread = threading.Thread(
            target=self._keep_renewing, args=(every.total_seconds(),), name="lease", daemon=True
        )
        self._thread.start()

    @property
    def lease(self) -> Lease:
        """As it was written last."""
        return self._lease

    @property
    def is_alive(self) -> bool:
        """Whether others still see it. Told by time that also runs while a machine sleeps."""
        left = self._lease.expires - self._lease.written
        return self._taken_over is None and _elapsed() - self._written < left

    @property
    def has_lapsed(self) -> bool:
        """Whether others could take this run for dead, at any time so far."""
        return self._has_lapsed or not self.is_alive

    @property
    def age(self) -> timedelta:
        """How long ago it was taken, whatever the clock was set to meanwhile."""
        return _elapsed() - self._began

    def check(self) -> None:
        """Raise if others may believe that this run is over: it must not go on."""
        if self._taken_over is not None:
            raise self._taken_over
        if not self.is_alive:
            raise StoreError(
                f"the lease of this {self._lease.kind} could not be renewed for too long, so others"
                f" may take it for dead: {self._store.address}",
                hint="is the store reachable? then run it again",
            )

    def name_backups(self, keys: Iterable[BackupKey]) -> None:
        """Have the lease name these backups; others see it on return. Raises `StoreError`."""
        self._renew(tuple(map(name_of, keys)))

    def release(self) -> None:
        """End it. A store that fails now leaves a lease that expires by itself."""
        self._ended.set()
        self._thread.join()
        is_over = self._taken_over is not None
        try:
            if not is_over:
                self._settle()
                release(self._store, replace(self._lease, written=_now(self._clock)))
                is_over = True
        except StrongroomError as error:
            _log.warning(
                "the lease could not be let go of: %s",
                error.message,
                extra={"action": "lease_left"},
            )
        finally:
            self._end_record(is_over=is_over)

    def _note(self, lease: Lease) -> None:
        self._last_put = lease
        if self._record is not None:
            self._record.note(lease)

    def _end_record(self, *, is_over: bool) -> None:
        """No work goes on under it; where it may still be there, this host can tell that."""
        record, self._record = self._record, None
        if record is not None and is_over:
            record.end()
        elif record is not None:
            record.leave()

    def _keep_renewing(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            try:
                self._renew(self._lease.backups)
            except BusyError:
                return
            except StrongroomError as error:  # the next time may do; `check` knows how long
                _log.warning(
                    "the lease could not be renewed: %s",
                    error.message,
                    extra={"action": "lease_not_renewed"},
                )

    def _settle(self) -> None:
        """Go on from a renewal that failed if it is there all the same: others go by it."""
        put = self._last_put
        if put is not None and put.number > self._lease.number and is_written(self._store, put):
            self._lease = put

    def _renew(self, backups: tuple[str, ...]) -> None:
        with self._lock:
            self._settle()
            self._has_lapsed = self.has_lapsed
            elapsed, now = _elapsed(), _now(self._clock)
            lifetime = self._lease.expires - self._lease.written
            wanted = replace(self._lease, written=now, expires=now + lifetime, backups=backups)
            try:
                self._lease = renew(self._store, wanted, note=self._note)
            except BusyError as error:
                self._taken_over = error
                raise
            self._written = elapsed


@contextmanager
def held(
    store: Store,
    kind: LeaseKind,
    *,
    clock: Clock,
    backups: Iterable[BackupKey] = (),
    holders: Holders | None = None,
    lifetime: timedelta = LIFETIME,
    every: timedelta = RENEWED_EVERY,
) -> Iterator[HeldLease]:
    """Hold a lease while the block lasts. Raises `BusyError` at once if another host has it.

    With `holders` it is noted on this host, and one whose holder is known to be dead is replaced.
    """
    lease = take_lease(
        store,
        kind,
        clock=clock,
        backups=backups,
        holders=holders,
        lifetime=lifetime,
        every=every,
    )
    try:
        yield lease
    finally:
        lease.release()


def take_lease(
    store: Store,
    kind: LeaseKind,
    *,
    clock: Clock,
    backups: Iterable[BackupKey] = (),
    holders: Holders | None = None,
    lifetime: timedelta = LIFETIME,
    every: timedelta = RENEWED_EVERY,
    is_dead: IsDead | None = None,
) -> HeldLease:
    """Return a lease that is held until it is released.

    `is_dead` says of another's lease that looks alive that its holder is known to be dead; where
    it isn't given `holders` do.
    """
    now = _now(clock)
    wanted = Lease(
        format=1,
        kind=kind,
        id=THE_ONLY if kind in EXCLUSIVE else secrets.token_hex(8),
        number=0,
        host=platform.node(),
        process=os.getpid(),
        written=now,
        expires=now + lifetime,
        is_released=False,
        backups=tuple(map(name_of, backups)),
    )
    return HeldLease(
        store,
        wanted,
        clock=clock,
        every=every,
        is_dead=is_dead or _known_by(holders),
        holders=holders,
    )


@contextmanager
def reading(
    store: Store,
    kind: LeaseKind,
    keys: Iterable[BackupKey],
    *,
    clock: Clock,
    holders: Holders | None = None,
) -> Iterator[None]:
    """Keep others from deleting these backups while the block reads them.

    Raises `BusyError` if a prune is about to delete one. A store that cannot be written to must
    not keep anybody from a restore: then there is a warning, and no lease.
    """
    wanted = tuple(keys)
    try:
        lease = take_lease(store, kind, clock=clock, backups=wanted, holders=holders)
    except StrongroomError as error:
        _log.warning(
            "no lease keeps a prune from deleting what is read here: %s",
            error.message,
            extra={"action": "lease_missing"},
        )
        yield
        return
    try:
        require_not_going(store, wanted, now=clock(), holders=holders)
        yield
    finally:
        lease.release()


def require_not_going(
    store: Store, keys: Iterable[BackupKey], *, now: datetime, holders: Holders | None = None
) -> None:
    """Raise `BusyError` if a prune at work is about to delete one of these backups."""
    is_dead = _known_by(holders)
    names = {name_of(key): key for key in keys}
    for lease in read_leases(store, ["prune"]):
        going = sorted(names.keys() & set(lease.backups))
        if going and lease.is_alive(now) and not is_dead(lease):
            raise BusyError(
                f"backup {names[going[0]].id} is being deleted by {lease.holder}",
                hint="choose another backup: `strongroom list` shows what is left",
            )


def _known_by(holders: Holders | None) -> IsDead:
    return (lambda _: False) if holders is None else holders.is_dead


def _elapsed() -> timedelta:
    return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))


def _now(clock: Clock) -> datetime:
    return clock().astimezone(UTC)
