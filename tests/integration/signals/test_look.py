"""Looking at a store that answers late: several databases are asked after at once."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

from backup.errors import StoreError
from backup.repository.stores.memory import MemoryStore
from backup.settings import load
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
        self._others = threading.Barrier(at_once)

    def get(self, key: str) -> bytes:
        """Return an object, late."""
        if self.is_late and key.endswith("/manifest.json"):
            if f"/{self.lost}/" in key:
                raise StoreError(f"{key}: no answer")
            self._others.wait(30)
        return super().get(key)


def looked_at(store: Late, home: Path) -> Looker:
    """A repository with a backup of each database, and who looks at it."""
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
    return Looker(settings, configured_notifiers=1, repository=lab.repository)


def test_manifests_of_several_databases_are_fetched_at_once(tmp_path: Path) -> None:
    """One after the other each would wait for ever; each database gets its own, and once."""
    store = Late(AT_ONCE)
    looker = looked_at(store, tmp_path)
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
    looker = looked_at(store, tmp_path)
    store.lost = DATABASES[3]
    records = looker.look(now=START + timedelta(hours=1)).records
    assert [name for name, record in records.items() if record.newest is None] == [store.lost]
    doubted = records[store.lost].doubted
    assert doubted is not None
    assert doubted.why.endswith("no answer")
