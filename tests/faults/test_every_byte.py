"""Every byte of what an auditor gets, changed once each: neither we nor stock tools take it.

A bundle, the zip file that it is, a period pack, the log in it. `FAULTS=full` tries all the bytes.
"""

from __future__ import annotations

import io
import random
import subprocess  # noqa: TID251 - the commands of auditors, tens of thousands of times
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from backup.crypto.note import open_checkpoint
from backup.errors import IntegrityError
from backup.evidence.bundle import (
    CHECKPOINT,
    READ_ME,
    SUMS,
    SUMS_SIGNATURE,
    decode_zip,
    stock_verifier,
)
from backup.evidence.bundlecheck import check_bundle
from backup.evidence.log import origin
from backup.evidence.packcheck import check_pack
from backup.evidence.periodpack import LOG
from tests.lab.effort import Numbers
from tests.samples import REPOSITORY_ID, SIGNING_KEY
from tests.samples_bundle import PRINCIPAL, World, pins
from tests.unit.evidence.test_packcheck import GENUINE, resealed

ZIP = World().bundle()
BUNDLE = decode_zip(ZIP)
PINS = pins()
Members = Mapping[str, bytes]
BUNDLE_VERIFIER: Any = ModuleType("verify")
exec(stock_verifier("verify.py"), BUNDLE_VERIFIER.__dict__)
PACK_VERIFIER: Any = ModuleType("verify_log")
exec(stock_verifier("verify-log.py"), PACK_VERIFIER.__dict__)
# As READ-ME-FIRST.txt of both has them, `strongroom-evidence@v1` being what evidence is signed as.
VERIFY_SUMS = ("sha256sum", "--check", "--strict", "--quiet", SUMS)
VERIFY_LIST = (
    *("ssh-keygen", "-Y", "verify", "-O", "verify-time=20260114041140Z"),
    *("-f", "../allowed_signers", "-I", PRINCIPAL, "-n", "strongroom-evidence@v1"),
    *("-s", SUMS_SIGNATURE),
)


def changed(
    members: Members, chance: random.Random, count: int | None
) -> Iterator[tuple[str, int, bytes]]:
    """Yield a file's name, a place in it, and the file with that byte changed; of all, or some."""
    places = [(name, place) for name, data in members.items() for place in range(len(data))]
    for name, place in places if count is None else chance.sample(places, count):
        data = bytearray(members[name])
        data[place] ^= chance.randint(1, 255)
        yield name, place, bytes(data)


def zipped(members: Members) -> bytes:
    """The same members, not compressed: that would take the most of the time."""
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return text.getvalue()


def is_bundle(data: bytes) -> bool:
    """Whether it is a genuine bundle."""
    try:
        return check_bundle(data, PINS).wrong == ()
    except IntegrityError:
        return False


def is_pack(members: Members) -> bool:
    """Whether it is a genuine pack."""
    try:
        return check_pack(dict(members), PINS).wrong == ()
    except IntegrityError:
        return False


def how_many(numbers: Numbers, short: int) -> int | None:
    """A number of bytes, or all of them."""
    return None if numbers.is_full else short


def test_we_refuse_a_changed_byte_of_a_bundle(numbers: Numbers, chance: random.Random) -> None:
    """In any of its files."""
    assert is_bundle(zipped(BUNDLE))
    tried = 0
    for name, place, data in changed(BUNDLE, chance, how_many(numbers, 150)):
        assert not is_bundle(zipped({**BUNDLE, name: data})), (name, place)
        tried += 1
    print(f"{tried} bytes of a bundle")  # noqa: T201


def test_we_refuse_the_line_ends_of_a_signature_that_stock_tools_read_over() -> None:
    """It has one text: what they take for the same is another file all the same."""
    text = BUNDLE[SUMS_SIGNATURE]
    ends = [place for place, byte in enumerate(text) if byte == ord("\n")]
    assert len(ends) > 3
    for place in ends:
        other = text[:place] + b" " + text[place + 1 :]
        assert not is_bundle(zipped({**BUNDLE, SUMS_SIGNATURE: other})), place


def test_a_changed_byte_of_the_zip_file_changes_nothing_that_is_read(
    numbers: Numbers, chance: random.Random
) -> None:
    """Refused, or one that no reader of it looks at: the files in it are the very same."""
    same = tried = 0
    for _, place, data in changed({"zip": ZIP}, chance, how_many(numbers, 300)):
        tried += 1
        if is_bundle(data):
            same += 1
            assert decode_zip(data) == BUNDLE, place
    print(f"{tried} bytes of a zip file, {same} of which say nothing")  # noqa: T201
    assert same < tried / 10


def test_we_refuse_a_changed_byte_of_a_pack(numbers: Numbers, chance: random.Random) -> None:
    """In any of its files."""
    assert is_pack(GENUINE)
    tried = 0
    for name, place, data in changed(GENUINE, chance, how_many(numbers, 100)):
        assert not is_pack({**GENUINE, name: data}), (name, place)
        tried += 1
    print(f"{tried} bytes of a pack")  # noqa: T201


@pytest.mark.parametrize("members", [BUNDLE, GENUINE], ids=["bundle", "pack"])
def test_stock_tools_refuse_a_changed_byte(
    members: Members, numbers: Numbers, chance: random.Random, tmp_path: Path
) -> None:
    """`sha256sum` in any file that is listed, `ssh-keygen` in the list and in its signature."""
    directory = tmp_path / "it"
    directory.mkdir()
    (tmp_path / "allowed_signers").write_text(PINS.text)
    for name, data in members.items():
        (directory / name).write_bytes(data)

    def accepts(*command: str, stdin: bytes = b"") -> bool:
        done = subprocess.run(
            command, cwd=directory, input=stdin, capture_output=True, check=False, timeout=60
        )
        return done.returncode == 0

    assert accepts(*VERIFY_SUMS)
    assert accepts(*VERIFY_LIST, stdin=members[SUMS])
    tried = 0
    for name, place, data in changed(members, chance, how_many(numbers, 40)):
        (directory / name).write_bytes(data)
        if name in {SUMS, SUMS_SIGNATURE}:
            is_good = accepts(*VERIFY_LIST, stdin=(directory / SUMS).read_bytes())
        else:
            is_good = accepts(*VERIFY_SUMS)
        assert not is_good or is_read_over(members, name, place), (name, place)
        (directory / name).write_bytes(members[name])
        tried += 1
    print(f"{tried} bytes by stock tools")  # noqa: T201


def is_read_over(members: Members, name: str, place: int) -> bool:
    """Whether ssh-keygen does: what ends a line of the signature's text. We do not, see above."""
    return name == SUMS_SIGNATURE and members[name][place : place + 1] == b"\n"


def test_the_verifier_of_a_bundle_refuses_a_changed_byte(
    numbers: Numbers, chance: random.Random, tmp_path: Path
) -> None:
    """In any of its files; called here, as to start it each time would take an hour."""
    directory, pinned = tmp_path / "it", tmp_path / "allowed_signers"
    directory.mkdir()
    pinned.write_text(PINS.text)
    for name, data in BUNDLE.items():
        (directory / name).write_bytes(data)

    def accepts() -> bool:
        try:
            BUNDLE_VERIFIER.verify(str(directory), str(pinned))
        except (BUNDLE_VERIFIER.Wrong, OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    assert accepts()
    tried = 0
    for name, place, data in changed(BUNDLE, chance, how_many(numbers, 100)):
        (directory / name).write_bytes(data)
        assert not accepts() or is_read_over(BUNDLE, name, place), (name, place)
        (directory / name).write_bytes(BUNDLE[name])
        tried += 1
    assert accepts()
    print(f"{tried} bytes by a bundle's own verifier")  # noqa: T201


def test_a_changed_byte_of_the_log_is_seen_under_good_sums(
    numbers: Numbers, chance: random.Random, tmp_path: Path
) -> None:
    """Though all is signed anew by who has the firm's key: by us, and by the pack's verifier."""
    for name, data in GENUINE.items():
        (tmp_path / name).write_bytes(data)
    PACK_VERIFIER.check(str(tmp_path), None)
    tried = 0
    for name, place, data in changed({LOG: GENUINE[LOG]}, chance, how_many(numbers, 60)):
        assert not is_pack(resealed({**GENUINE, name: data})), place
        (tmp_path / name).write_bytes(data)
        with pytest.raises((PACK_VERIFIER.Wrong, ValueError, KeyError, TypeError, AttributeError)):
            PACK_VERIFIER.check(str(tmp_path), None)
        tried += 1
    print(f"{tried} bytes of a log under good sums")  # noqa: T201


def test_a_changed_byte_of_a_checkpoint_is_seen_by_openssl(
    numbers: Numbers, chance: random.Random, tmp_path: Path
) -> None:
    """In the three lines that are signed, and in the signature; by the commands of the READ-ME."""
    lines = [line[4:] for line in GENUINE[READ_ME].decode().splitlines() if line[:4] == "    "]
    *key, body, signature, verify = lines[2:8]
    directory = tmp_path / "it"
    directory.mkdir()
    (tmp_path / "allowed_signers").write_text(PINS.text)

    def said(*commands: str) -> int:
        script = "\n".join(("set -e", *commands))
        argv = ("/bin/bash", "-c", script)
        return subprocess.run(
            argv, cwd=directory, capture_output=True, check=False, timeout=60
        ).returncode

    def parts() -> tuple[bytes, bytes]:
        return (tmp_path / "checkpoint.body").read_bytes(), (
            tmp_path / "checkpoint.sig"
        ).read_bytes()

    note = GENUINE[CHECKPOINT]
    (directory / CHECKPOINT).write_bytes(note)
    assert said(*key, body, signature, verify) == 0
    genuine, tried, refused = parts(), 0, 0
    for _, place, data in changed({CHECKPOINT: note}, chance, how_many(numbers, 25)):
        (directory / CHECKPOINT).write_bytes(data)
        with pytest.raises(IntegrityError):
            open_checkpoint(data, origin(REPOSITORY_ID), [SIGNING_KEY.public_key])
        tried += 1
        if said(body, signature, verify):
            refused += 1
        else:  # the name in the signature's line, and the hint of the key: nobody signed them
            assert parts() == genuine, place
    print(f"{tried} bytes of a checkpoint, {refused} of which openssl refuses")  # noqa: T201
    assert refused > tried / 3
