"""Restore tests that prove less than they should: tools lie, data stays, rules move.

The backups are healthy: each code is about the test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.crypto.recipients import X25519Identity
from backup.evidence.report import Report
from backup.evidence.slot import Slot
from backup.evidence.verdict import Word
from backup.journeys.progress import Silent
from backup.journeys.restoretest import Examiner
from backup.postgres.scratch import PREFIX
from backup.testpolicy import RestoreTestPolicy
from tests.lab.repositories import LabRepository, ended, lab_repository
from tests.lab.restoretests import codes, run_restore_test
from tests.lab.servers import LabServer, Servers

DEBIAN = 15  # its programs can be run by everybody
CLIENTS = "CREATE TABLE clients (id int PRIMARY KEY); INSERT INTO clients VALUES (1), (2)"


@pytest.fixture
def debian(servers: Servers) -> LabServer:
    """A server whose programs lie where anybody may run them."""
    return servers.of_major(DEBIAN)


@pytest.fixture(scope="module")
def repository(servers: Servers) -> Iterator[LabRepository]:
    """One healthy backup."""
    debian = servers.of_major(DEBIAN)
    with debian.fresh_database() as dsn, lab_repository() as made:
        debian.sql(CLIENTS, dsn.database)
        made.back_up(dsn)
        yield made


def by_lying_tools(repository: LabRepository, debian: LabServer, home: Path, said: str) -> Report:
    """A test whose pg_restore says this, and does its work."""
    tools = home / "bin"
    tools.mkdir(mode=0o755)
    for program in debian.tools.bin.iterdir():
        (tools / program.name).symlink_to(program)
    lying = tools / "pg_restore"
    lying.unlink()
    lying.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || echo "{said}" >&2\n'
        f'exec {debian.tools.program("pg_restore")} "$@"\n'
    )
    lying.chmod(0o755)

    def change(examiner: Examiner) -> Examiner:
        return replace(examiner, workshop=replace(examiner.workshop, tool_directories=(tools,)))

    return run_restore_test(repository, change=change).report


LIES = {
    "EXIT_CODE_LIED": ("pg_restore: error: could not do it", Word.FAIL),
    "WARNINGS_UNCLASSIFIED": ("the moon is full", Word.INCONCLUSIVE),
}


@pytest.mark.parametrize("code", LIES)
def test_what_a_tool_says_counts_though_it_ends_with_0(
    repository: LabRepository, debian: LabServer, shared_directory: Path, code: str
) -> None:
    """An error that is no failure, and words that nobody knows; the data is as it was."""
    said, word = LIES[code]
    report = by_lying_tools(repository, debian, shared_directory, said)
    assert codes(report) == {code}, report.verdict.findings
    assert report.verdict.word is word
    assert {command.exit_code for command in report.commands} == {0}


class Keeping(Silent):
    """Puts a file system into the scratch cluster's directory, as soon as there is one."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.kept: Path | None = None

    def begin(self, activity: str, total_bytes: int | None) -> None:
        """Look."""
        del activity, total_bytes
        for cluster in self._scratch.glob(f"{PREFIX}*") if self.kept is None else ():
            kept = cluster / "kept"
            kept.mkdir()
            done = ended(("/bin/mount", "-t", "tmpfs", "none", str(kept)), {})
            assert done.code == 0, done.stderr
            self.kept = kept


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount something")
def test_data_that_stays_has_its_code(repository: LabRepository, shared_directory: Path) -> None:
    """The directory cannot be removed: the report says which, and it is no PASS."""
    shared_directory.chmod(0o777)
    keeping = Keeping(shared_directory)
    try:
        report = run_restore_test(repository, scratch=shared_directory, progress=keeping).report
        assert keeping.kept is not None
        assert codes(report) == {"RESTORED_DATA_NOT_DESTROYED"}, report.verdict.findings
        assert report.verdict.word is Word.FAIL
        assert report.verdict.findings[0].what == str(keeping.kept.parent)
        assert report.destruction is not None
        assert not report.destruction.is_destroyed
    finally:
        if keeping.kept is not None:
            ended(("/bin/umount", str(keeping.kept)), {})
            shutil.rmtree(keeping.kept.parent)


def test_another_identity_than_the_escrowed_one_has_its_code(repository: LabRepository) -> None:
    """Also if the escrowed one is among several: nobody knows which of them did it."""
    own = repository.identity.recipient.fingerprint

    def escrow(fingerprint: str, *more: X25519Identity) -> set[str]:
        return codes(
            run_restore_test(
                repository,
                identities=(repository.identity, *more),
                change=lambda examiner: replace(examiner, escrow=fingerprint),
            ).report
        )

    assert escrow(own) == set()
    assert escrow("SHA256:0123456789abcdef") == {"HOT_KEY_ONLY"}
    assert escrow(own, X25519Identity.generate()) == {"HOT_KEY_ONLY"}


@pytest.mark.parametrize("now", [RestoreTestPolicy(rto_target_ms=3_600_000), None])
def test_rules_that_changed_have_their_code(
    repository: LabRepository, now: RestoreTestPolicy | None
) -> None:
    """Other targets, or settings that can't be read any more: which rules held is not known."""
    report = run_restore_test(
        repository, change=lambda examiner: replace(examiner, policy_now=lambda: now)
    ).report
    assert codes(report) == {"POLICY_CHANGED_MID_RUN"}, report.verdict.findings
    assert report.verdict.word is Word.INCONCLUSIVE


def test_a_second_try_does_not_undo_a_first(repository: LabRepository) -> None:
    """A slot was answered with FAIL: who runs it again until it passes is told of."""
    due = datetime(2026, 1, 14, 5, 0, tzinfo=UTC)
    slot = Slot(job="restore-test-latest", due=due)
    failing = RestoreTestPolicy(smoke_command=("/bin/false",))
    assert codes(run_restore_test(repository, slot=slot, policy=failing).report) == {"SMOKE_FAILED"}
    report = run_restore_test(repository, slot=slot).report
    assert codes(report) == {"RETRY_AFTER_FAIL"}, report.verdict.findings
    assert report.verdict.word is Word.INCONCLUSIVE
    other = replace(slot, job="restore-test-random")
    assert codes(run_restore_test(repository, slot=other).report) == set()
