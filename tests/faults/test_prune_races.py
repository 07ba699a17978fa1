"""Backups, readers and prunes of several hosts, a step of one between any two calls of another."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from backup.damaged import DamagedObjects
from backup.errors import BusyError, StoreError
from backup.evidence.entry import EntryType
from backup.journeys.reuse import Reusable, check_reused, find_reusable
from backup.leases import HeldLease, take_lease
from backup.logmemory import open_log
from backup.repository.chunks import ChunkRef, encode_list
from backup.repository.layout import BackupId, BackupKey
from backup.repository.manifest import Manifest
from backup.repository.stores.base import Buffer
from backup.repository.stores.memory import MemoryStore
from backup.unfinished import UnfinishedList, unfinished_list
from tests.lab.effort import Numbers
from tests.lab.prunes import DAY, PruneLab
from tests.samples import SIGNING_KEY, Writing, allowed

NEVER = timedelta(hours=1)  # leases are renewed by the test, when it moves the clock


class BusyStore(MemoryStore):
    """A store in which others act between any two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.others: World | None = None

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """See `Store.put`."""
        self._let_others()
        super().put(key, data, durable=durable)

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        self._let_others()
        return super().get(key)

    def list(self, prefix: str) -> Iterator[str]:
        """See `Store.list`."""
        self._let_others()
        return super().list(prefix)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._let_others()
        super().delete(key)

    def _let_others(self) -> None:
        others, self.others = self.others, None
        if others is not None:
            try:
                others.act()
            finally:
                self.others = others


@dataclass
class Host:
    """A host that backs up, in steps; it may die between any two, and find its list again."""

    world: World
    state: Path
    lease: HeldLease | None = None
    reusable: Reusable | None = None
    writing: Writing | None = None
    manifest: Manifest | None = None

    def step(self) -> None:
        """Begin a backup or wait, write it, or finish it; sometimes die instead."""
        lab, chance = self.world.lab, self.world.chance
        if self.lease is None:
            if chance.random() < 0.5:
                return
            self.lease = take_lease(lab.store, "backup", clock=lab.clock, every=NEVER)
        elif chance.random() < 0.25:
            self.lease._ended.set()  # killed: its lease stays until it expires
            self.forget()
        elif self.reusable is None:
            self.reusable = self.known()
        elif self.manifest is None:
            self.write()
        else:
            self.finish()

    def known(self) -> Reusable:
        """Read what is stored already."""
        with unfinished_list(self.state / "portal.chunks") as unfinished:
            assert isinstance(unfinished, UnfinishedList)
            damaged = DamagedObjects(self.state, self.world.lab.repository.id)
            return find_reusable(
                self.world.lab.repository, "portal", allowed(), unfinished, damaged
            )

    def write(self) -> None:
        """Write everything but the manifest."""
        assert self.reusable is not None
        lab, chance = self.world.lab, self.world.chance
        key = BackupKey("portal", BackupId.new(lab.now, chance.randbytes(3)))
        content = self.world.content()
        self.manifest, self.writing = lab.begin(key, content, known=self.reusable.chunks)
        self.remember(self.writing.remembered)

    def remember(self, refs: list[ChunkRef]) -> None:
        """Note what was stored, as a run does that may be killed."""
        with (self.state / "portal.chunks").open("ab") as file:
            file.write(encode_list(refs))

    def finish(self) -> None:
        """Write the manifest, if what it refers to is there."""
        lab = self.world.lab
        assert self.writing is not None
        assert self.manifest is not None
        assert self.lease is not None
        assert self.reusable is not None
        writer = self.writing.writer
        try:
            check_reused(
                lab.repository, writer.reused, self.reusable,
                referred=writer.referred, lease=self.lease,
            )  # fmt: skip
            sha256 = writer.finish(self.manifest)
        except StoreError:
            self.world.refused += 1
        else:
            self.world.finished += 1
            # A host of its own remembers the log by itself.
            log = open_log(lab.store, lab.repository.id, SIGNING_KEY, self.state)
            log.append(
                EntryType.BACKUP_FINISHED,
                {
                    "backup": self.manifest.backup_id,
                    "database": "portal",
                    "manifest_sha256": sha256,
                },
                now=lab.now,
            )
            (self.state / "portal.chunks").unlink(missing_ok=True)
        self.lease.release()
        self.forget()

    def forget(self) -> None:
        """Begin anew with the next step."""
        self.lease = self.reusable = self.writing = self.manifest = None


@dataclass
class World:
    """Hosts, a clock that moves, a repository, and what became of it."""

    lab: PruneLab
    chance: random.Random
    hosts: list[Host] = field(default_factory=list)
    finished: int = 0
    refused: int = 0
    likelihood: float = 0.1

    def content(self) -> bytes:
        """Rows that change a little: pieces of a small stock, so that chunks come again."""
        stock = random.Random(self.chance.randrange(4))
        return b"".join(stock.randbytes(700) for _ in range(self.chance.randint(1, 3)))

    def act(self) -> None:
        """Do something on some host, or nothing."""
        if self.chance.random() < self.likelihood:
            self.chance.choice(self.hosts).step()

    def pass_time(self) -> None:
        """Move the clock; who is alive renews."""
        self.lab.now += self.chance.choice([timedelta(minutes=3), timedelta(hours=7), 2 * DAY])
        for host in self.hosts:
            if host.lease is not None:
                host.lease.name_backups([])


@pytest.mark.parametrize("batch", range(2))
def test_nothing_that_a_backup_refers_to_is_ever_gone(
    tmp_path: Path, numbers: Numbers, batch: int
) -> None:
    """However the steps fall, every manifest's objects are there, and garbage goes in the end."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(2**32)) + batch
    print(f"FAULTS_SEED={seed - batch}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    finished = swept = postponed = number = 0
    # A few in which every host died at some point of each backup are no proof: then some more.
    while number < numbers.of(2, 200) or (not finished and number < 20):
        number += 1
        store = BusyStore()
        lab = PruneLab.make(store, tmp_path / f"{number}-state")
        lab.chance = chance
        lab.jobs = 1  # the store is one thread's at a time
        world = World(lab, chance, likelihood=chance.choice([0.01, 0.03, 0.1]))
        for name in ("one", "two"):
            state = tmp_path / f"{number}-{name}"
            state.mkdir()
            lab.back_up(lab.now - DAY)
            world.hosts.append(Host(world, state))
        for _ in range(20):
            if chance.random() < 0.6:
                chance.choice(world.hosts).step()
            else:
                store.others = world
                try:
                    done = lab.prune()
                    swept += done.swept
                    postponed += done.postponed is not None
                except BusyError:  # a prune on another host
                    pass
                finally:
                    store.others = None
            world.pass_time()
            assert lab.damages() == (), f"FAULTS_SEED={seed}"
        for host in world.hosts:
            if host.lease is not None:
                host.lease.release()
        lab.now += 2 * DAY
        lab.prune_until_nothing_is_left()
        assert lab.damages() == ()
        assert lab.garbage() == set()
        finished += world.finished
    assert finished > 0
    if numbers.is_full:
        assert min(swept, postponed) > 0
