"""We are killed with SIGKILL: there is no backup, nothing is at work, and the next run goes on."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from backup.postgres.dsn import Dsn
from backup.repository.layout import CHUNKS_PREFIX
from tests.faults.vault import Vault, eventually, finish
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer

# Everything that changes the repository or the state directory goes through one of these.
TRANSITIONS = ["open", "write", "fsync", "link", "unlink", "mkdir", "rename"]
KILLED = -9
PER_REPOSITORY = 8


def stored(vault: Vault) -> dict[str, int]:
    """The chunk objects there are, with their sizes."""
    store = vault.repository().store
    return {key: (vault.root / key).stat().st_size for key in store.list(CHUNKS_PREFIX)}


def assert_next_run_converges(vault: Vault) -> int:
    """The next run succeeds and stores nothing that was there; return the bytes it found stored."""
    before = stored(vault)
    done = vault.backup()
    assert done.code == 0, done.stderr
    added = {key: size for key, size in stored(vault).items() if key not in before}
    assert sum(added.values()) == done.json["new_bytes"]
    assert set(before) <= set(stored(vault))
    vault.assert_whole()
    return int(done.json["stored_bytes"] - done.json["new_bytes"])


def killed_at_a_time(vault: Vault, seconds: float) -> int:
    """Start a backup, kill it after a while, and return how it ended."""
    process = vault.start_backup()
    time.sleep(seconds)
    process.kill()
    return finish(process).code


def test_killed_at_random_points_the_next_run_reuses_what_was_stored(
    tmp_path: Path,
    any_server: LabServer,
    portal: Dsn,
    numbers: Numbers,
    chance: random.Random,
) -> None:
    """A killed run leaves no half backup and no process; the next one stores nothing again."""
    kills = manifests = reused = vaults = 0
    calls = transitions(tmp_path / "measured", any_server, portal)
    wanted = numbers.of(25, 200)
    while kills < wanted:
        vaults += 1
        directory = tmp_path / str(vaults)
        vault = Vault.make(directory, any_server, portal)
        for _ in range(min(PER_REPOSITORY, wanted - kills)):
            if chance.random() < 0.5:
                code = killed_at_a_time(vault, chance.uniform(0.2, 0.9))
            else:
                fault = {"calls": TRANSITIONS, "at": chance.randrange(1, calls)}
                code = vault.backup(fault=fault).code
            vault.assert_nobody_left()
            kills += code == KILLED
            if found := vault.backups():
                # A manifest is there: then the backup is, whole, though its run was killed after.
                manifests += code == KILLED
                assert code in {0, KILLED}
                assert len(found) == 1
                assert vault.verified().is_good
                break
            assert code == KILLED
        reused += assert_next_run_converges(vault)
    print(f"{kills} kills, {manifests} of them after the manifest, {reused} bytes reused")  # noqa: T201
    assert reused > 0


def transitions(directory: Path, server: LabServer, dsn: Dsn) -> int:
    """How many calls the first backup of the database makes."""
    vault = Vault.make(directory, server, dsn)
    report = directory / "report"
    assert vault.backup(fault={"calls": TRANSITIONS, "report": str(report)}).code == 0
    return int(json.loads(report.read_text(encoding="ascii"))["calls"])


def test_killed_at_each_of_the_last_transitions(
    tmp_path: Path, any_server: LabServer, portal: Dsn, numbers: Numbers
) -> None:
    """From the last chunk to the end of the run, a kill leaves a whole backup or none."""
    vault = Vault.make(tmp_path, any_server, portal)
    report = tmp_path / "report"
    assert vault.backup().code == 0
    done = vault.backup(fault={"calls": TRANSITIONS, "report": str(report)})
    assert done.code == 0
    calls = json.loads(report.read_text(encoding="ascii"))["calls"]
    for at in range(calls, max(0, calls - numbers.of(40, calls)), -numbers.of(3, 1)):
        before = set(vault.backups())
        code = vault.backup(fault={"calls": TRANSITIONS, "at": at}).code
        appeared = set(vault.backups()) - before
        assert code == KILLED or len(appeared) == 1
        assert vault.verified().is_good
    assert_next_run_converges(vault)


def test_killed_during_init_the_same_command_finishes_it(
    tmp_path: Path, any_server: LabServer, portal: Dsn
) -> None:
    """At every transition of `init` a kill leaves what the same command completes."""
    vault = Vault(directory=tmp_path, server=any_server, dsn=portal)
    vault.config.write_text(
        f'repository = "{vault.root}"\nstate_directory = "{vault.state}"\n', encoding="utf-8"
    )
    recipient = ("--recipient", vault.identity.recipient.text)
    at = 1
    while True:
        code = vault.run("init", *recipient, fault={"calls": TRANSITIONS, "at": at}).code
        if code == 0:
            break
        at += 7
        if vault.run("init", *recipient).code == 0:
            assert vault.backup().code == 0
            vault.assert_whole()
            break
        assert code == 2 and (vault.root / "repository.json").exists()
    assert at > 1


@pytest.fixture
def backed_up(vault: Vault) -> Vault:
    """A repository with one backup."""
    assert vault.backup().code == 0
    return vault


def test_killed_during_restore_the_same_command_says_what_to_do(
    backed_up: Vault, any_server: LabServer, numbers: Numbers, chance: random.Random
) -> None:
    """A killed restore leaves no process; the next is refused until the database is dropped."""
    target = f"{backed_up.dsn.database}_restored"
    to = backed_up.dsn.with_database(target).conninfo()
    arguments = ("restore", "latest", "--identity", backed_up.identity_file, "--to", to, "--json")
    left = 0
    for _ in range(numbers.of(4, 40)):
        process = backed_up.start(*arguments)
        time.sleep(chance.uniform(0.3, 1.6))
        process.kill()
        code = finish(process).code
        backed_up.assert_nobody_left()
        assert eventually(
            lambda: (
                # One that still creates the database is connected to another.
                not any_server.sql(
                    "SELECT 1 FROM pg_stat_activity"
                    f" WHERE datname = '{target}' OR application_name LIKE 'strongroom%'",
                    database="postgres",
                )
            )
        )
        if target in backed_up.databases():
            left += code == KILLED
            again = backed_up.run(*arguments)
            assert again.code == 2
            assert target in again.stderr
            any_server.sql(f'DROP DATABASE "{target}" WITH (FORCE)', database="postgres")
    print(f"{left} databases were left")  # noqa: T201
    done = backed_up.run(*arguments)
    any_server.sql(f'DROP DATABASE IF EXISTS "{target}"', database="postgres")
    assert done.code == 0, done.stderr


def test_killed_before_the_log_is_told_of_it_a_pack_is_made_anew(backed_up: Vault) -> None:
    """The pack that no entry names is set aside, whole; a published one is never touched."""
    pack = backed_up.directory / "packs" / "november"
    command = ("report", "period", "--from", "2020-11-01", "--to", "2020-11-30", "-o", pack)
    entry = {"calls": ["link"], "path": "log/entries", "at": 1}
    assert backed_up.run(*command, fault=entry).code == KILLED
    first = {path.name: path.read_bytes() for path in pack.iterdir()}

    done = backed_up.run(*command)
    assert done.code == 0, done.stderr
    [aside] = pack.parent.glob("november.unpublished-*")
    assert f"it is set aside as {aside.name}" in done.stderr
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == first
    published = {path.name: path.read_bytes() for path in pack.iterdir()}
    assert published.keys() == first.keys()

    refused = backed_up.run(*command)
    assert (refused.code, "is not empty" in refused.stderr) == (2, True)
    entry_of_it = max((backed_up.root / "log" / "entries").iterdir())
    entry_of_it.rename(backed_up.directory / "taken")
    refused = backed_up.run(*command)  # a log that is not whole is nobody's word
    assert (refused.code, "is not empty" in refused.stderr) == (2, True)
    (backed_up.directory / "taken").rename(entry_of_it)
    (pack.parent / "december").mkdir()
    (pack.parent / "december" / "letter.txt").write_text("somebody's own")
    theirs = backed_up.run(*command[:-1], pack.parent / "december")
    assert (theirs.code, "is not empty" in theirs.stderr) == (2, True)
    assert {path.name: path.read_bytes() for path in pack.iterdir()} == published
    assert len(list(pack.parent.iterdir())) == 3
