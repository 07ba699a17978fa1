"""A copy has a retention of its own: what it lets go stays at home, and is not copied again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.errors import BusyError, NotFoundError
from backup.evidence.entry import EntryType
from backup.evidence.log import read_log
from backup.journeys.copy import Copied, CopyRules, copy, plan
from backup.journeys.pins import pin, unpin
from backup.journeys.progress import Silent
from backup.journeys.prune import Pruned, prune
from backup.journeys.verify import verify
from backup.leases import held
from backup.logmemory import open_log
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.layout import BackupKey
from backup.repository.locking import LockRule
from backup.repository.pins import read_pins
from backup.repository.retention import BlockedPlan, Policy
from backup.repository.stores.base import Store
from backup.repository.stores.copyview import CopyView
from backup.repository.stores.local import LocalStore
from backup.repository.stores.s3options import Lock
from tests.lab.prunes import DAY, GRACE, PruneLab
from tests.lab.repositories import Host, lab_repository
from tests.lab.s3servers import S3Servers
from tests.samples import FILES, SIGNING_KEY, allowed

TWO = Policy(keep_last=2, minimum_age=timedelta(), max_expire=1000)


@dataclass
class Copies:
    """A repository with six backups, a day between them, and a copy that keeps the last two."""

    lab: PruneLab
    target: Store
    policy: Policy = TWO
    lock_rule: LockRule | None = None

    @property
    def rules(self) -> CopyRules:
        """The copy's own."""
        return CopyRules(retention=self.policy, lock_rule=lambda _: self.lock_rule)

    @property
    def view(self) -> Repository:
        """The copy, as verbs open it."""
        return Repository(CopyView(self.target, lambda: self.lab.store))

    def copy(self) -> Copied:
        """Copy what the copy keeps."""
        return copy(
            self.lab.repository,
            self.target,
            allowed(),
            database=None,
            jobs=2,
            clock=self.lab.clock,
            progress=Silent(),
            rules=self.rules,
        )

    def try_prune(self) -> Pruned | BlockedPlan:
        """Prune the copy."""
        sight = replace(self.lab.sight, repository=self.view, copy="offsite")
        rules = replace(self.lab.rules, policy=self.policy)
        log = open_log(self.view.store, self.view.id, SIGNING_KEY, self.lab.state)
        return prune(
            sight,
            rules,
            log,
            clock=self.lab.clock,
            random=self.lab.chance.randbytes,
            progress=Silent(),
        )

    def prune(self) -> Pruned:
        """Prune the copy; it must not be blocked."""
        done = self.try_prune()
        assert isinstance(done, Pruned), done
        return done

    def damages(self) -> list[str]:
        """What is wrong with the copy."""
        found = verify(self.view, self.view.backups(), allowed(), jobs=2, progress=Silent())
        return [damage.what for damage in found.damages if "restore.sh" not in damage.what]

    def told(self) -> list[tuple[EntryType, object]]:
        """What the log at home says of prunes, and of which backups."""
        log = read_log(self.lab.store)
        return [
            (entry.type, entry.details.get("backup"))
            for entry in log.entries()
            if "prune" in entry.type
        ]


@pytest.fixture
def here(s3_servers: S3Servers, tmp_path: Path) -> Copies:
    """Nothing is copied yet."""
    lab = PruneLab.make(LocalStore(tmp_path / "vault"), tmp_path / "state")
    for name in {"chunk-key.age", "RESTORE.md", "restore.sh"} | {file.name for file in FILES}:
        lab.store.put(name, name.encode())
    content = lab.chance.randbytes(1500)
    for number in range(6):
        lab.back_up(lab.now - (6 - number) * DAY, content + lab.chance.randbytes(700))
    server = s3_servers.named("moto")
    return Copies(lab, server.store(server.new_bucket(), "copy"))


def test_a_copy_is_pruned_by_its_own_policy_and_home_is_untouched(here: Copies) -> None:
    """What is let go is not copied again; its chunks are swept; the log at home tells of it."""
    lab = here.lab
    backups = lab.repository.backups()
    here.policy = replace(TWO, keep_last=4)
    assert here.copy().copied == tuple(backups[2:]), "what would go at once is not copied"
    assert plan(lab.repository, here.target, None, here.rules, now=lab.now) == ()
    objects = set(lab.store.list("chunks/")) | set(lab.store.list("backups/"))

    here.policy = TWO
    done = here.prune()
    assert done.deleted == tuple(backups[2:4])
    assert here.view.backups() == backups[4:]
    assert here.copy().copied == ()
    lab.now += GRACE
    assert here.prune().swept == done.condemned > 0
    assert here.prune().plan.is_nothing
    assert here.damages() == []
    assert set(lab.store.list("chunks/")) | set(lab.store.list("backups/")) == objects
    assert lab.repository.backups() == backups

    assert here.told() == [
        (EntryType.COPY_PRUNE_PLANNED, None),
        (EntryType.COPY_PRUNE_EXECUTED, backups[2].id.text),
        (EntryType.COPY_PRUNE_EXECUTED, backups[3].id.text),
        (EntryType.COPY_PRUNE_EXECUTED, None),
        (EntryType.COPY_PRUNE_PLANNED, None),
        (EntryType.COPY_PRUNE_EXECUTED, None),
    ]
    assert lab.wrong_in_log() == (), "nothing is gone from the repository"
    new = lab.back_up(lab.now)
    assert here.copy().copied == (new,)
    assert here.damages() == []


def test_the_brakes_hold_in_a_copy(here: Copies) -> None:
    """The newest that passed a restore test, max_expire, and an empty policy."""
    lab = here.lab
    here.policy = replace(TWO, keep_last=6)
    here.copy()
    backups = lab.repository.backups()
    lab.prove(backups[1])
    here.policy = replace(TWO, max_expire=2)
    found = here.try_prune()
    assert isinstance(found, BlockedPlan)
    assert here.told()[-1][0] is EntryType.COPY_PRUNE_BLOCKED
    here.policy = Policy()
    assert isinstance(here.try_prune(), BlockedPlan)
    assert here.view.backups() == backups
    here.policy = TWO
    assert here.prune().deleted == (backups[0], *backups[2:4])


def test_pins_of_a_copy_are_its_own(here: Copies) -> None:
    """Those at home are copied; taken off at home they stay until they are taken off there."""
    lab = here.lab
    backups = lab.repository.backups()
    old = backups[0]
    pin(lab.repository, old, lab.log, who="me", why="audit", clock=lab.clock, allowed=allowed())
    assert old in here.copy().copied, "a pinned backup is copied however old it is"
    assert unpin(lab.repository, old, lab.log, who="me", now=lab.now, allowed=allowed())
    here.copy()
    assert (read_pins(lab.store), set(read_pins(here.target))) == ({}, {old})
    assert here.prune().deleted == ()
    log = open_log(here.view.store, here.view.id, SIGNING_KEY, lab.state)
    assert unpin(here.view, old, log, who="me", now=lab.now, allowed=allowed(), copy="offsite")
    entry = list(read_log(lab.store).entries())[-1]
    assert (entry.type, entry.details["copy"]) == (EntryType.PIN_REMOVED, "offsite")
    assert here.prune().deleted == (old,)
    newest = backups[-1]
    where = {"allowed": allowed(), "copy": "offsite"}
    assert pin(here.view, newest, log, who="me", why="w", clock=lab.clock, **where)[1]
    assert (set(read_pins(lab.store)), set(read_pins(here.target))) == (set(), {newest})


def test_copying_and_pruning_a_copy_keep_out_of_each_others_way(here: Copies) -> None:
    """A prune marks and sweeps nothing while something is copied; nothing is copied beside one."""
    lab = here.lab
    here.policy = replace(TWO, keep_last=6)
    here.copy()
    here.policy = TWO
    with held(here.target, "backup", clock=lab.clock):
        done = here.prune()
        assert done.condemned == 0
        assert "is at work" in (done.postponed or "")
    with (
        held(here.target, "prune", clock=lab.clock),
        pytest.raises(BusyError, match="is being pruned"),
    ):
        here.copy()
    assert not [key for key in here.target.list("leases/") if key.startswith("leases/backup-")]


def test_a_copy_is_not_pruned_when_its_repository_is_lost(here: Copies) -> None:
    """Nothing could be told of it."""
    here.copy()
    view = Repository(CopyView(here.target, lambda: LocalStore(Path("/nowhere"))))
    log = open_log(view.store, view.id, SIGNING_KEY, here.lab.state)
    sight = replace(here.lab.sight, repository=view, copy="offsite")
    rules = replace(here.lab.rules, policy=replace(TWO, keep_last=1))
    before = view.backups()
    with pytest.raises(NotFoundError, match="evidence log is not to be had"):
        prune(
            sight,
            rules,
            log,
            clock=here.lab.clock,
            random=here.lab.chance.randbytes,
            progress=Silent(),
        )
    assert view.backups() == before


def test_a_copy_locks_by_its_own_policy_and_prune_says_until_when(
    here: Copies, s3_servers: S3Servers
) -> None:
    """On a real S3 server: as long as the copy keeps it, whatever the repository does."""
    lab, server = here.lab, s3_servers.named("radosgw")
    store = server.store(
        server.new_bucket(has_lock=True), "copy", lock=Lock(mode="compliance", duration=DAY)
    )
    here.target = store
    lab.now = (datetime.now(UTC) + 2 * DAY).replace(microsecond=0)
    content = lab.chance.randbytes(1500)
    new = [lab.back_up(lab.now - (2 - n) * DAY, content + bytes([n]) * 600) for n in range(3)]
    here.policy = Policy(keep_last=2, keep_within=30 * DAY)
    here.lock_rule = LockRule(policy=here.policy, schedule=None, at_most=365 * DAY)
    here.copy()

    def until(key: BackupKey) -> datetime:
        end = store.protection(key.manifest).until
        assert end is not None
        return end

    assert [until(key) for key in new] == [key.id.started + 30 * DAY for key in new]
    here.policy = TWO
    done = here.prune()
    assert done.spared[new[0]].startswith("locked by the store until")
    assert here.damages() == []


def test_the_daemons_command_line_copies_and_prunes_every_copy_it_can(any_database: Dsn) -> None:
    """One place that can't be reached keeps no other from being made; the log answers the slot."""
    with lab_repository() as repository:
        home = repository.directory.parent
        (home / "strongroom.toml").write_text(
            f'repository = "{repository.directory}"\nname = "portal"\n'
            '[[copies]]\nname = "gone"\nrepository = "/proc/nowhere"\n'
            '[[copies]]\nname = "lost"\nrepository = "/proc/nowhere/too"\n'
            f'[[copies]]\nname = "all"\nrepository = "{home}/all"\n'
            f'[[copies]]\nname = "few"\nrepository = "{home}/few"\n'
            '[copies.retention]\nkeep_last = 1\nminimum_count = 1\nminimum_age = "PT0S"\n'
        )
        host = Host(home=home)

        def back_up() -> str:
            return repository.back_up(any_database, name="portal").manifest.backup_id

        made = [back_up() for _ in range(3)]
        slot = "copy@2026-03-01T05:00:00Z"
        done = host.strongroom("copy", "--prune", "--slot", slot, "--json")
        assert done.code != 0
        assert "copy gone: " in done.stderr
        assert "copy lost: " in done.stderr
        told = {one["copy"]: one for one in done.json}
        assert told["all"]["copied"] == made
        assert "pruned" not in told["all"]
        assert told["few"]["copied"] == made[-1:]
        assert told["few"]["pruned"]["deleted"] == []
        last = list(read_log(repository.opened.store).entries())[-1]
        assert (last.type, last.details["errors"]) == (EntryType.COPY_FINISHED, 2)
        assert last.details["slot"] == "2026-03-01T05:00:00Z"

        newest = back_up()
        assert host.strongroom("copy", "--to", "few").code == 0
        shown = host.strongroom("prune", "--copy", "few", "--json").json
        assert [one["backup_id"] for one in shown["expired"]] == made[-1:]
        pruned = host.strongroom("copy", "--to", "few", "--prune", "--json").json[0]["pruned"]
        assert pruned["deleted"] == made[-1:]
        listed = host.strongroom("list", "--from", "few", "--json").json
        assert [one["backup_id"] for one in listed] == [newest]
        assert host.strongroom("verify", "--all", "--from", "few").code == 0
        assert len(host.strongroom("list", "--json").json) == 4
        assert host.strongroom("log", "verify").code == 0

        refused = host.strongroom("prune", "--copy", "all")
        assert refused.code == 2
        assert "nothing is ever deleted from it" in refused.stderr
        doctor = host.strongroom("doctor")
        assert "copy all: retention: none: nothing is ever deleted" in doctor.stdout
        assert "copy few: retention: its own" in doctor.stdout
