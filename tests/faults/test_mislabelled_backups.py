"""Backups that are not what they are filed as, signed and logged by the real keys.

Whoever took the keys of the backup host, or a bug in it, can do this; nobody else can: without
the keys it is SIGNATURE_INVALID (`test_broken_backups.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from backup.crypto import age
from backup.evidence.entry import EntryType
from backup.evidence.log import read_log
from backup.journeys.create import Created
from backup.postgres.dsn import Dsn
from backup.repository.archivehead import read_head
from backup.repository.canonical import encode
from backup.repository.manifest import sha256_hex
from tests.faults.vault import Done, Vault
from tests.lab.repositories import Host, LabRepository, lab_repository
from tests.lab.restoretests import codes, filed_again, reference, run_restore_test
from tests.lab.servers import LabServer

CLIENTS = "CREATE TABLE clients (id int PRIMARY KEY); INSERT INTO clients VALUES (1), (2)"
HOUR = timedelta(hours=1)
KILLED = -9


@pytest.fixture(scope="module")
def dsns(any_server: LabServer) -> Iterator[tuple[Dsn, Dsn]]:
    """Two databases of the same tables and rows."""
    with any_server.fresh_database() as one, any_server.fresh_database() as other:
        for dsn in (one, other):
            any_server.sql(CLIENTS, database=dsn.database)
        yield one, other


@pytest.fixture
def repository() -> Iterator[LabRepository]:
    """A repository of its own for each."""
    with lab_repository() as made:
        yield made


@pytest.fixture
def backup(repository: LabRepository, dsns: tuple[Dsn, Dsn]) -> Created:
    """A healthy backup of the first."""
    return repository.back_up(dsns[0])


def archive(repository: LabRepository, made: Created, name: str) -> bytes:
    """What pg_dump wrote."""
    opened = repository.open(made)
    return b"".join(opened.chunks(opened.part(name)))


def test_what_an_archive_says_of_itself_is_read(repository: LabRepository, backup: Created) -> None:
    """The name that pg_dump connected to, and a moment of the run."""
    manifest = backup.manifest
    for name in ("schema", "rest"):
        head = read_head(archive(repository, backup, name))
        assert head is not None
        assert head.database == manifest.database_name
        assert manifest.started - HOUR / 3600 <= head.created <= manifest.finished


Relabel = Callable[[LabRepository, Created], str]
RELABELLED: dict[str, Relabel] = {
    "an old backup under a new id, not logged": lambda repository, made: filed_again(
        repository, made, is_copied=True, is_logged=False
    ),
    "an old backup under a new id": lambda repository, made: filed_again(
        repository, made, is_copied=True
    ),
    "an old backup under a later id": lambda repository, made: filed_again(
        repository, made, is_copied=True, later=HOUR
    ),
    "an old backup under a later id and times": lambda repository, made: filed_again(
        repository,
        made,
        is_copied=True,
        later=-HOUR,
        change=lambda manifest: replace(
            manifest,
            started=manifest.started - HOUR,
            snapshot_time=manifest.snapshot_time - HOUR,
            finished=manifest.finished - HOUR,
        ),
    ),
    "another name": lambda repository, made: filed_again(
        repository, made, is_copied=True, database="other"
    ),
}


@pytest.mark.parametrize("relabelled", RELABELLED)
def test_a_backup_that_was_filed_again_by_the_real_keys_has_its_code(
    repository: LabRepository, backup: Created, relabelled: str
) -> None:
    """Its private half is another backup's, or its archives are of another time than it says."""
    id_ = RELABELLED[relabelled](repository, backup)
    report = run_restore_test(repository, id_).report
    assert codes(report) == {"LOG_INCONSISTENT"}, report.verdict.findings
    assert codes(run_restore_test(repository, backup.manifest.backup_id).report) <= {
        "LOG_INCONSISTENT"
    }


@pytest.mark.parametrize("relabelled", RELABELLED)
def test_without_the_first_one_the_private_half_tells(
    repository: LabRepository, backup: Created, relabelled: str
) -> None:
    """The old backup was removed: no other is there to compare with, and no clock is needed."""
    id_ = RELABELLED[relabelled](repository, backup)
    shutil.rmtree(repository.path(backup))
    report = run_restore_test(repository, id_).report
    assert codes(report) == {"LOG_INCONSISTENT"}, report.verdict.findings
    assert report.commands == ()


def test_a_mislabelled_backup_is_neither_verified_nor_restored(
    repository: LabRepository, backup: Created, dsns: tuple[Dsn, Dsn]
) -> None:
    """By who can open it; who can't is told by the restore test."""
    id_ = filed_again(repository, backup, is_copied=True)
    shutil.rmtree(repository.path(backup))
    host = Host(
        home=repository.state_directory.parent,
        environment={"STRONGROOM_REPOSITORY": str(repository.directory)},
        has_settings=False,
    )
    identity = ("--identity", repository.identity_file)
    for verb in (
        ("verify", id_, *identity),
        ("restore", id_, *identity, "--to", dsns[0].with_database("never").conninfo(), "--yes"),
    ):
        done = host.strongroom(*verb)
        said = done.stdout + done.stderr
        assert (done.code, f"private half of backup {backup.manifest.key.place}" in said) == (
            3,
            True,
        ), said


def test_an_older_private_half_leaves_it_to_the_times(
    repository: LabRepository, backup: Created
) -> None:
    """It does not say whose it is: what is left contradicts itself, and proves nothing."""
    sealed = bytes(
        age.seal(
            encode(replace(repository.open(backup).catalog, filed_as=None)),
            [repository.identity.recipient],
        )
    )
    place = repository.directory / backup.manifest.key.catalog
    place.chmod(0o600)
    place.write_bytes(sealed)
    older = replace(backup, manifest=replace(backup.manifest, catalog_sha256=sha256_hex(sealed)))
    id_ = filed_again(repository, older, is_copied=True, later=HOUR)
    shutil.rmtree(repository.path(backup))
    assert codes(run_restore_test(repository, id_).report) == {"CLOCK_SKEW"}


def test_a_clock_that_was_set_during_the_dump_makes_no_false_alarm(
    repository: LabRepository, backup: Created
) -> None:
    """The archives are ten minutes off: its own, by its private half, so only clocks are doubted.

    It is restored and compared all the same.
    """
    off = -HOUR / 6
    id_ = filed_again(
        repository,
        backup,
        later=off,
        change=lambda manifest: replace(
            manifest,
            started=manifest.started + off,
            snapshot_time=manifest.snapshot_time + off,
            finished=manifest.finished + off,
        ),
    )
    report = run_restore_test(repository, id_).report
    assert codes(report) == {"CLOCK_SKEW"}, report.verdict.findings
    assert report.coverage.tables_counted == 1


def test_old_archives_below_a_new_manifest_have_their_code(
    repository: LabRepository, backup: Created
) -> None:
    """The same rows, dumped a year before: the reference is not of that moment."""
    parts = {}
    for name in ("schema", "rest"):
        content = bytearray(archive(repository, backup, name))
        head = read_head(bytes(content))
        assert head is not None
        year = bytes([0, head.created.year - 1900, 0, 0, 0])
        at = content.index(year)
        content[at + 1] -= 1
        parts[name] = bytes(content)
    report = run_restore_test(repository, filed_again(repository, backup, parts=parts)).report
    assert codes(report) == {"LOG_INCONSISTENT"}
    assert {finding.what for finding in report.verdict.findings} == {
        "archive schema",
        "archive rest",
    }
    assert report.commands == ()


def test_another_databases_archives_have_their_code(
    repository: LabRepository, backup: Created, dsns: tuple[Dsn, Dsn]
) -> None:
    """Though every table and row is equal: nothing of it is restored."""
    other = repository.back_up(dsns[1])
    parts = {name: archive(repository, other, name) for name in ("schema", "rest")}
    report = run_restore_test(repository, filed_again(repository, backup, parts=parts)).report
    assert codes(report) == {"LOG_INCONSISTENT"}
    assert report.verdict.findings[0].observed == f"of database {dsns[1].database}"
    assert report.commands == ()


def test_another_databases_reference_has_its_code(
    repository: LabRepository, backup: Created, dsns: tuple[Dsn, Dsn]
) -> None:
    """The private half is of one database, manifest and archives of another."""
    id_ = filed_again(repository, backup, catalog=reference(dsns[1]))
    report = run_restore_test(repository, id_).report
    assert codes(report) == {"LOG_INCONSISTENT"}
    assert report.verdict.findings[0].what == "private half"


MANIFEST = {"calls": ["link"], "path": "manifest.json", "at": 1}
# The first entry of a run says that it began.
LAST_ENTRY = {"calls": ["link"], "path": "log/entries", "at": 2}


def test_a_backup_that_was_killed_in_the_middle_is_none(vault: Vault) -> None:
    """Killed before its manifest there is nothing that could be tested, whatever was stored."""
    assert vault.backup().code == 0
    whole = vault.backups()
    assert vault.backup(fault=MANIFEST).code == KILLED
    tested = restore_tested(vault, begun(vault))
    assert (tested.code, tested.stdout) == (3, ""), tested.stderr
    assert vault.backups() == whole
    newest = restore_tested(vault, "latest")
    assert (newest.code, newest.json["codes"], newest.json["backup_id"]) == (
        *(0, []),
        whole[-1].id.text,
    )


def test_a_backup_that_was_killed_at_its_end_has_its_code_until_the_next(vault: Vault) -> None:
    """It exists, and the log does not tell of it; the next backup makes that good."""
    assert vault.backup(fault=LAST_ENTRY).code == KILLED
    assert [key.id.text for key in vault.backups()] == [begun(vault)]
    id_ = begun(vault)
    tested = restore_tested(vault, id_)
    assert (tested.code, tested.json["codes"]) == (1, ["LOG_INCONSISTENT"]), tested.stderr
    assert vault.backup().code == 0
    tested = restore_tested(vault, id_)
    assert (tested.code, tested.json["codes"]) == (0, []), tested.stderr


def begun(vault: Vault) -> str:
    """The id of the run that began last."""
    return [
        str(entry.details["backup"])
        for entry in read_log(vault.repository().store).entries()
        if entry.type is EntryType.BACKUP_STARTED
    ][-1]


def restore_tested(vault: Vault, id_: str) -> Done:
    """What a restore test by the command line says."""
    chosen = [] if id_ == "latest" else [id_]
    return vault.run("restore-test", *chosen, "--identity", vault.identity_file, "--json")
