"""Where a copy ought to be lies another repository, with keys on this host: every verb says so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.repositories import Ended, Host, LabRepository, lab_repository
from tests.lab.servers import LabServer

SETTINGS = """
repository = "{home}"
identity = "{identity}"
name = "portal"
schedule = "0 2 * * *"
[[copies]]
name = "offsite"
repository = "{other}"
[copies.retention]
keep_last = 1
minimum_count = 1
minimum_age = "PT0S"
"""


@dataclass(frozen=True, slots=True)
class Mistaken:
    """A host of two repositories, in whose settings one is said to be a copy of the other."""

    host: Host
    home: LabRepository
    other: LabRepository

    def refused(self, *arguments: str | Path) -> Ended:
        """Run what has to end with 2, has to name both, and must change nothing."""
        before = [contents(one.directory) for one in (self.home, self.other)]
        done = self.host.strongroom(*arguments)
        assert done.code == 2, (done.stdout, done.stderr)
        assert f"holds repository {self.other.opened.id}" in done.stderr
        assert [contents(one.directory) for one in (self.home, self.other)] == before
        return done


def contents(directory: Path) -> set[Path]:
    """Every file below; files are written once."""
    return {path for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def mistaken(any_server: LabServer) -> Iterator[Mistaken]:
    """Both have backups of a database of the same name, by keys that this host has."""
    with (
        lab_repository() as home,
        lab_repository(home.identity) as other,
        any_server.fresh_database() as dsn,
    ):
        any_server.sql("CREATE TABLE people AS SELECT n FROM generate_series(1, 9) n", dsn.database)
        for repository in (home, other, other):
            repository.back_up(dsn, name="portal")
        shutil.copytree(other.state_directory, home.state_directory, dirs_exist_ok=True)
        host = Host(home=home.directory.parent)
        (host.home / "strongroom.toml").write_text(
            SETTINGS.format(home=home.directory, other=other.directory, identity=home.identity_file)
        )
        yield Mistaken(host, home, other)


def test_nothing_is_copied_there(mistaken: Mistaken) -> None:
    """And what its retention would let go is not deleted."""
    mistaken.refused("copy", "--to", "offsite", "--dry-run")
    # The log at home is told of a run that failed; in neither is anything of a backup touched.
    before = contents(mistaken.other.directory)
    done = mistaken.host.strongroom("copy", "--prune")
    assert done.code == 2
    assert f"not a copy of {mistaken.home.opened.id}" in done.stderr
    assert contents(mistaken.other.directory) == before


def test_nothing_is_restored_from_there(mistaken: Mistaken, tmp_path: Path) -> None:
    """Though this host vouches for its signer, and the identity opens it."""
    done = mistaken.refused("restore", "latest", "--from", "offsite", "--export", tmp_path / "out")
    assert "name it as `repository`" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "line",
    [
        "list --from offsite",
        "verify --all --from offsite",
        "prune --copy offsite --apply",
        "pin latest --copy offsite --reason audit",
    ],
)
def test_no_verb_takes_it_for_a_copy(mistaken: Mistaken, line: str) -> None:
    """Nothing is listed, judged, pinned or deleted there."""
    mistaken.refused(*line.split())


def test_doctor_says_so(mistaken: Mistaken) -> None:
    """Before the first `copy` fails, and it tries nothing out in another's repository."""
    before = contents(mistaken.other.directory)
    done = mistaken.host.strongroom("doctor", "--json")
    (found,) = (one for one in done.json["checks"] if one["name"] == "copy offsite: store")
    assert (done.code, found["status"]) == (1, "bad")
    assert f"holds repository {mistaken.other.opened.id}" in found["observed"]
    assert contents(mistaken.other.directory) == before


def test_a_restore_test_says_that_it_was_another_copy(mistaken: Mistaken) -> None:
    """INCONCLUSIVE, signed: what was tested is not what was asked for, however good it is."""
    done = mistaken.host.strongroom("restore-test", "latest", "--from", "offsite", "--json")
    assert (done.code, done.json["word"]) == (2, "INCONCLUSIVE"), done.stderr
    assert "WRONG_COPY" in done.json["codes"]
    finding = next(one for one in done.json["findings"] if one["code"] == "WRONG_COPY")
    assert f"holds repository {mistaken.other.opened.id}" in finding["observed"]


def test_a_restore_test_that_can_sign_nothing_of_it_does_not_start(
    mistaken: Mistaken, tmp_path: Path
) -> None:
    """Without the other's keys there is no report, and the message is the same."""
    shutil.copytree(mistaken.home.state_directory, tmp_path / "state")
    shutil.rmtree(tmp_path / "state/keys" / mistaken.other.opened.id)
    there = ("--from", "offsite", "--state-directory", tmp_path / "state")
    done = mistaken.host.strongroom("restore-test", "latest", *there)
    assert done.code == 3, done.stdout
    assert f"holds repository {mistaken.other.opened.id}" in done.stderr
