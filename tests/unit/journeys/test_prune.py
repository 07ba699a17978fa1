"""Prune: what goes, what blocks it, who holds it off, and that a second time changes nothing."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backup.errors import BusyError, LockedError, NotFoundError, SettingsError
from backup.evidence.entry import Detail, Entry, EntryType
from backup.evidence.log import read_log
from backup.holders import Holders
from backup.journeys.pins import pin, unpin
from backup.journeys.progress import Silent
from backup.journeys.prune import plan, prune
from backup.journeys.prunelook import PrunePlan
from backup.journeys.verify import Verified, due_share, record, verify
from backup.leases import held, reading
from backup.repository.chunks import encode_list
from backup.repository.layout import BackupId, BackupKey
from backup.repository.pins import pin_key, read_pins
from backup.repository.retention import BlockedPlan, Policy
from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from backup.unfinished import unfinished_objects
from tests.lab.deadholders import die_holding
from tests.lab.prunes import DAY, GRACE, KEEP_TWO, START, PruneLab
from tests.samples import allowed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PruneLab:
    """What `lab` is a copy of; making it takes ten times as long."""
    lab = PruneLab.make(MemoryStore(), tmp_path_factory.mktemp("made"))
    same = lab.chance.randbytes(1200)
    for days in (50, 40, 30, 20):
        lab.back_up(START - days * DAY, same + lab.chance.randbytes(400))
    lab.back_up(START - 45 * DAY, same, database="portal-test")
    return lab


@pytest.fixture
def lab(made: PruneLab, tmp_path: Path) -> PruneLab:
    """A repository with five backups that share what they hold, of two databases."""
    store = MemoryStore()
    for key, data in objects(made).items():
        store.put(key, data)
    shutil.copytree(made.state, tmp_path, dirs_exist_ok=True)
    return PruneLab(store, tmp_path, chance=copy.deepcopy(made.chance))


def objects(lab: PruneLab) -> dict[str, bytes]:
    """Everything that is stored."""
    return {key: lab.store.get(key) for key in lab.store.list("")}


def entries(lab: PruneLab, *types: EntryType) -> list[Entry]:
    """The entries of these types."""
    return [entry for entry in read_log(lab.store).entries() if entry.type in types]


def test_what_the_policy_keeps_stays_whole_and_the_rest_goes(lab: PruneLab) -> None:
    """Backups at once, what only they referred to after the grace period; the log tells of each."""
    before = lab.repository.backups()
    done = lab.prune()
    assert done.deleted == tuple(key for key in before if key.database == "portal")[:2]
    assert done.condemned > 0
    assert lab.garbage() != set()
    lab.now += GRACE
    assert lab.prune().swept == done.condemned
    assert lab.garbage() == set()
    assert lab.damages() == ()
    assert lab.wrong_in_log() == ()
    told = [e.details.get("backup") for e in entries(lab, EntryType.PRUNE_EXECUTED)]
    assert told == [*(key.id.text for key in done.deleted), None, None]


def test_a_dry_run_writes_nothing(lab: PruneLab) -> None:
    """Not even a lease; and what it shows is what is done then."""
    before = objects(lab)
    planned = lab.plan()
    assert isinstance(planned, PrunePlan)
    assert objects(lab) == before
    done = lab.prune()
    assert done.deleted == planned.backups.expired
    assert set(done.plan.condemn) >= set(planned.condemn)


def test_a_second_time_changes_nothing(lab: PruneLab) -> None:
    """No object comes, none goes."""
    lab.prune()
    before = objects(lab)
    assert lab.prune().plan.is_nothing
    assert objects(lab) == before


def test_a_run_that_answers_a_slot_says_so_though_there_was_nothing_to_do(lab: PruneLab) -> None:
    """Every due slot has to be accounted for."""
    lab.prune()
    slot: dict[str, Detail] = {"job": "prune", "slot": "2026-03-01T03:30:00Z"}
    prune(
        lab.sight, lab.rules, lab.log, clock=lab.clock, random=lab.chance.randbytes,
        progress=Silent(), answering=slot,
    )  # fmt: skip
    (*_, last) = entries(lab, EntryType.PRUNE_EXECUTED)
    assert last.details.items() >= slot.items()


def forge(lab: PruneLab) -> None:
    """Change a byte of a manifest."""
    key = lab.repository.backups()[0]
    data = lab.store.get(key.manifest)
    lab.store.delete(key.manifest)
    lab.store.put(key.manifest, data.replace(b'"lsn":"0/1', b'"lsn":"0/9'))


def unsign(lab: PruneLab) -> None:
    """Take a signature away."""
    lab.store.delete(lab.repository.backups()[-1].signature)


def cut_log(lab: PruneLab) -> None:
    """Take the log's last entry away."""
    (*_, last) = lab.store.list("log/entries/")
    lab.store.delete(last)


def damage_lease(lab: PruneLab) -> None:
    """Put something under a lease's name."""
    lab.store.put(f"leases/backup-{'0' * 16}.000001.json", b"{}")


def condemn_manifest(lab: PruneLab) -> None:
    """Have a list condemn what no prune may condemn."""
    key = lab.repository.backups()[-1]
    lab.store.put("condemned/20250101T000000Z-abcdef.keys", f"{key.manifest}\n".encode())


def back_up_tomorrow(lab: PruneLab) -> None:
    """Make a backup with a clock that is ahead."""
    lab.back_up(START + 9 * DAY)


def condemn_tomorrow(lab: PruneLab) -> None:
    """Write a list with a clock that is ahead."""
    lab.store.put("condemned/20260401T000000Z-abcdef.keys", b"")


def ask_for_nothing(lab: PruneLab) -> None:
    """Set no rule for one of the databases."""
    lab.of_database = {"portal-test": Policy()}


def expire_too_many(lab: PruneLab) -> None:
    """Let fewer go at once than would."""
    lab.policy = replace(KEEP_TWO, max_expire=1)


@pytest.mark.parametrize(
    "do",
    [
        forge, unsign, cut_log, damage_lease, condemn_manifest, back_up_tomorrow,
        condemn_tomorrow, ask_for_nothing, expire_too_many,
    ],
)  # fmt: skip
def test_any_doubt_blocks_everything(lab: PruneLab, do: Callable[[PruneLab], None]) -> None:
    """Nothing is deleted, neither backups nor what was condemned long ago, and it is said why."""
    lab.prune()
    for days in (9, 8, 7):
        lab.back_up(START - days * DAY)
    lab.now += GRACE
    do(lab)
    before = objects(lab)
    blocked = lab.plan()
    assert isinstance(blocked, BlockedPlan)
    assert len(blocked.reasons) >= 1
    assert blocked.refused.expired != ()
    if do is not cut_log and do is not damage_lease:
        assert isinstance(lab.try_prune(), BlockedPlan)
        assert entries(lab, EntryType.PRUNE_BLOCKED)
    gone = before.keys() - objects(lab).keys()
    assert gone == set()


def test_nobodys_signature_counts_on_a_host_without_pins(lab: PruneLab) -> None:
    """So nothing can be believed, and nothing goes."""
    blocked = plan(replace(lab.sight, allowed=None), lab.rules, now=lab.now)
    assert isinstance(blocked, BlockedPlan)
    assert any("no signer is pinned" in reason for reason in blocked.reasons)


def test_the_newest_that_passed_stays_and_one_that_failed_since_does_not(lab: PruneLab) -> None:
    """Proof is what the signed log says last of a backup."""
    first, second, *_ = [key for key in lab.repository.backups() if key.database == "portal"]
    lab.prove(first)
    lab.prove(second)
    lab.prove(second, "FAIL")
    assert lab.prune().deleted == (second,)


def test_a_proof_that_no_checkpoint_vouches_for_proves_nothing(lab: PruneLab) -> None:
    """Whoever can write to the store can write an entry, and no checkpoint."""
    first, *_ = [key for key in lab.repository.backups() if key.database == "portal"]
    lab.prove(first)
    (*_, last) = lab.store.list("log/checkpoints/")
    lab.store.delete(last)
    planned = lab.plan()
    assert isinstance(planned, PrunePlan)
    assert first in planned.backups.expired


def test_one_of_two_hosts_prunes(lab: PruneLab, tmp_path: Path) -> None:
    """The other is told who, and nothing of its own happens."""
    with held(lab.store, "prune", clock=lab.clock):
        before = objects(lab)
        with pytest.raises(BusyError, match="prune on"):
            lab.prune()
        assert objects(lab) == before


def test_what_is_read_stays_until_it_is_not(lab: PruneLab) -> None:
    """A restore on another host keeps its backup, by its lease."""
    first, second, *_ = [key for key in lab.repository.backups() if key.database == "portal"]
    with reading(lab.store, "restore", [first], clock=lab.clock):
        assert lab.prune().deleted == (second,)
    assert lab.prune().deleted == (first,)


def test_what_dead_runs_of_this_host_left_holds_nothing_off(tmp_path: Path) -> None:
    """A backup and a restore that were killed: a prune goes on at once, and clears their leases.

    With another state directory, as on another host, they may be at work.
    """
    store = LocalStore(tmp_path / "repository")
    lab = PruneLab.make(store, tmp_path / "state")
    first, *_ = [lab.back_up(START - days * DAY) for days in (50, 40, 30)]
    holders = Holders(lab.state)
    die_holding(store, "backup", holders, clock=lab.clock)
    die_holding(store, "restore", holders, clock=lab.clock, backups=[first])
    elsewhere = plan(replace(lab.sight, holders=Holders(tmp_path)), lab.rules, now=lab.now)
    assert isinstance(elsewhere, PrunePlan)
    assert (elsewhere.backups.expired, elsewhere.postponed is None) == ((), False)
    assert elsewhere.ended_leases == ()
    done = lab.prune()
    assert (done.deleted, done.postponed) == ((first,), None)
    assert done.condemned > 0
    assert list(store.list("leases/")) == []


class Meanwhile(MemoryStore):
    """A store in which something happens just before its n-th call of a kind."""

    def __init__(self) -> None:
        super().__init__()
        self.before_delete: Callable[[str], None] | None = None

    def delete(self, key: str) -> None:
        """Do what is to be done once, then delete."""
        do, self.before_delete = self.before_delete, None
        if do is not None:
            do(key)
        super().delete(key)


def test_who_comes_between_the_plan_and_the_deletion_is_seen(tmp_path: Path) -> None:
    """A restore or a pin that comes while a prune deletes: the backup stays, or they are told."""
    store = Meanwhile()
    lab = PruneLab.make(store, tmp_path)
    first, second, *_ = [lab.back_up(START - days * DAY) for days in (50, 40, 30, 20)]
    told: list[str] = []

    def others_come(key: str) -> None:
        assert key.startswith("leases/prune-")  # the plan is made and its backups are named
        with pytest.raises(BusyError, match="being deleted"):
            pin(lab.repository, first, lab.log, who="me", why="w", clock=lab.clock)
        with (
            pytest.raises(BusyError, match="being deleted"),
            reading(store, "restore", [second], clock=lab.clock),
        ):
            pass
        store.put(pin_key(second), b"not even a pin")
        told.append(key)

    store.before_delete = others_come
    done = lab.prune()
    assert told
    assert done.deleted == (first,)
    assert done.spared == {second: "pinned: the pin cannot be read"}


def test_a_backup_at_work_holds_off_marking_and_sweeping(lab: PruneLab) -> None:
    """Its chunks are no manifest's yet. Backups may go all the same."""
    with held(lab.store, "backup", clock=lab.clock):
        done = lab.prune()
        assert len(done.deleted) == 2
        assert done.condemned == 0
        assert done.postponed is not None
    assert lab.prune().condemned > 0
    lab.now += GRACE
    with held(lab.store, "backup", clock=lab.clock):
        assert lab.prune().swept == 0
    assert lab.prune().swept > 0


def test_what_is_condemned_is_not_used_again_and_comes_back_if_it_is_referred_to(
    lab: PruneLab,
) -> None:
    """A run that had begun before, and was not seen, finishes: its chunks are not swept."""
    content = b"only in what is killed" * 40
    key = BackupKey("portal", BackupId.new(START, b"new"))
    manifest, late = lab.begin(key, content)
    done = lab.prune()
    assert done.condemned > 0
    # Somebody who begins now stores it anew; whoever began before may still finish.
    again = lab.back_up(START + timedelta(minutes=1), content)
    assert lab.repository.manifest(again, None).manifest.new_bytes > 0
    late.writer.finish(manifest)
    lab.now += GRACE
    assert lab.prune().swept > 0
    assert lab.damages() == ()
    lab.prune_until_nothing_is_left()
    assert lab.damages() == ()
    assert lab.garbage() == set()
    assert list(lab.store.list("condemned/")) == []


def test_what_unfinished_runs_of_this_host_stored_stays(lab: PruneLab, tmp_path: Path) -> None:
    """The next run uses it. After a grace period in which nobody touched the list it goes."""
    _, killed = lab.begin(BackupKey("portal", BackupId.new(START, b"new")), b"killed" * 200)
    path = tmp_path / "unfinished" / f"{lab.repository.id}-portal.chunks"
    path.parent.mkdir()
    path.write_bytes(encode_list(killed.remembered) + b"cut sho")
    os.utime(path, (START.timestamp(), START.timestamp()))
    unfinished = unfinished_objects(tmp_path, lab.repository.id, START - GRACE)
    assert len(unfinished) == len(killed.remembered)
    assert unfinished_objects(tmp_path, lab.repository.id, START + DAY) == frozenset()
    made = plan(replace(lab.sight, unfinished=unfinished), lab.rules, now=lab.now)
    assert isinstance(made, PrunePlan)
    assert not {key for key in made.condemn if any(u.hex() in key for u in unfinished)}


class Locking(MemoryStore):
    """A store with Object Lock: nothing but leases can be deleted before a time."""

    is_locked = True

    def delete(self, key: str) -> None:
        """Refuse, while it is locked."""
        if self.is_locked and not key.startswith("leases/"):
            raise LockedError(f"deleting {key}: locked", until=START + DAY)
        super().delete(key)


def test_what_the_store_has_locked_is_spared_and_said(tmp_path: Path) -> None:
    """Until its lock ends; then it goes like anything else."""
    store = Locking()
    lab = PruneLab.make(store, tmp_path)
    keys = [lab.back_up(START - days * DAY) for days in (50, 40, 30)]
    done = lab.prune()
    assert done.deleted == ()
    assert done.spared == {keys[0]: "locked by the store until 2026-03-02 12:00 UTC"}
    store.is_locked = False
    assert lab.prune().deleted == (keys[0],)
    store.is_locked = True
    lab.now += GRACE
    done = lab.prune()
    assert (done.swept, done.locked_until) == (0, START + DAY)
    assert done.locked > 0
    store.is_locked = False
    assert lab.prune().swept > 0
    assert lab.garbage() == set()


def test_a_pin_says_who_when_and_why_and_is_written_once(lab: PruneLab) -> None:
    """A second pin leaves the first; unpinned, the policy decides again."""
    key = lab.repository.backups()[0]

    def hold(why: str) -> tuple[str, bool]:
        made, is_new = pin(lab.repository, key, lab.log, who="ann@host", why=why, clock=lab.clock)
        return made.why, is_new

    assert hold("audit") == ("audit", True)
    before = objects(lab)
    assert hold("another") == ("audit", False)
    assert objects(lab) == before
    assert read_pins(lab.store) == {key: "audit (ann@host, 2026-03-01)"}
    assert key not in lab.prune().deleted
    assert unpin(lab.repository, key, lab.log, who="ann@host", now=lab.now)
    before = objects(lab)
    assert not unpin(lab.repository, key, lab.log, who="ann@host", now=lab.now)
    assert objects(lab) == before
    assert lab.prune().deleted == (key,)
    assert [e.details["who"] for e in entries(lab, EntryType.PIN_SET, EntryType.PIN_REMOVED)] == [
        "ann@host", "ann@host",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"{", "the pin of backup {} cannot be read"), (None, "says that backup {} is pinned")],
)
def test_a_damaged_or_lost_pin_blocks_everything(
    lab: PruneLab, data: bytes | None, reason: str
) -> None:
    """Until somebody pins the backup again, or unpins it."""
    key = lab.repository.backups()[0]
    pin(lab.repository, key, lab.log, who="me", why="w", clock=lab.clock)
    lab.store.delete(pin_key(key))
    if data is not None:
        lab.store.put(pin_key(key), data)
    before = lab.repository.backups()
    blocked = lab.try_prune()
    assert isinstance(blocked, BlockedPlan)
    assert reason.format(key.id) in blocked.reasons[0]
    assert lab.repository.backups() == before
    unpin(lab.repository, key, lab.log, who="me", now=lab.now)
    pin(lab.repository, key, lab.log, who="me", why="w", clock=lab.clock)
    assert key not in lab.prune().deleted
    unpin(lab.repository, key, lab.log, who="me", now=lab.now)
    assert key in lab.prune().deleted


def test_what_does_not_exist_cannot_be_pinned(lab: PruneLab) -> None:
    """Nor can anything be pinned without a reason."""
    key = BackupKey("portal", BackupId.new(START, b"nop"))
    for why, error in (("w", NotFoundError), (" ", SettingsError), ("x" * 501, SettingsError)):
        with pytest.raises(error):
            pin(lab.repository, key, lab.log, who="me", why=why, clock=lab.clock)
    assert read_pins(lab.store) == {}


def test_databases_are_told_apart_by_their_whole_name(lab: PruneLab) -> None:
    """`portal` and `portal-test`: each by its own rules, with its own newest."""
    lab.policy = replace(KEEP_TWO, keep_last=1, minimum_count=1)
    lab.of_database = {"portal-test": Policy(keep_last=9)}
    done = lab.prune()
    assert {key.database for key in done.deleted} == {"portal"}
    assert len(done.deleted) == 3


def test_leases_that_count_no_more_are_cleared(lab: PruneLab) -> None:
    """Those that a host without the right to delete left, and those of the dead."""
    lab.prune()
    lease = held(lab.store, "backup", clock=lab.clock)
    lease.__enter__()
    lab.now += 2 * DAY
    assert lab.prune().plan.ended_leases != ()
    assert list(lab.store.list("leases/")) == []
    lease.__exit__(None, None, None)


def test_stores_of_both_kinds_are_pruned_alike(tmp_path: Path) -> None:
    """A directory ends as it was: no backup's own directory stays behind."""
    store: Store = LocalStore(tmp_path / "repository")
    lab = PruneLab.make(store, tmp_path / "state")
    for days in (50, 40, 30):
        lab.back_up(START - days * DAY)
    lab.prune_until_nothing_is_left()
    assert len(list((tmp_path / "repository/backups/portal").iterdir())) == 2


def test_verify_reads_a_share_a_day_and_makes_up_for_days_that_were_missed(lab: PruneLab) -> None:
    """Damage is found within the period; the log says how much of all was read."""
    keys = lab.repository.backups()

    def read() -> Verified:
        share = due_share(lab.log, 4, now=lab.now)
        found = verify(
            lab.repository, keys, allowed(), share=share, jobs=1, progress=Silent()
        )  # fmt: skip
        record(found, lab.log, now=lab.now)
        lab.now += DAY
        return found

    shares = [read() for _ in range(4)]
    assert sum(one.objects for one in shares) == shares[0].all_objects
    lab.now += DAY
    late = read()
    assert late.share is not None
    assert len(late.share.due) == 2
    lab.now += 9 * DAY
    damaged = next(iter(lab.store.list("chunks/")))
    lab.store.delete(damaged)
    assert any(damaged in damage.what for damage in read().damages)
