"""Looking at a store that answers late: several databases are asked after at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from backup.crypto.merkle import leaf_hash
from backup.errors import StoreError
from backup.repository.stores.memory import MemoryStore
from backup.settings import load
from scheduler.keptlog import KeptLog
from scheduler.look import Looker
from tests.lab.prunes import START, PruneLab
from tests.samples import allowed

AT_ONCE = 4
DATABASES = tuple(f"d{number}" for number in range(AT_ONCE))


class Late(MemoryStore):
    """Answers who asks for a manifest when so many others asked as well, and never before."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.is_late = False
        self.lost = ""
        self.entries = 0
        self._others = threading.Barrier(at_once)

    def get(self, key: str) -> bytes:
        """Return an object, late."""
        self.entries += key.startswith("log/entries/")
        if self.is_late and key.endswith("/manifest.json"):
            if f"/{self.lost}/" in key:
                raise StoreError(f"{key}: no answer")
            self._others.wait(30)
        return super().get(key)


def looked_at(store: Late, home: Path) -> Callable[..., Looker]:
    """A repository with a backup of each database; returned is what a new process looks with."""
    lab = PruneLab.make(store, home / "state")
    for name in DATABASES:
        lab.back_up(START, database=name)
    (home / "signers").write_text(allowed().text)
    (home / "strongroom.toml").write_text(
        f'repository = "/nowhere"\nstate_directory = "{lab.state}"\n'
        f'allowed_signers = "{home / "signers"}"\n'
        + "".join(f'[databases.{name}]\ndsn = "dbname={name}"\n' for name in DATABASES)
    )
    settings = load(environment={"HOME": str(home)}, is_root=False, config=home / "strongroom.toml")
    store.is_late = True
    return partial(Looker, settings, configured_notifiers=1, repository=lab.repository)


def test_manifests_of_several_databases_are_fetched_at_once(tmp_path: Path) -> None:
    """One after the other each would wait for ever; each database gets its own, and once."""
    store = Late(AT_ONCE)
    looker = looked_at(store, tmp_path)()
    for now in (START + timedelta(hours=1), START + timedelta(hours=2)):
        found = looker.look(now=now)
        assert found.blindnesses == ()
        assert tuple(found.records) == DATABASES
        newest = {name: record.newest for name, record in found.records.items()}
        assert all(one is not None and one.started == START for one in newest.values())
        assert len({one.backup_id for one in newest.values() if one is not None}) == len(DATABASES)
        store.lost = DATABASES[0]  # what was believed once is not asked for again


def test_a_backup_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Its database is in doubt; the others are known."""
    store = Late(at_once=1)
    looker = looked_at(store, tmp_path)()
    store.lost = DATABASES[3]
    records = looker.look(now=START + timedelta(hours=1)).records
    assert [name for name, record in records.items() if record.newest is None] == [store.lost]
    doubted = records[store.lost].doubted
    assert doubted is not None
    assert doubted.why.endswith("no answer")


def test_what_a_daemon_fetched_of_the_log_is_not_fetched_by_the_next_process(
    tmp_path: Path,
) -> None:
    """Nothing in the file is believed: what is spoilt in it is fetched again, and no more."""
    store, now = Late(at_once=1), START + timedelta(hours=1)
    new_process = looked_at(store, tmp_path)
    store.entries = 0
    told = new_process().look(now=now)
    all_of_it = store.entries
    assert all_of_it == told.log_entries > len(DATABASES)
    assert not [*tmp_path.rglob("*.lines")], "who only asks changes nothing"

    assert new_process(keeps_log=True).look(now=now).log_entries == all_of_it
    store.entries = 0
    assert new_process().look(now=now) == told
    assert store.entries == 0

    (kept,) = tmp_path.rglob("*.lines")
    assert kept.stat().st_mode & 0o077 == 0
    lines = kept.read_bytes().split(b"\n")
    spoilt = [line.replace(b'"database":"d1"', b'"database":"d2"') for line in lines]
    assert sum(one != other for one, other in zip(lines, spoilt, strict=True)) == 1
    kept.write_bytes(b"\n".join(spoilt)[:-5] + b"\n99 {}\nnone")
    assert new_process(keeps_log=True).look(now=now) == told
    assert store.entries == 2, "the one that was changed, and the one that was cut short"
    assert new_process().look(now=now) == told
    assert store.entries == 2


def test_a_file_that_grew_too_large_is_written_anew(tmp_path: Path) -> None:
    """And one that can't be written is done without."""
    lines = {seq: b"%d" % seq * 100_000 for seq in range(6)}
    leaves = [leaf_hash(line) for line in lines.values()]
    kept, newest = KeptLog(tmp_path / "it.lines"), {5: lines[5]}
    for _ in range(4):
        kept.add(lines, lines)
    before = (tmp_path / "it.lines").stat().st_size
    (tmp_path / "it.new").write_text("of a daemon that was killed while it wrote")
    kept.add({}, newest)
    assert before > 2_000_000 > (tmp_path / "it.lines").stat().st_size
    assert kept.read(leaves) == newest
    assert kept.read(leaves[:5]) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["it.lines"]
    nowhere = KeptLog(tmp_path / "nowhere" / "it.lines")
    nowhere.add(lines, lines)
    assert nowhere.read(leaves) == {}
