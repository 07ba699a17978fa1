"""Copies: directory to bucket, bucket to bucket; only what is missing; never what is bad."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.errors import IntegrityError, NotFoundError, SettingsError
from backup.journeys.copy import Copied, copy
from backup.journeys.progress import Silent
from backup.journeys.verify import verify
from backup.repository.access import Repository
from backup.repository.canonical import encode
from backup.repository.layout import BackupKey
from backup.repository.stores.base import Store
from backup.repository.stores.copyview import CopyView
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from tests.lab.prunes import DAY, START, PruneLab
from tests.lab.s3servers import S3Servers
from tests.samples import DESCRIPTION, allowed

FILES = ("chunk-key.age", "RESTORE.md", "restore.sh")


@pytest.fixture
def lab(tmp_path: Path) -> PruneLab:
    """A repository in a directory, with three backups that share chunks."""
    lab = PruneLab.make(LocalStore(tmp_path / "vault"), tmp_path / "state")
    for name in FILES:
        lab.store.put(name, name.encode())
    content = lab.chance.randbytes(1500)
    for number in range(3):
        lab.back_up(START - (9 - number) * DAY, content + bytes([number]) * 700)
    return lab


def copied(lab: PruneLab, source: Store, target: Store) -> Copied:
    """Copy all that is missing."""
    return copy(
        Repository(source),
        target,
        allowed(),
        database=None,
        jobs=2,
        clock=lambda: datetime.now(UTC),
        progress=Silent(),
    )


def damages(store: Store) -> list[str]:
    """What is wrong with the backups in a store, but for the files that the samples name."""
    repository = Repository(store)
    found = verify(repository, repository.backups(), allowed(), jobs=2, progress=Silent())
    return [damage.what for damage in found.damages if "restore.sh" not in damage.what]


def test_a_copy_of_a_copy_has_all_backups(lab: PruneLab, s3_servers: S3Servers) -> None:
    """Directory to bucket, bucket to bucket; a second run copies nothing."""
    server = s3_servers.named("moto")
    first = server.store(server.new_bucket(), "copy")
    second = server.store(server.new_bucket())
    made = copied(lab, lab.store, first)
    assert [key.id for key in made.copied] == [key.id for key in lab.repository.backups()]
    assert made.failed == ()
    assert copied(lab, first, second).copied == made.copied
    for store in (first, second):
        assert Repository(store).backups() == lab.repository.backups()
        assert damages(store) == []
        again = copied(lab, lab.store, store)
        assert (again.copied, again.objects, len(again.present)) == ((), 0, 3)


def test_only_objects_that_are_missing_are_copied(lab: PruneLab) -> None:
    """The next day costs what is new."""
    target = MemoryStore()
    copied(lab, lab.store, target)
    lab.back_up(START, lab.chance.randbytes(600))
    new = set(lab.store.list("chunks/")) - set(target.list("chunks/"))
    assert copied(lab, lab.store, target).objects == len(new)
    assert damages(target) == []


def test_a_damaged_backup_is_not_copied_and_the_others_are(lab: PruneLab, tmp_path: Path) -> None:
    """It is named; there is no manifest of it in the copy."""
    bad = lab.repository.backups()[1]
    manifest = lab.repository.manifest(bad, allowed()).manifest
    rest = next(part for part in manifest.parts if part.name == "rest")
    before = {name for key in lab.repository.backups()[:1] for name in objects_of(lab, key)}
    own = [name for name in objects_of(lab, bad) if name not in before]
    assert rest.chunks
    path = tmp_path / "vault" / own[0]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    target = MemoryStore()
    made = copied(lab, lab.store, target)
    assert bad in [failure.key for failure in made.failed]
    assert bad.manifest not in set(target.list(""))
    assert made.copied
    assert damages(target) == []


def objects_of(lab: PruneLab, key: BackupKey) -> list[str]:
    """The chunk objects of a backup."""
    manifest = lab.repository.manifest(key, allowed()).manifest
    return [
        f"chunks/{ref.sha256.hex()[:2]}/{ref.sha256.hex()}"
        for part in manifest.parts
        for ref in lab.repository.refs(manifest, part)
    ]


def test_another_repository_is_never_mixed_with_the_copy(lab: PruneLab) -> None:
    """Nothing is written there."""
    target = MemoryStore()
    other = replace(DESCRIPTION, repository_id="0" * 32)
    target.put("repository.json", encode(other))
    with pytest.raises(SettingsError, match="not a copy"):
        copied(lab, lab.store, target)
    assert list(target.list("chunks/")) == []


def test_the_log_of_a_copy_is_that_of_the_repository(lab: PruneLab) -> None:
    """When the repository is lost, what was copied of it is read, and nothing begins a new one."""
    target = MemoryStore("memory:copy")
    made = copied(lab, lab.store, target)
    there = {key: lab.store.get(key) for key in lab.store.list("log/")}
    assert made.log_objects == len(there) > 6
    lab.back_up(START)
    view = CopyView(target, lambda: lab.store)
    assert list(view.list("log/")) == list(lab.store.list("log/")) != list(there)
    assert (view.address, view.lost) == ("memory:copy", None)

    def lost() -> Store:
        raise SettingsError("the repository is gone")

    for home in (lost, MemoryStore):
        view = CopyView(target, home)
        assert damages(view) == []
        assert {key: view.get(key) for key in view.list("log/")} == there
        with pytest.raises(NotFoundError, match="evidence log is not to be had"):
            view.put("log/entries/000000000099.json", b"{}")
        with pytest.raises(NotFoundError, match="evidence log is not to be had"):
            view.delete("log/entries/000000000000.json")
        assert view.lost is not None


def test_a_log_that_was_written_anew_is_not_copied_over_the_old_one(lab: PruneLab) -> None:
    """The copy is a witness of what was there before."""
    target = MemoryStore()
    copied(lab, lab.store, target)
    before = {key: target.get(key) for key in target.list("copied-log/")}
    lab.back_up(START)
    last = max(before)
    target.delete(max(key for key in before if "/entries/" in key))
    assert copied(lab, lab.store, target).log_objects == 3
    newest = max(lab.store.list("log/entries/"))
    data = lab.store.get(newest)
    lab.store.delete(newest)
    with pytest.raises(IntegrityError, match="does not go on from what was copied"):
        copied(lab, lab.store, target)
    lab.store.put(newest, data.replace(b"portal", b"portaI"))
    with pytest.raises(IntegrityError, match="does not go on from what was copied"):
        copied(lab, lab.store, target)
    assert target.get(last) == before[last]
