"""Manifests: what is refused, and whose signature counts."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.sshsig import sign
from backup.errors import IntegrityError
from backup.repository.layout import BackupId, BackupKey
from backup.repository.manifest import (
    MANIFEST_NAMESPACE,
    Manifest,
    decode_manifest,
    encode_manifest,
    sha256_hex,
    sign_manifest,
    verify_manifest,
)
from tests.samples import (
    KEY,
    MOMENT,
    REPOSITORY_ID,
    SIGNING_KEY,
    STRANGER,
    allowed,
    catalog,
    manifest,
    part,
)

MANIFEST = manifest()
DATA = encode_manifest(MANIFEST)


def test_a_catalogue_knows_whether_a_table_is_partitioned() -> None:
    """Then a restore has to mind who locks what."""
    found = catalog()
    assert found.has_partitions
    assert not dataclasses.replace(found, relations=found.relations[:1]).has_partitions


def read(data: bytes, key: BackupKey = KEY, repository_id: str = REPOSITORY_ID) -> Manifest:
    """What a reader gets."""
    return decode_manifest(data, key, repository_id)


def test_a_manifest_comes_back_as_it_was() -> None:
    """And its text is canonical."""
    assert read(DATA) == MANIFEST
    plain = json.loads(DATA)
    assert list(plain) == sorted(plain)
    assert plain["snapshot_time"] == "2026-01-14T02:00:00.120500Z"
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_manifest_knows_its_place_and_its_sums() -> None:
    """Sizes are those of all its parts."""
    one = part(chunks=1, plain_bytes=10, stored_bytes=7, new_bytes=3)
    two = part("schema", chunks=1, plain_bytes=20, stored_bytes=8, new_bytes=0)
    made = manifest(parts=(one, two))
    assert made.key == KEY
    assert (made.plain_bytes, made.stored_bytes, made.new_bytes) == (30, 15, 3)


def test_a_manifest_in_another_place_is_refused() -> None:
    """An old backup relabelled as a new one, or as another database's."""
    for key in (
        BackupKey(KEY.database, BackupId("20260115T020000Z-3f9c2a")),
        BackupKey("other", KEY.id),
    ):
        with pytest.raises(IntegrityError, match="is the manifest of portal 20260114T020000Z"):
            read(DATA, key)


def test_a_manifest_of_another_repository_is_refused() -> None:
    """Its chunks are elsewhere."""
    with pytest.raises(IntegrityError, match=f"belongs to repository {REPOSITORY_ID}"):
        read(DATA, repository_id="00" * 16)


@pytest.mark.parametrize("missing", ["schema", "rest", "globals"])
def test_a_backup_without_one_of_its_parts_is_refused(missing: str) -> None:
    """Tables may be none, these three are always there."""
    parts = tuple(one for one in MANIFEST.parts if one.name != missing)
    with pytest.raises(IntegrityError, match="parts of a whole backup"):
        read(encode_manifest(manifest(parts=parts)))


def test_a_part_listed_twice_is_refused() -> None:
    """It would be restored twice."""
    with pytest.raises(IntegrityError, match="parts of a whole backup"):
        read(encode_manifest(manifest(parts=(*MANIFEST.parts, part("table-1")))))


@pytest.mark.parametrize(
    "name",
    ["table-0", "table-01", "table-1234567", "table-1/../../x", "../rest", "other", "rest\n"],
)
def test_a_part_with_another_name_is_refused(name: str) -> None:
    """Part names end up in keys and in file names."""
    strange = dataclasses.replace(part("table-1"), name=name)
    with pytest.raises(IntegrityError, match="in no known form"):
        read(encode_manifest(manifest(parts=(*MANIFEST.parts[:1], *MANIFEST.parts[2:], strange))))


def test_a_part_of_another_kind_than_its_name_is_refused() -> None:
    """The kind decides how it is restored."""
    strange = dataclasses.replace(part("table-2"), kind="rest")
    with pytest.raises(IntegrityError, match="another kind"):
        read(encode_manifest(manifest(parts=(*MANIFEST.parts, strange))))


@pytest.mark.parametrize("digest", ["", "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_a_digest_in_another_form_is_refused(digest: str) -> None:
    """For the catalogue and for lists."""
    with pytest.raises(IntegrityError, match="in no known form"):
        read(encode_manifest(manifest(catalog_sha256=digest)))
    parts = (*MANIFEST.parts[:-1], part("globals", list_sha256=digest))
    with pytest.raises(IntegrityError, match="in no known form"):
        read(encode_manifest(manifest(parts=parts)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"format":1', b'"format":2'),
        (b'"format":1', b'"format":1.0'),
        (b'"format":1', b'"format":true'),
        (b'"format":1', b'"form":1'),
        (b'"log":{', b'"lag":0,"log":{'),
        (b'"size":3', b'"size":3.0'),
        (b'"chunks":0', b'"chunks":"0"'),
        (b'"kind":"rest"', b'"kind":"wal"'),
        (b'"repository_id":"5a', b'"repository_id":"..'),
        (b'"started":"2026-01-14T02:00:00Z"', b'"started":"2026-01-14T02:00:00"'),
    ],
)
def test_a_manifest_in_another_format_is_refused(old: bytes, new: bytes) -> None:
    """Never guessed at."""
    assert old in DATA
    with pytest.raises(IntegrityError, match=r"manifest\.json does not follow this version's"):
        read(DATA.replace(old, new, 1))


def test_a_pinned_signature_names_its_principal() -> None:
    """As `ssh-keygen -Y find-principals` does."""
    signer = verify_manifest(DATA, sign_manifest(DATA, SIGNING_KEY), allowed(), at=MOMENT)
    assert signer.principal == "backup@host"
    assert signer.public_key == SIGNING_KEY.public_key


def test_without_pins_a_signature_vouches_for_nobody() -> None:
    """Whole, but anyone's."""
    signer = verify_manifest(DATA, sign_manifest(DATA, STRANGER), None, at=MOMENT)
    assert signer.principal is None


def test_a_signature_by_any_other_key_is_refused() -> None:
    """Someone who can write to the store can sign with a key of his own."""
    with pytest.raises(IntegrityError, match="not among the allowed"):
        verify_manifest(DATA, sign_manifest(DATA, STRANGER), allowed(), at=MOMENT)
    with pytest.raises(IntegrityError, match="not among the allowed"):
        verify_manifest(DATA, sign_manifest(DATA, SIGNING_KEY), allowed(STRANGER), at=MOMENT)


def test_a_key_pinned_for_another_purpose_signs_no_manifest() -> None:
    """The restore tester vouches for reports only."""
    with pytest.raises(IntegrityError, match="not among the allowed"):
        verify_manifest(
            DATA,
            sign_manifest(DATA, SIGNING_KEY),
            allowed(namespace="strongroom-evidence@v1"),
            at=MOMENT,
        )


def test_a_signature_for_another_purpose_is_refused() -> None:
    """A signed report can't be planted as a manifest's signature."""
    signature = sign(DATA, SIGNING_KEY, "strongroom-evidence@v1").encode()
    with pytest.raises(IntegrityError, match=MANIFEST_NAMESPACE):
        verify_manifest(DATA, signature, allowed(), at=MOMENT)


def test_a_signature_over_other_bytes_is_refused() -> None:
    """Whichever byte it is; and whatever is in the signature's place."""
    signature = sign_manifest(DATA, SIGNING_KEY)
    for position in range(0, len(DATA), 97):
        damaged = bytearray(DATA)
        damaged[position] ^= 1
        with pytest.raises(IntegrityError):
            verify_manifest(bytes(damaged), signature, allowed(), at=MOMENT)
    others = (b"", b"\xff", signature[:-40], b"x" + signature)
    # ssh-keygen takes the next two, and verify says that the object is not what was written.
    lenient = (signature[:-1], signature.replace(b"\n", b"\r\n"))
    for other in (*others, *lenient):
        with pytest.raises(IntegrityError):
            verify_manifest(DATA, other, allowed(), at=MOMENT)


def test_a_backup_outlives_the_key_that_signed_it() -> None:
    """A pin's limits are held against the time of the backup, not against today."""
    signer = dataclasses.replace(
        allowed().signers[0], valid_before=MOMENT + timedelta(days=1), valid_after=MOMENT
    )
    pins = AllowedSigners(signers=(signer,))
    signature = sign_manifest(DATA, SIGNING_KEY)
    assert verify_manifest(DATA, signature, pins, at=MOMENT).principal == "backup@host"
    with pytest.raises(IntegrityError):
        verify_manifest(DATA, signature, pins, at=MOMENT + timedelta(days=2))
