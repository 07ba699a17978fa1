"""What a restore test demands of where it reads: the named copy, elsewhere, and locked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup.errors import IntegrityError, NotFoundError
from backup.evidence.verdict import Code, Finding
from backup.journeys.locks import objects_of
from backup.journeys.testrecord import Record
from backup.repository.access import Repository, SignedManifest
from backup.repository.stores.base import LockingStore

OFF_SITE, LOCKED = "off-site-copy", "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What has to be so of what is read; otherwise another copy was tested than was asked for.

    `copy` is the name of the copy, `wrong_place` why it is not one. With `locked_for` nobody can
    delete anything of the backup for so long after the test begins.
    """

    copy: str | None = None
    wrong_place: str | None = None
    locked_for: timedelta | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """The checks that must have run."""
        both = ((OFF_SITE, self.copy is not None), (LOCKED, self.locked_for is not None))
        return tuple(id_ for id_, is_asked in both if is_asked)


NO_DEMAND = Demand()


def hold_against(
    repository: Repository,
    signed: SignedManifest,
    demand: Demand,
    record: Record,
    *,
    now: datetime,
    jobs: int,
) -> None:
    """Write down whether what is read is what was demanded."""
    if demand.copy is None:
        record.not_run(OFF_SITE, "the repository itself was read, no copy of it")
    else:
        wrong = [] if demand.wrong_place is None else [_wrong(demand.copy, demand.wrong_place)]
        record.ran(OFF_SITE, compared=1, findings=wrong)
    if demand.locked_for is None:
        record.not_run(LOCKED, "no lock is demanded (require_locked)")
        return
    try:
        names = objects_of(repository, signed)
    except (IntegrityError, NotFoundError):  # a finding of the checks that read them
        record.not_run(LOCKED, "the lists of the backup can't be read")
        return
    needed = (now + demand.locked_for).replace(microsecond=0)
    record.ran(
        LOCKED, compared=len(names), findings=list(_unlocked(repository, names, needed, jobs))
    )


def _wrong(copy: str, observed: str) -> Finding:
    return Finding(
        code=Code.WRONG_COPY,
        what=f"copy {copy}",
        expected="a copy of this repository, in another place",
        observed=observed,
    )


def _unlocked(
    repository: Repository, names: tuple[str, ...], needed: datetime, jobs: int
) -> Iterator[Finding]:
    """Yield one finding if not everything is locked for as long as was demanded."""
    store = repository.store
    expected = f"nothing can be deleted before {needed:%Y-%m-%dT%H:%M:%SZ}"
    if not isinstance(store, LockingStore):
        observed = f"{store.address} locks nothing"
        yield Finding(code=Code.WRONG_COPY, what="locks", expected=expected, observed=observed)
        return

    def is_locked(name: str) -> bool:
        try:
            found = store.protection(name)
        except NotFoundError:
            return False
        return found.is_held or (found.until is not None and found.until >= needed)

    with ThreadPoolExecutor(jobs, thread_name_prefix="locks") as pool:
        open_ = [
            name for name, held in zip(names, pool.map(is_locked, names), strict=True) if not held
        ]
    if open_:
        until = _until(store, open_[0])
        yield Finding(
            code=Code.WRONG_COPY,
            what="locks",
            expected=expected,
            observed=f"{len(open_)} of {len(names)} objects in {store.address} can be deleted"
            f" earlier: {open_[0]} {until}",
        )


def _until(store: LockingStore, name: str) -> str:
    try:
        until = store.protection(name).until
    except NotFoundError:
        return "is not there"
    return "is not locked" if until is None else f"from {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
