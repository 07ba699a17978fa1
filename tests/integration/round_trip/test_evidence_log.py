"""The evidence log as the verbs write it, and `strongroom log` as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.crypto.allowed_signers import AllowedSigners
from backup.evidence.entry import EntryType
from backup.evidence.log import read_log
from backup.evidence.proof import decode_proof, verify_consistency, verify_proof
from backup.keyring import load_writing_keys
from backup.logmemory import open_log
from backup.postgres.dsn import Dsn
from backup.repository.layout import log_checkpoint_key, log_entry_key
from tests.lab.repositories import Host, LabRepository, lab_repository
from tests.lab.servers import LabServer

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def source(any_server: LabServer) -> Iterator[Dsn]:
    """A database with one table."""
    with any_server.fresh_database("logged") as dsn:
        any_server.sql("CREATE TABLE t AS SELECT 1 AS a", dsn.database)
        yield dsn
        any_server.sql("DROP DATABASE logged")


@pytest.fixture
def repository() -> Iterator[LabRepository]:
    """A new repository."""
    with lab_repository() as made:
        yield made


def host_of(repository: LabRepository) -> Host:
    """The machine that writes the repository."""
    return Host(
        home=repository.state_directory.parent,
        environment={"STRONGROOM_REPOSITORY": str(repository.directory)},
        has_settings=False,
    )


def types(repository: LabRepository) -> list[EntryType]:
    """What was logged."""
    return [entry.type for entry in read_log(repository.opened.store).entries()]


def test_the_verbs_leave_their_trace(
    repository: LabRepository, source: Dsn, tmp_path: Path
) -> None:
    """init, backup, a backup that failed, verify; then show, verify and prove."""
    host = host_of(repository)
    made = repository.back_up(source)
    assert made.manifest.log is not None
    assert made.manifest.log.size == 2
    gone = source.with_database("no_such_database")
    assert host.strongroom("backup", "--dsn", gone.conninfo()).code == 5
    assert host.strongroom("verify", "--all", "--json").json["is_logged"] is True
    assert types(repository) == [
        EntryType.GENESIS,
        EntryType.BACKUP_STARTED,
        EntryType.BACKUP_FINISHED,
        EntryType.BACKUP_STARTED,
        EntryType.BACKUP_FAILED,
        EntryType.VERIFY_FINISHED,
    ]
    finished = host.strongroom("log", "show", "--type", "backup.finished", "--json").json
    assert finished[0]["details"]["manifest_sha256"] == made.manifest_sha256
    assert "verify.finished" in host.strongroom("log", "show").stdout
    assert host.strongroom("log", "show", "--since", "2999-01-01", "--json").json == []
    assert host.strongroom("log", "show", "--type", "nonsense").code == 2
    assert "6 entries and 6 checkpoints" in host.strongroom("log", "verify").stdout
    proof = tmp_path / "proof.json"
    assert host.strongroom("log", "prove", "2", "-o", proof).code == 0
    assert host.strongroom("log", "prove", "2", "-o", proof).code == 2
    assert host.strongroom("log", "prove", "2").stdout.strip() == proof.read_text()
    assert host.strongroom("log", "prove", "6").code == 4
    pins = AllowedSigners.parse(repository.allowed_signers_file.read_text())
    entry, _ = verify_proof(
        decode_proof(proof.read_bytes(), proof.name), [one.public_key for one in pins.signers]
    )
    assert entry.details["backup"] == made.manifest.backup_id
    early = repository.directory / log_checkpoint_key(3)
    grown = tmp_path / "grown.json"
    assert host.strongroom("log", "prove", "--earlier", early, "-o", grown).code == 0
    assert verify_consistency(
        grown.read_bytes(), grown.name, [one.public_key for one in pins.signers]
    ) == (3, 6)
    assert host.strongroom("log", "prove").code == 2
    assert host.strongroom("log", "verify", "--earlier", early).code == 0


def test_a_spoilt_log_is_refused(repository: LabRepository, source: Dsn) -> None:
    """Cut short: `log verify` says so with exit code 3, and nothing more is backed up."""
    host = host_of(repository)
    repository.back_up(source)
    repository.opened.store.delete(log_entry_key(2))
    repository.opened.store.delete(log_checkpoint_key(3))
    done = host.strongroom("log", "verify", "--json")
    assert done.code == 3
    assert done.json["result"]["wrong"] == [
        "the log was cut short: this host saw 3 entries, and 2 are there"
    ]
    assert "WRONG  the log was cut short" in host.strongroom("log", "verify").stdout
    again = host.strongroom("backup", "--dsn", source.conninfo())
    assert again.code == 3
    assert "cut short" in again.stderr
    assert len(repository.opened.backups()) == 1


def test_without_pins_nothing_is_proven(repository: LabRepository, tmp_path: Path) -> None:
    """On a host without pins the word is UNPINNED; with the auditor's own pins it is good."""
    elsewhere = Host(
        home=tmp_path,
        environment={"STRONGROOM_REPOSITORY": str(repository.directory)},
        has_settings=False,
    )
    done = elsewhere.strongroom("log", "verify")
    assert (done.code, "UNPINNED" in done.stderr) == (11, True)
    pinned = ("--allowed-signers", repository.allowed_signers_file)
    assert elsewhere.strongroom("log", "verify", *pinned).code == 0


def test_a_backup_that_could_not_say_so_is_logged_by_the_next(
    repository: LabRepository, source: Dsn
) -> None:
    """Killed after the manifest, before the entry: the next run writes it."""
    made = repository.back_up(source)
    for key in (log_entry_key(2), log_checkpoint_key(3)):
        repository.opened.store.delete(key)
    memory = next((repository.state_directory / "log").iterdir())
    memory.write_bytes(memory.read_bytes()[: 2 * 32])
    host = host_of(repository)
    assert "no entry says that it was finished" in host.strongroom("log", "verify").stdout
    repository.back_up(source)
    entries = list(read_log(repository.opened.store).entries())
    assert [entry.type for entry in entries[2:]] == [
        EntryType.BACKUP_STARTED,
        EntryType.INVENTORY_RECONCILED,
        EntryType.BACKUP_FINISHED,
    ]
    assert entries[3].details["manifest_sha256"] == made.manifest_sha256
    assert host.strongroom("log", "verify").code == 0


def test_a_backup_does_not_look_through_a_long_log(repository: LabRepository, source: Dsn) -> None:
    """What lies between it and the backup before it, hundreds of entries of others, is not read."""
    repository.back_up(source)
    opened, state = repository.opened, repository.state_directory
    key = load_writing_keys(repository.keys_directory, None).signing_key
    for _ in range(9):
        open_log(opened.store, opened.id, key, state).append(EntryType.HEARTBEAT, {}, now=NOW)
    for seq in range(3, 11):
        opened.store.delete(log_entry_key(seq))
    repository.back_up(source)
    assert len(opened.backups()) == 2


def test_verify_reads_the_log_too(repository: LabRepository, source: Dsn, tmp_path: Path) -> None:
    """On any host with pins: what is stored may be whole, and the log not tell of it."""
    elsewhere = Host(
        home=tmp_path,
        environment={
            "STRONGROOM_REPOSITORY": str(repository.directory),
            "STRONGROOM_ALLOWED_SIGNERS": str(repository.allowed_signers_file),
        },
        has_settings=False,
    )
    made = repository.back_up(source)
    good = elsewhere.strongroom("verify", "latest", "--json").json
    assert good["is_good"] is True
    assert good["log"] == {"entries": 3, "untold": [], "wrong": []}
    # Its run was killed after the manifest: the next one tells of it.
    store = repository.opened.store
    for key in (log_entry_key(2), log_checkpoint_key(3)):
        store.delete(key)
    done = elsewhere.strongroom("verify", "latest")
    assert done.code == 0, done.stderr
    assert f"does not tell yet of {made.manifest.backup_id}" in done.stdout
    # Nothing tells of it, though the log is whole: it was made by other hands.
    for key in (log_entry_key(1), log_checkpoint_key(2)):
        store.delete(key)
    done = elsewhere.strongroom("verify", "--all")
    assert (done.code, "evidence log" in done.stderr) == (3, True)
    assert "WRONG  evidence log: the log was cut short" in done.stdout
    found = elsewhere.strongroom("verify", "--all", "--json")
    assert (found.code, found.json["is_good"], found.json["result"]["damages"]) == (3, False, [])
