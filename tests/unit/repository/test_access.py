"""Reading a repository: which backups there are, and that nothing unchecked comes out."""

from __future__ import annotations

import dataclasses

import pytest

from backup.crypto import age
from backup.crypto.recipients import X25519Identity
from backup.errors import IntegrityError, KeyUnavailableError, NotFoundError
from backup.repository.access import Repository
from backup.repository.canonical import encode
from backup.repository.chunking import ChunkKey
from backup.repository.layout import (
    CHUNK_KEY_KEY,
    REPOSITORY_KEY,
    BackupId,
    BackupKey,
    chunk_object_key,
)
from backup.repository.manifest import Manifest, RepositoryFile, sha256_hex, sign_manifest
from backup.repository.stores.memory import MemoryStore
from tests.samples import (
    CHUNK_KEY,
    DESCRIPTION,
    IDENTITY,
    KEY,
    REPOSITORY_ID,
    SIGNING_KEY,
    STRANGER,
    Writing,
    allowed,
    catalog,
    repository,
    writing_keys,
)

CONTENTS = {"schema": b"-- schema" * 200, "rest": b"rows" * 500, "globals": b"-- roles"}


def taken(store: MemoryStore | None = None, key: BackupKey = KEY) -> tuple[Repository, Manifest]:
    """A repository with one backup."""
    opened = repository(store)
    writing = Writing(opened.store, key=key)
    manifest = writing.store_all(CONTENTS)
    writing.writer.finish(manifest)
    return opened, manifest


def replaced(opened: Repository, key: str, data: bytes) -> None:
    """What someone with the rights to write and delete can do."""
    opened.store.delete(key)
    opened.store.put(key, data)


def named(database: str, text: str) -> BackupKey:
    """A key."""
    return BackupKey(database, BackupId(text))


def test_a_store_without_a_description_is_no_repository() -> None:
    """A directory that is not mounted, for example."""
    with pytest.raises(NotFoundError, match="no repository in memory:") as caught:
        Repository(MemoryStore())
    assert "strongroom init" in (caught.value.hint or "")


def test_a_repository_knows_itself() -> None:
    """By its id and description."""
    opened = repository()
    assert opened.id == REPOSITORY_ID
    assert opened.description == DESCRIPTION


def test_a_repository_id_that_is_a_path_is_refused() -> None:
    """It names the directory of this host's keys: who writes to the store must not choose it."""
    store = MemoryStore()
    store.put(REPOSITORY_KEY, encode(DESCRIPTION).replace(b"5a5a5a", b"../../", 1))
    with pytest.raises(IntegrityError, match="repository_id"):
        Repository(store)


def test_backups_are_listed_oldest_first() -> None:
    """All, or those of one database; stray objects are passed over."""
    opened = repository()
    keys = [
        named("app", "20260114T020000Z-aaaaaa"),
        named("app-test", "20260113T020000Z-bbbbbb"),
        named("app", "20260115T020000Z-000000"),
    ]
    for key in keys:
        opened.store.put(key.manifest, b"")
    opened.store.put("backups/app/20260116T020000Z-cccccc/manifest.json.sig", b"")
    opened.store.put("backups/app/notes.txt", b"")
    assert opened.backups() == [keys[1], keys[0], keys[2]]
    assert opened.backups("app") == [keys[0], keys[2]]
    assert opened.backups("ap") == []


def test_a_backup_is_found_by_id_or_as_the_latest() -> None:
    """Of one database, or of the only one."""
    opened = repository()
    old, new = named("app", "20260114T020000Z-aaaaaa"), named("app", "20260115T020000Z-000000")
    for key in (old, new):
        opened.store.put(key.manifest, b"")
    assert opened.find("latest") == opened.find("latest", "app") == new
    assert opened.find("20260114T020000Z-aaaaaa") == old
    for selector in ("20260114T020000Z-aaaaab", "newest", "20260114T020000Z"):
        with pytest.raises(NotFoundError, match="holds no backup") as caught:
            opened.find(selector)
        assert "strongroom list" in (caught.value.hint or "")
    with pytest.raises(NotFoundError, match="no backup of database 'other'"):
        opened.find("latest", "other")


def test_the_latest_of_several_databases_has_to_be_named() -> None:
    """Guessing would restore the wrong one."""
    opened = repository()
    for database in ("app", "other"):
        opened.store.put(named(database, "20260114T020000Z-aaaaaa").manifest, b"")
    with pytest.raises(NotFoundError, match="latest of which database") as caught:
        opened.find("latest")
    assert "--database" in (caught.value.hint or "")
    assert opened.find("latest", "app").database == "app"


def test_an_empty_repository_has_no_latest() -> None:
    """The hint says how to get one."""
    with pytest.raises(NotFoundError, match="holds no backup") as caught:
        repository().find("latest")
    assert "strongroom backup" in (caught.value.hint or "")


def test_a_manifest_comes_with_its_signer() -> None:
    """Pinned, or vouched for by nobody."""
    opened, manifest = taken()
    pinned = opened.manifest(KEY, allowed())
    assert pinned.manifest == manifest
    assert pinned.signer.principal == "backup@host"
    assert opened.manifest(KEY, None).signer.principal is None


def test_a_deleted_backup_is_not_found() -> None:
    """Not damage: prune deletes the manifest first."""
    opened, _ = taken()
    opened.store.delete(KEY.manifest)
    with pytest.raises(NotFoundError, match="is gone"):
        opened.manifest(KEY, allowed())


def test_an_unsigned_manifest_is_refused() -> None:
    """Pinned or not."""
    opened, _ = taken()
    opened.store.delete(KEY.signature)
    with pytest.raises(IntegrityError, match=r"manifest\.json\.sig is missing"):
        opened.manifest(KEY, None)


def test_a_forged_manifest_is_refused_with_pins() -> None:
    """Someone who knows the recipients and can write plants a whole backup."""
    opened = repository()
    writing = Writing(opened.store, keys=writing_keys(STRANGER))
    writing.writer.finish(writing.store_all(CONTENTS))
    assert opened.manifest(KEY, None).signer.principal is None
    with pytest.raises(IntegrityError, match=r"manifest\.json\.sig: .*not among the allowed"):
        opened.manifest(KEY, allowed())


def test_an_old_manifest_in_the_place_of_a_new_one_is_refused() -> None:
    """With its signature, which is whole."""
    opened, _ = taken()
    planted = named(KEY.database, "20270101T000000Z-000000")
    opened.store.put(planted.manifest, opened.store.get(KEY.manifest))
    opened.store.put(planted.signature, opened.store.get(KEY.signature))
    with pytest.raises(IntegrityError, match="is the manifest of portal 20260114T020000Z"):
        opened.manifest(planted, allowed())


def test_a_signed_manifest_of_another_repository_is_refused() -> None:
    """One host may write to several."""
    opened, _ = taken()
    data = opened.store.get(KEY.manifest).replace(REPOSITORY_ID.encode(), b"00" * 16)
    replaced(opened, KEY.manifest, data)
    replaced(opened, KEY.signature, sign_manifest(data, SIGNING_KEY))
    with pytest.raises(IntegrityError, match="belongs to repository 0000"):
        opened.manifest(KEY, allowed())


def test_a_list_must_be_the_one_that_was_signed() -> None:
    """Missing, changed, or another part's."""
    opened, manifest = taken()
    schema, rest = manifest.parts[0], manifest.parts[1]
    key = KEY.chunk_list("rest")
    lines = opened.store.get(key)
    assert len(list(opened.refs(manifest, rest))) == rest.chunks
    for other in (b"", lines[:-1], lines * 2, opened.store.get(KEY.chunk_list("schema"))):
        replaced(opened, key, other)
        with pytest.raises(IntegrityError, match=r"rest\.chunks is not what the signed manifest"):
            list(opened.refs(manifest, rest))
    opened.store.delete(key)
    with pytest.raises(IntegrityError, match=r"rest\.chunks is missing from memory:"):
        list(opened.refs(manifest, rest))
    assert len(list(opened.refs(manifest, schema))) == schema.chunks


@pytest.mark.parametrize("field", ["chunks", "plain_bytes", "stored_bytes"])
def test_a_list_must_add_up_to_what_the_manifest_says(field: str) -> None:
    """A signer's mistake is a mistake all the same."""
    opened, manifest = taken()
    part = manifest.parts[0]
    wrong = dataclasses.replace(part, **{field: getattr(part, field) + 1})
    with pytest.raises(IntegrityError, match="does not add up"):
        list(opened.refs(manifest, wrong))


def test_the_private_half_must_be_the_one_that_was_signed() -> None:
    """Also for those who can't read it."""
    opened, manifest = taken()
    assert opened.catalog(manifest, [IDENTITY]) == catalog()
    opened.check_catalog(manifest)
    with pytest.raises(KeyUnavailableError):
        opened.catalog(manifest, [X25519Identity.generate()])
    replaced(opened, KEY.catalog, bytes(age.seal(encode(catalog()), [IDENTITY.recipient])))
    for work in (
        lambda: opened.check_catalog(manifest),
        lambda: opened.catalog(manifest, [IDENTITY]),
    ):
        with pytest.raises(IntegrityError, match=r"catalog\.json\.age is not what the signed"):
            work()


def test_the_private_half_says_whose_it_is() -> None:
    """One that was filed as another backup's is refused; one that says nothing is older."""
    opened, manifest = taken()
    sealed = opened.store.get(KEY.catalog)
    later = named("portal", "20260114T030000Z-000000")
    opened.store.put(later.catalog, sealed)
    again = dataclasses.replace(manifest, backup_id=later.id.text)
    with pytest.raises(IntegrityError, match=f"private half of backup {KEY.place}") as caught:
        opened.catalog(again, [IDENTITY])
    assert caught.value.flaw == "misfiled"
    earlier = dataclasses.replace(catalog(), filed_as=None)
    sealed = bytes(age.seal(encode(earlier), [IDENTITY.recipient]))
    replaced(opened, KEY.catalog, sealed)
    unbound = dataclasses.replace(manifest, catalog_sha256=sha256_hex(sealed))
    assert opened.catalog(unbound, [IDENTITY]) == earlier


def test_the_chunk_key_comes_back_from_the_store() -> None:
    """A host that was rebuilt recognises its chunks again."""
    opened = repository()
    with pytest.raises(IntegrityError, match=r"chunk-key\.age is missing"):
        opened.chunk_key([IDENTITY])
    opened.store.put(CHUNK_KEY_KEY, age.seal(CHUNK_KEY.text.encode(), [IDENTITY.recipient]))
    assert opened.chunk_key([IDENTITY]) == CHUNK_KEY
    with pytest.raises(KeyUnavailableError):
        opened.chunk_key([X25519Identity.generate()])
    for content in (b"\xff", b"strongroom-chunk-key-1:00"):
        replaced(opened, CHUNK_KEY_KEY, bytes(age.seal(content, [IDENTITY.recipient])))
        with pytest.raises(IntegrityError):
            opened.chunk_key([IDENTITY])
    replaced(opened, CHUNK_KEY_KEY, b"not age")
    with pytest.raises(IntegrityError, match=r"^chunk-key\.age: "):
        opened.chunk_key([IDENTITY])


def test_a_missing_or_changed_object_is_named() -> None:
    """It is found by its name alone, and never decrypted."""
    opened, manifest = taken()
    refs = list(opened.refs(manifest, manifest.parts[0]))
    assert opened.chunk(refs[0], [IDENTITY], CHUNK_KEY) == CONTENTS["schema"][: refs[0].plain_bytes]
    name = chunk_object_key(refs[0].sha256)
    replaced(opened, name, opened.object(refs[1]))
    with pytest.raises(IntegrityError, match=f"^{name} is not what was written"):
        opened.chunk(refs[0], [IDENTITY], CHUNK_KEY)
    opened.store.delete(name)
    with pytest.raises(IntegrityError, match=f"^{name} is missing"):
        opened.chunk(refs[0], [IDENTITY], CHUNK_KEY)


def test_a_chunk_under_another_chunk_key_is_refused() -> None:
    """The id would not be the one that is listed."""
    opened, manifest = taken()
    ref = next(opened.refs(manifest, manifest.parts[0]))
    with pytest.raises(IntegrityError, match="another chunk"):
        opened.chunk(ref, [IDENTITY], ChunkKey(bytes(32)))


def test_what_init_wrote_is_held_to_what_the_manifest_says() -> None:
    """Whoever can write to the store could put another restore.sh there, to be run by root."""
    opened = repository()
    content = b"#!/bin/sh\n"
    file = RepositoryFile(name="restore.sh", sha256=sha256_hex(content))
    with pytest.raises(IntegrityError, match=r"restore\.sh is missing"):
        opened.check_file(file)
    opened.store.put("restore.sh", content)
    opened.check_file(file)
    replaced(opened, "restore.sh", b"#!/bin/sh\nrm -rf /\n")
    with pytest.raises(IntegrityError, match="not the one that `init` wrote"):
        opened.check_file(file)
