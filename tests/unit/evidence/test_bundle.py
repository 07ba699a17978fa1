"""The evidence bundle: what a pinned key signed verifies; anything else is refused, with why."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest

from backup.crypto.allowed_signers import AllowedSigners
from backup.errors import IntegrityError
from backup.evidence import bundle as bundles
from backup.evidence.bundle import MEMBERS, decode_zip, sign_evidence
from backup.evidence.bundlecheck import check_bundle, is_rendering
from backup.evidence.entry import EntryType
from backup.evidence.proof import prove
from backup.evidence.verdict import Word
from backup.repository.canonical import encode
from backup.repository.manifest import MANIFEST_NAMESPACE, encode_manifest, sign_manifest
from tests import samples_report
from tests.samples import REPOSITORY_ID, SIGNING_KEY, STRANGER, manifest
from tests.samples_bundle import World, changed, pins, resealed

WORLD = World()
BUNDLE = WORLD.bundle()
OTHER = World().bundle(World().report(samples_report.failed()))


def wrong(data: bytes, allowed: AllowedSigners | None = None) -> str:
    """Everything that is wrong, in one text; nothing is an empty one."""
    return "; ".join(check_bundle(data, allowed or pins()).wrong)


def test_a_bundle_is_good_under_the_pinned_key() -> None:
    """And tells who signed it."""
    found = check_bundle(BUNDLE, pins())
    assert found.wrong == ()
    assert found.is_pinned
    assert found.report.report_id == samples_report.REPORT_ID.text


def test_without_pins_it_is_whole_and_by_nobody_known() -> None:
    """Whole is not good: anybody can make a whole bundle."""
    found = check_bundle(BUNDLE, None)
    assert found.wrong == ()
    assert not found.is_pinned


def test_the_same_values_make_the_same_file() -> None:
    """No time, no name of a host; members in the order in which they are read."""
    again = World()
    assert again.bundle() == BUNDLE
    with zipfile.ZipFile(io.BytesIO(BUNDLE)) as archive:
        assert archive.namelist() == list(MEMBERS)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_changed_byte_in_any_member_is_refused(name: str) -> None:
    """The first, one in the middle, the last."""
    data = decode_zip(BUNDLE)[name]
    for place in (0, len(data) // 2, len(data) - 1):
        altered = bytearray(data)
        altered[place] ^= 0x01
        try:
            assert wrong(changed(BUNDLE, {name: bytes(altered)}))
        except IntegrityError:
            assert name == bundles.REPORT  # it is no report any more


@pytest.mark.parametrize("name", MEMBERS)
def test_a_missing_member_is_refused(name: str) -> None:
    """Also when the list of sums does not name it any more, but for a whole group."""
    try:
        assert wrong(changed(BUNDLE, {name: None}))
        if name not in {bundles.SUMS, bundles.SUMS_SIGNATURE}:
            assert wrong(resealed(BUNDLE, {name: None}))
    except IntegrityError as error:
        assert "holds no report.json" in error.message


def test_a_bundle_by_another_key_is_refused() -> None:
    """Its own claim of who signed it counts for nothing."""
    reason = wrong(World(key=STRANGER).bundle(World(key=STRANGER).report()))
    assert "not among the allowed signers" in reason
    assert "the checkpoint is not signed by a key that counts here" in reason


def test_a_key_that_may_sign_backups_only_does_not_sign_evidence() -> None:
    """The namespace is part of the pin."""
    assert "not among the allowed" in wrong(BUNDLE, pins(namespaces=[MANIFEST_NAMESPACE]))


Forgery = Callable[[World], dict[str, bytes | None]]


def without_row(world: World) -> dict[str, bytes | None]:
    """A line is taken out of the table."""
    del world
    lines = decode_zip(BUNDLE)[bundles.TABLES].splitlines(keepends=True)
    return {bundles.TABLES: b"".join(lines[:2] + lines[3:])}


def with_shorter_proof(world: World) -> dict[str, bytes | None]:
    """The last hash is missing from a proof."""
    del world
    proof = json.loads(decode_zip(BUNDLE)[bundles.FINISHED])
    proof["hashes"].pop()
    return {
        bundles.FINISHED: json.dumps(
            proof, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
    }


def with_other_entry(world: World) -> dict[str, bytes | None]:
    """The end is proven by another entry of the same log."""
    del world
    return {bundles.FINISHED: decode_zip(BUNDLE)[bundles.STARTED]}


def with_other_start(world: World) -> dict[str, bytes | None]:
    """The beginning is proven by another entry of the same log."""
    del world
    return {bundles.STARTED: decode_zip(BUNDLE)[bundles.FINISHED]}


def with_other_report(world: World) -> dict[str, bytes | None]:
    """The report says something else, and is signed all the same."""
    world.report()
    data = encode(replace(check_bundle(BUNDLE, None).report, generated_by="strongroom other"))
    return {bundles.REPORT: data, bundles.REPORT_SIGNATURE: sign_evidence(data, SIGNING_KEY)}


def with_other_checkpoint(world: World) -> dict[str, bytes | None]:
    """The checkpoint is a later one than the proofs have."""
    world.report()
    world.append(EntryType.HEARTBEAT, {})
    return {bundles.CHECKPOINT: world.stored.notes[-1][1]}


def with_other_manifest(world: World) -> dict[str, bytes | None]:
    """The manifest is one of another backup."""
    del world
    data = encode_manifest(manifest(cluster_name="another"))
    return {
        bundles.BACKUP_MANIFEST: data,
        bundles.BACKUP_SIGNATURE: sign_manifest(data, SIGNING_KEY),
    }


def with_manifest_of_stranger(world: World) -> dict[str, bytes | None]:
    """The manifest is signed by somebody else."""
    del world
    data = decode_zip(BUNDLE)[bundles.BACKUP_MANIFEST]
    return {bundles.BACKUP_SIGNATURE: sign_manifest(data, STRANGER)}


def without_log(world: World) -> dict[str, bytes | None]:
    """The log's part is gone, whole."""
    del world
    return {bundles.STARTED: None, bundles.FINISHED: None, bundles.CHECKPOINT: None}


def without_manifest(world: World) -> dict[str, bytes | None]:
    """The manifest is gone, with its signature."""
    del world
    return {bundles.BACKUP_MANIFEST: None, bundles.BACKUP_SIGNATURE: None}


FORGERIES: tuple[tuple[Forgery, str], ...] = (
    (without_row, "tables.csv does not say what report.json says"),
    (with_shorter_proof, "is not under the root"),
    (with_other_entry, "is not the entry of a test that ended"),
    (with_other_start, "is not the entry that the report names"),
    (with_other_report, "the evidence log names another report.json"),
    (with_other_checkpoint, "was proven under another checkpoint"),
    (with_other_manifest, "is not the one that the report names"),
    (with_manifest_of_stranger, "not among the allowed"),
    (without_log, "a PASS must be in the evidence log"),
    (without_manifest, "a PASS needs the manifest of its backup"),
)


@pytest.mark.parametrize(("forge", "reason"), FORGERIES)
def test_who_holds_the_key_cannot_say_something_else(forge: Forgery, reason: str) -> None:
    """Even with the list of sums signed anew, the parts have to agree with each other."""
    assert reason in wrong(resealed(BUNDLE, forge(World())))


def test_a_key_that_is_not_the_one_in_the_report_is_refused() -> None:
    """A report names its key."""
    other = replace(WORLD.report(), key_id=STRANGER.public_key.fingerprint)
    assert "names another key" in wrong(WORLD.bundle(other))
    assert wrong(WORLD.bundle(replace(WORLD.report(), key_id=None))) == ""


def test_a_proof_of_another_log_is_refused() -> None:
    """The log is the one of the tested backup's repository."""
    report = WORLD.report()
    moved = replace(report, backup=replace(report.backup, repository_id="0" * 32))
    assert "is of the log of another repository" in wrong(WORLD.bundle(moved))


def test_a_report_that_names_no_backup_is_refused() -> None:
    """Its id would be a path."""
    report = WORLD.report()
    moved = replace(report, backup=replace(report.backup, backup_id="../x"))
    data = encode(moved)
    parts: dict[str, bytes | None] = {
        bundles.REPORT: data,
        bundles.REPORT_SIGNATURE: sign_evidence(data, SIGNING_KEY),
    }
    assert "'../x' is not a backup id" in wrong(resealed(BUNDLE, parts))


@pytest.mark.parametrize("word", [Word.FAIL, Word.INCONCLUSIVE])
def test_a_test_that_did_not_pass_needs_neither_manifest_nor_log(word: Word) -> None:
    """They may be what was wrong."""
    report = WORLD.report()
    report = replace(report, verdict=replace(report.verdict, word=word))
    found = WORLD.bundle(report, has_log=False, has_manifest=False)
    assert wrong(found) == ""
    assert "can't" in decode_zip(found)[bundles.READ_ME].decode()


def test_a_page_is_held_against_its_report() -> None:
    """Also one that somebody with a key signed."""
    assert is_rendering(BUNDLE)
    page = decode_zip(BUNDLE)[bundles.PAGE].replace(b"RECOVERABLE", b"RECOVERABLE!")
    assert not is_rendering(resealed(BUNDLE, {bundles.PAGE: page}))
    assert not is_rendering(resealed(BUNDLE, {bundles.TABLES: b""}))
    with pytest.raises(IntegrityError, match=r"holds no report\.json"):
        is_rendering(changed(BUNDLE, {bundles.REPORT: None}))


def test_names_that_are_listed_twice_or_not_at_all_are_refused() -> None:
    """The list is a list of files, each once."""
    sums = decode_zip(BUNDLE)[bundles.SUMS]
    twice = sums + sums.splitlines(keepends=True)[0]
    signed = {bundles.SUMS: twice, bundles.SUMS_SIGNATURE: sign_evidence(twice, SIGNING_KEY)}
    assert "twice" in wrong(changed(BUNDLE, {**signed}))
    less = b"".join(sums.splitlines(keepends=True)[1:])
    signed = {bundles.SUMS: less, bundles.SUMS_SIGNATURE: sign_evidence(less, SIGNING_KEY)}
    assert "is not listed" in wrong(changed(BUNDLE, {**signed}))


def a_zip(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of anything."""
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return text.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_no_bundle_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is unpacked that a bundle cannot hold: other names, two of one, too much."""
    for data, reason in (
        (b"", "no whole zip file"),
        (BUNDLE[: len(BUNDLE) // 2], "no whole zip file"),
        (a_zip(("../evil", b"")), "holds '../evil'"),
        (a_zip(("report.json", b"1"), ("report.json", b"2")), "a name twice"),
        (a_zip(("report.json", b"{}")).replace(b"{}", b"[]", 1), "no whole zip file"),
    ):
        with pytest.raises(IntegrityError, match=reason):
            check_bundle(data, pins())
    packed = bytearray(a_zip(("report.json", b"{}")))
    central = packed.index(b"PK\x01\x02")
    packed[8] = packed[central + 10] = 99  # a way of packing that nobody knows
    with pytest.raises(IntegrityError, match="packed in another way"):
        check_bundle(bytes(packed), pins())
    monkeypatch.setattr(bundles, "_MAXIMUM_BYTES", 10)
    with pytest.raises(IntegrityError, match="more than a report can be"):
        check_bundle(BUNDLE, pins())


def test_an_old_proof_is_not_the_end_of_this_test() -> None:
    """A test that ended before it began did not end."""
    world = World()
    ended = world.append(EntryType.RESTORE_TEST_FINISHED, {"report_sha256": "0"})
    data = world.bundle()
    early = bundles.encode_proof(prove(world.stored, REPOSITORY_ID, ended.entry.seq))
    assert "is not the entry of a test that ended" in wrong(
        resealed(data, {bundles.FINISHED: early})
    )
