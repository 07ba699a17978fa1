"""What an auditor does: the very commands of READ-ME-FIRST.txt, in an empty directory."""

from __future__ import annotations

import ast
import shutil
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from backup.crypto.sshkey import SigningKey
from backup.evidence import bundle as bundles
from backup.evidence.bundle import MEMBERS, decode_zip
from backup.evidence.verdict import Word
from tests import samples_report
from tests.lab.repositories import Ended, ended
from tests.samples import SIGNING_KEY, STRANGER
from tests.samples_bundle import World, changed, pins, resealed
from tests.unit.evidence.test_bundle import FORGERIES, Forgery

WORLD = World()
BUNDLE = WORLD.bundle()
ID = samples_report.REPORT_ID.text
PATH = "/usr/bin:/bin"


def commands(read_me: bytes) -> str:
    """The lines that are set in."""
    lines = [line[4:] for line in read_me.decode().splitlines() if line.startswith("    ")]
    assert len(lines) >= 5
    return "\n".join(lines)


def audit(directory: Path, bundle: bytes, key: SigningKey = SIGNING_KEY) -> Ended:
    """Run the commands of the genuine READ-ME on a bundle, the auditor's own pins beside it."""
    directory.mkdir()
    (directory / f"{ID}.zip").write_bytes(bundle)
    (directory / "allowed_signers").write_text(pins(key).text)
    script = f"cd '{directory}'\nset -eux\n{commands(decode_zip(BUNDLE)[bundles.READ_ME])}\n"
    return ended(("/bin/bash", "-c", script), {"PATH": f"{Path(sys.executable).parent}:{PATH}"})


def unpacked(directory: Path, bundle: bytes) -> Path:
    """The members of a bundle in a directory, and pins outside of it."""
    (directory / "it").mkdir(parents=True)
    for name, data in decode_zip(bundle).items():
        (directory / "it" / name).write_bytes(data)
    (directory / "allowed_signers").write_text(pins().text)
    return directory / "it"


def verify(directory: Path, *arguments: str | Path, python: str = sys.executable) -> Ended:
    """Run the bundle's own verifier."""
    argv = (python, "-I", str(directory / "verify.py"), *map(str, arguments))
    return ended(argv, {"PATH": PATH})


def verified(tmp_path: Path, bundle: bytes) -> Ended:
    """What the genuine verifier says of a bundle under the auditor's pins."""
    directory = unpacked(tmp_path, bundle)
    (tmp_path / "verify.py").write_bytes(bundles.stock_verifier())
    return verify(tmp_path, "--allowed-signers", tmp_path / "allowed_signers", directory)


def test_the_commands_accept_a_genuine_bundle(tmp_path: Path) -> None:
    """Every one of them ends with 0, in this order, with nothing else at hand."""
    done = audit(tmp_path / "empty", BUNDLE)
    assert done.code == 0, done.stderr
    assert done.stdout.count("Good ") == 3
    assert "Signature Verified Successfully" in done.stdout
    assert f"GOOD: report {ID}: PASS at level 7" in done.stdout


@pytest.mark.parametrize("name", MEMBERS)
def test_the_commands_refuse_a_changed_byte(tmp_path: Path, name: str) -> None:
    """In any member: the sums say so, or the signature of the sums."""
    data = bytearray(decode_zip(BUNDLE)[name])
    data[len(data) // 2] ^= 0x01
    bundle = changed(BUNDLE, {name: bytes(data)})
    done = audit(tmp_path / "empty", bundle)
    assert done.code != 0
    assert f"{name}: FAILED" in done.stdout or name in {bundles.SUMS, bundles.SUMS_SIGNATURE}
    said = verified(tmp_path / "apart", bundle)
    assert said.code == 3
    assert said.stdout.startswith("WRONG: ")


@pytest.mark.parametrize("name", MEMBERS)
def test_the_commands_refuse_a_missing_member(tmp_path: Path, name: str) -> None:
    """Whatever is not there is missed."""
    bundle = changed(BUNDLE, {name: None})
    assert audit(tmp_path / "empty", bundle).code != 0
    said = verified(tmp_path / "apart", bundle)
    assert (said.code, name in said.stdout) == (3, True), said


def test_the_commands_refuse_a_bundle_by_another_key(tmp_path: Path) -> None:
    """Whole in itself, its READ-ME and its claims included."""
    theirs = World(key=STRANGER).bundle()
    done = audit(tmp_path / "empty", theirs)
    assert done.code != 0
    assert (
        "no principal matched" in (done.stdout + done.stderr).lower()
        or "could not" in (done.stdout + done.stderr).lower()
    )
    said = verified(tmp_path / "apart", theirs)
    assert said.code == 3
    assert "signed by a key that is not in the allowed signers" in said.stdout


@pytest.mark.parametrize(("forge", "reason"), FORGERIES)
def test_who_holds_the_key_is_found_out_by_the_last_command(
    tmp_path: Path, forge: Forgery, reason: str
) -> None:
    """The list is signed anew, so sums and signature hold; what is in it does not agree."""
    del reason
    bundle = resealed(BUNDLE, forge(World()))
    said = verified(tmp_path / "apart", bundle)
    assert said.code == 3
    assert said.stdout.startswith("WRONG: ")
    assert audit(tmp_path / "empty", bundle).code != 0


def pythons() -> list[str]:
    """Each Python on this machine that an auditor may have."""
    found = {shutil.which(f"python3.{minor}") or "" for minor in range(8, 15)} | {sys.executable}
    return sorted(
        path for path in found if path and ended((path, "--version"), {"PATH": PATH}).code == 0
    )


def test_the_verifier_needs_no_more_than_an_old_python(tmp_path: Path) -> None:
    """3.8 by its grammar, and every one that is here by running it."""
    ast.parse(bundles.stock_verifier(), feature_version=(3, 8))
    ast.parse(bundles.stock_verifier("verify-log.py"), feature_version=(3, 8))
    directory = unpacked(tmp_path, BUNDLE)
    for python in pythons():
        said = verify(directory, "--allowed-signers", tmp_path / "allowed_signers", python=python)
        assert said.stdout.startswith("GOOD: "), said


def test_without_pins_the_verifier_says_unpinned(tmp_path: Path) -> None:
    """Whatever the bundle claims of its signers."""
    directory = unpacked(tmp_path, BUNDLE)
    said = verify(directory)
    assert (said.code, said.stdout.split(":")[0]) == (11, "UNPINNED")


def test_the_verifier_says_what_it_cannot_read(tmp_path: Path) -> None:
    """A file too many, a directory, a report that is none, tools that are missing."""
    directory = unpacked(tmp_path, BUNDLE)
    pinned = ("--allowed-signers", str(tmp_path / "allowed_signers"))
    (directory / "more.txt").touch()
    assert "more.txt is not listed" in verify(directory, *pinned).stdout
    (directory / "more.txt").unlink()
    bare = ended((sys.executable, "-I", str(directory / "verify.py"), *pinned), {"PATH": "/none"})
    assert (bare.code, "running ssh-keygen" in bare.stdout) == (3, True)
    (directory / "sub").mkdir()
    assert "sub is no plain file" in verify(directory, *pinned).stdout
    broken = resealed(BUNDLE, {bundles.REPORT: b"[]"})
    assert "can't be read" in verified(tmp_path / "apart", broken).stdout


def test_a_table_with_hostile_names_verifies_like_any_other(tmp_path: Path) -> None:
    """Both verifiers write the table alike, quotes, line ends and apostrophes included."""
    said = verified(tmp_path, WORLD.bundle(WORLD.report(samples_hostile())))
    assert said.code == 0, said.stdout


def samples_hostile() -> samples_report.Report:
    """Attacks in every name but the ones that make up paths and keys."""
    report = samples_report.hostile()
    return replace(report, backup=samples_report.backup())


def test_a_failure_without_log_and_manifest_verifies(tmp_path: Path) -> None:
    """Its READ-ME has the commands that are left, and says what is not there."""
    report = WORLD.report()
    report = replace(report, verdict=replace(report.verdict, word=Word.FAIL))
    bundle = WORLD.bundle(report, has_log=False, has_manifest=False)
    read_me = decode_zip(bundle)[bundles.READ_ME]
    assert b"openssl pkeyutl" not in textwrap.dedent(commands(read_me)).encode()
    directory = tmp_path / "empty"
    directory.mkdir()
    (directory / f"{ID}.zip").write_bytes(bundle)
    (directory / "allowed_signers").write_text(pins().text)
    done = ended(
        ("/bin/bash", "-c", f"cd '{directory}'\nset -eux\n{commands(read_me)}"), {"PATH": PATH}
    )
    assert done.code == 0, done.stderr
    assert "not in the evidence log" in done.stdout
