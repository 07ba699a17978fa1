"""What an auditor does with a period pack: the commands of its READ-ME, and our own verifier."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backup.evidence.bundle import CHECKPOINT, READ_ME
from tests.lab.repositories import Ended, Host, ended
from tests.samples import STRANGER
from tests.samples_bundle import pins
from tests.unit.evidence.test_packcheck import (
    FORGERIES,
    FORGERIES_LATER,
    GENUINE,
    Members,
    days,
    pack_of,
    resealed,
    without_line,
)

PATH = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}


def unpacked(directory: Path, members: Members) -> Path:
    """The pack in a directory, and the auditor's own pins and an older checkpoint beside it."""
    pack = directory / "pack"
    pack.mkdir(parents=True)
    for name, data in members.items():
        (pack / name).write_bytes(data)
    (directory / "allowed_signers").write_text(pins().text)
    (directory / "kept.note").write_bytes(GENUINE[CHECKPOINT])
    return pack


def audited(pack: Path) -> Ended:
    """What the very commands of the genuine READ-ME say, one after the other."""
    lines = [line[4:] for line in GENUINE[READ_ME].decode().splitlines() if line[:4] == "    "]
    assert len(lines) == 10
    script = "\n".join((f"cd '{pack}'", "set -eux", *lines))
    return ended(("/bin/bash", "-c", script), PATH)


def by_us(pack: Path, *more: str) -> Ended:
    """What `strongroom report verify` says."""
    host = Host(home=pack.parent, environment={}, has_settings=False)
    signers = ("--allowed-signers", str(pack.parent / "allowed_signers"))
    return host.strongroom("report", "verify", pack, *signers, *more)


def by_stock(pack: Path, *more: str) -> Ended:
    """What the verifier in the genuine pack says."""
    (pack / "verify-log.py").write_bytes(GENUINE["verify-log.py"])
    return ended(("/usr/bin/env", "python3", str(pack / "verify-log.py"), *more), PATH)


def test_both_accept_a_genuine_pack(tmp_path: Path) -> None:
    """Also held against a checkpoint that was kept; without pins nothing is proven."""
    pack = unpacked(tmp_path, GENUINE)
    done = audited(pack)
    assert done.code == 0, done.stderr
    assert done.stdout.count("GOOD\n") == 2
    kept = ("--earlier", str(tmp_path / "kept.note"))
    assert by_stock(pack, *kept).stdout == "GOOD\n"
    said = by_us(pack, *kept)
    assert (said.code, said.stdout.split(":")[0]) == (0, "Good"), said.stderr
    assert "begins with the checkpoint that was kept" in said.stdout
    assert by_us(pack, "--json").json["is_good"] is True
    host = Host(home=tmp_path, environment={}, has_settings=False)
    assert host.strongroom("report", "verify", pack).code == 11


@pytest.mark.parametrize("name", sorted(GENUINE))
def test_the_commands_refuse_a_changed_byte(tmp_path: Path, name: str) -> None:
    """In any file: the sums say so, or the signature of the sums. Ours: `test_packcheck.py`."""
    data = bytearray(GENUINE[name])
    data[len(data) // 2] ^= 0x01
    pack = unpacked(tmp_path, {**GENUINE, name: bytes(data)})
    done = audited(pack)
    assert done.code != 0
    assert f"{name}: FAILED" in done.stdout or name.startswith("MANIFEST.sha256")


@pytest.mark.parametrize("table", ["population.csv", "coverage.csv"])
def test_both_refuse_a_table_without_one_of_its_rows(tmp_path: Path, table: str) -> None:
    """By who holds no key: the sums say so."""
    pack = unpacked(
        tmp_path, {**without_line(table, 1), "MANIFEST.sha256": GENUINE["MANIFEST.sha256"]}
    )
    done = audited(pack)
    assert (done.code != 0, f"{table}: FAILED" in done.stdout) == (True, True)
    said = by_us(pack)
    assert (said.code, f"WRONG  {table} is not the file that was listed" in said.stdout) == (
        3,
        True,
    )


def test_both_refuse_a_log_by_another_key(tmp_path: Path) -> None:
    """Everything whole in itself; also if only the list of sums is by the firm's key."""
    theirs = pack_of(days(key=STRANGER))
    pack = unpacked(tmp_path / "theirs", theirs)
    done = audited(pack)
    assert done.code != 0
    assert "verify" in (done.stdout + done.stderr).lower()
    said = by_us(pack)
    assert (said.code, "WRONG  MANIFEST.sha256" in said.stdout) == (3, True)
    pack = unpacked(tmp_path / "both", resealed(theirs))
    done = audited(pack)
    assert (done.code != 0, "Signature Verification Failure" in done.stdout) == (True, True)
    said = by_us(pack)
    assert (said.code, "WRONG  checkpoint" in said.stdout) == (3, True), said.stdout


@pytest.mark.parametrize("forged", FORGERIES)
def test_both_tell_what_the_holder_of_the_key_left_out(tmp_path: Path, forged: str) -> None:
    """Signed anew by the firm itself, so that sums and signatures are good: the log tells."""
    forge, reasons = FORGERIES[forged]
    pack = unpacked(tmp_path, forge())
    for said in (by_us(pack), audited(pack), by_stock(pack)):
        assert said.code == 3, said
        assert any(reason in said.stdout for reason in reasons.split("|")), said.stdout


@pytest.mark.parametrize("forged", FORGERIES_LATER)
def test_both_tell_of_a_log_that_was_made_anew_since(tmp_path: Path, forged: str) -> None:
    """To who has kept a checkpoint; nobody else can see it."""
    forge, reason = FORGERIES_LATER[forged]
    pack = unpacked(tmp_path, forge())
    assert by_stock(pack).stdout == "GOOD\n"
    kept = ("--earlier", str(tmp_path / "kept.note"))
    for said in (by_us(pack, *kept), by_stock(pack, *kept)):
        assert (said.code, reason in said.stdout) == (3, True), said
