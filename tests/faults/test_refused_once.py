"""The disk refuses one call of a whole process, once: each fsync, rename, link, close, unlink.

Real files and the program as it is; only that one call ends with EIO. What is a success is there,
what is not says so and leaves nothing half-made in sight, and the same command again comes through.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backup import keyring
from backup.crypto.merkle import leaf_hash
from backup.errors import SettingsError, StoreError
from backup.evidence.entry import EntryType
from backup.journeys.audit import audit
from backup.journeys.progress import Silent
from backup.journeys.verify import verify
from backup.repository.access import Repository
from backup.repository.layout import REPOSITORY_KEY, BackupKey
from backup.repository.stores.incoming import INCOMING
from deploy import pki
from deploy.core.layout import CLIENT_CA, SERVER_CA, password_file
from deploy.core.model import Estate
from deploy.core.parse import parse_estate
from deploy.core.scram import ITERATIONS, SALT_BYTES, Salted, verifier
from deploy.inventory import load_hosts
from deploy.remote import Remote
from deploy.rotation import rotate_password
from scheduler.journal import FILE_NAME, JournalError
from scheduler.keptlog import KeptLog
from scheduler.service import _open_journal
from tests import samples
from tests.faults.forks import Forks
from tests.faults.sites import CALLS, RETENTION, Site
from tests.faults.test_prune import history
from tests.faults.vault import ROOT
from tests.lab.effort import Numbers
from tests.lab.prunes import PruneLab
from tests.lab.reports import lab_reports


def some(calls: int, few: int, numbers: Numbers, chance: random.Random) -> list[int]:
    """Which of so many calls are refused: a few that chance picks, or each."""
    return sorted(chance.sample(range(1, calls + 1), min(calls, numbers.of(few, calls))))


# init


def init_in(site: Site) -> tuple[str | Path, ...]:
    """The command that makes a repository there."""
    return (
        *("init", "--recipient", samples.IDENTITY.recipient.text),
        *("--repository", site.home / "repository", "--state-directory", site.home / "state"),
    )


def assert_works(site: Site) -> None:
    """The host that it was made on has the keys to write to it, and reads what it wrote."""
    repository = Repository(site.store)
    directory = keyring.keys_directory(site.home / "state", repository.id)
    keys = keyring.load_writing_keys(directory, None)
    allowed = keyring.load_allowed_signers(directory, None)
    assert audit(repository, allowed, [], now=datetime.now(UTC)).wrong == ()
    writing = samples.Writing(repository.store, keys=keys)
    manifest = replace(
        writing.store_all({"schema": b"-- none", "rest": b"rows" * 99, "globals": b"-- none"}),
        repository_id=repository.id,
        files=keys.files,
    )
    writing.writer.finish(manifest)
    found = verify(
        repository,
        repository.backups(),
        allowed,
        identities=[samples.IDENTITY],
        jobs=1,
        progress=Silent(),
    )
    assert found.is_good, found
    assert not [*(site.home / "repository" / INCOMING).glob("*/*")]


@pytest.mark.parametrize("call", list(CALLS))
def test_init_is_refused_one_call(
    place: Path, forks: Forks, numbers: Numbers, chance: random.Random, call: str
) -> None:
    """There is a repository that works, or the same `init` makes it; keys are whole or not there.

    Where `repository.json` is there in spite of the failure, the same `init` says so.
    """
    measured = Site(home=place / "measured", forks=forks)
    measured.home.mkdir()
    calls = measured.calls(call, *init_in(measured))
    for at in some(calls, 2, numbers, chance):
        site = Site(home=place / str(at), forks=forks)
        site.home.mkdir()
        settings = site.home / "strongroom.toml"
        done = site.refuse(call, at, *init_in(site))
        is_there = (site.home / "repository" / REPOSITORY_KEY).exists()
        assert is_there or done.code != 0
        assert site.hidden() == [] or call == "unlink", "but for what was not to be removed"
        if done.code == 0:
            assert str(site.home / "repository") in settings.read_text(encoding="utf-8")
        elif "no settings file names it" in done.stderr:
            assert "Keep this line beside your identity" in done.stdout
            assert f'write the line `repository = "{site.home}/repository"`' in done.stderr
        again = site.run(*init_in(site))
        if is_there:
            assert again.code == 2, again
            assert "is a repository already" in again.stderr
            assert "hint: take a backup into it" in again.stderr
        else:
            assert again.code == 0, again
            assert settings.exists()
        assert_works(site)
        shutil.rmtree(site.home)
    print(f"{call}: {calls} calls")  # noqa: T201


# prune


@dataclass(frozen=True, slots=True, kw_only=True)
class ToPrune:
    """A repository in which a prune has all that a prune may have to do, to be copied."""

    site: Site
    before: frozenset[BackupKey]
    wanted: frozenset[BackupKey] = field(default_factory=frozenset)
    stored: frozenset[str] = field(default_factory=frozenset)

    def copy_to(self, home: Path) -> Site:
        """Another one like it."""
        shutil.copytree(self.site.home, home)
        made = replace(self.site, home=home)
        made.configure(RETENTION)
        return made


PRUNE = ("prune", "--apply", "--json")


def stored(site: Site) -> frozenset[str]:
    """All that backups are made of."""
    return frozenset([*site.store.list("backups/"), *site.store.list("chunks/")])


@pytest.fixture(scope="module")
def to_prune(memory: Path, forks: Forks) -> ToPrune:
    """One backup to delete, a list to sweep, a dead writer's objects, and what is to stay."""
    site = Site(home=memory / "to-prune", forks=forks)
    lab = PruneLab.make(site.store, site.home / "state")
    before = frozenset(history(lab))
    site.keep_keys()
    made = ToPrune(site=site, before=before)
    whole = made.copy_to(memory / "pruned")
    done = whole.run(*PRUNE)
    assert done.code == 0, done
    assert (len(done.json["deleted"]), done.json["condemned"], done.json["swept"]) == (1, 7, 7)
    return replace(made, wanted=frozenset(whole.lab.repository.backups()), stored=stored(whole))


@pytest.mark.parametrize("call", list(CALLS))
def test_prune_is_refused_one_call(
    place: Path, to_prune: ToPrune, numbers: Numbers, chance: random.Random, call: str
) -> None:
    """Every backup that is left is whole, whatever failed; the same prune at once finishes it."""
    calls = to_prune.copy_to(place / "measured").calls(call, *PRUNE)
    refused_at = some(calls, 2, numbers, chance)
    failed = 0
    for at in refused_at:
        site = to_prune.copy_to(place / str(at))
        done = site.refuse(call, at, *PRUNE)
        failed += done.code != 0
        lab = site.lab
        left = frozenset(lab.repository.backups())
        assert to_prune.wanted <= left <= to_prune.before
        assert lab.damages() == ()
        # Where the log's own checkpoint failed the next entry's vouches for both.
        assert [what for what in lab.wrong_in_log() if "no checkpoint" not in what] == []
        if done.code == 0:
            assert (left, stored(site)) == (to_prune.wanted, to_prune.stored)
            assert lab.wrong_in_log() == ()
        again = site.run(*PRUNE)
        assert again.code == 0, (call, at, done, again)
        assert frozenset(lab.repository.backups()) == to_prune.wanted
        assert lab.damages() == ()
        assert list(site.store.list("leases/")) == []
        lab.prune_until_nothing_is_left()
        assert lab.damages() == ()
        assert lab.garbage() == set()
        assert list(site.store.list("condemned/")) == []
        assert lab.wrong_in_log() == ()
        assert not [*(site.home / "repository" / INCOMING).glob("*/*")]
        shutil.rmtree(site.home)
    assert failed > 0 or not numbers.is_full
    print(f"{call}: {calls} calls; {failed} of {len(refused_at)} failed the prune")  # noqa: T201


# each rename


@pytest.fixture
def filed(place: Path, forks: Forks) -> Site:
    """A repository with one backup, which can be exported, and a log that tells of it."""
    site = Site(home=place / "filed", forks=forks)
    lab = PruneLab.make(site.store, site.home / "state")
    manifest, writing = lab.begin(samples.KEY, lab.chance.randbytes(3000))
    told = {
        "backup": samples.KEY.id.text,
        "database": samples.KEY.database,
        "manifest_sha256": writing.writer.finish(manifest),
    }
    lab.log.append(EntryType.BACKUP_FINISHED, told, now=samples.MOMENT)
    site.keep_keys()
    site.configure()
    (site.home / "identity.txt").write_text(f"{samples.IDENTITY.text}\n", encoding="ascii")
    return site


def contents(directory: Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_each_rename_of_an_export_is_refused(
    filed: Site, numbers: Numbers, chance: random.Random
) -> None:
    """No archive is there in part; the directory is refused until it is another one or empty."""

    def export_to(name: str) -> tuple[str | Path, ...]:
        identity = ("--identity", filed.home / "identity.txt")
        return ("restore", "latest", *identity, "--export", filed.home / name)

    calls = filed.calls("rename", *export_to("whole"))
    whole = contents(filed.home / "whole")
    refusals = 0
    for at in some(calls, 2, numbers, chance):
        done = filed.refuse("rename", at, *export_to(str(at)))
        if done.code == 0:
            assert "no lease keeps a prune from deleting what is read here" in done.stderr
            assert contents(filed.home / str(at)) == whole
            continue
        refusals += 1
        left = contents(filed.home / str(at))
        assert left.keys() < whole.keys()
        assert "README.txt" not in left
        assert {name: whole[name] for name in left} == left
        if left:
            again = filed.run(*export_to(str(at)))
            assert (again.code, "is not empty" in again.stderr) == (2, True)
        assert filed.run(*export_to(f"{at}-again")).code == 0
        assert contents(filed.home / f"{at}-again") == whole
    # Each archive gets its name by a rename; the fourth call is the lease's.
    assert (calls, refusals) == (4, 3) or not numbers.is_full


def test_each_rename_and_link_of_a_period_pack_is_refused(
    filed: Site, numbers: Numbers, chance: random.Random
) -> None:
    """The pack is whole, or not there; the same command makes it, or sets it aside and makes it."""
    period = ("report", "period", "--from", "2020-11-01", "--to", "2020-11-30", "-o")
    calls = filed.calls("rename", *period, filed.home / "whole")
    names = contents(filed.home / "whole").keys()
    assert calls > len(names) > 10
    for at in some(calls, 2, numbers, chance):
        pack = filed.home / f"pack-{at}"
        done = filed.refuse("rename", at, *period, pack)
        assert done.code == 6
        assert filed.hidden() == []
        assert not pack.exists() or contents(pack).keys() == names
        again = filed.run(*period, pack)
        # What failed last is the checkpoint over the entry that tells of it: then it is published.
        assert again.code == (2 if at == calls else 0), again
        assert contents(pack).keys() == names
        verified = filed.run("report", "verify", pack)
        assert verified.code == 0, verified


@contextlib.contextmanager
def refused(call: str, at: int) -> Iterator[list[str]]:
    """One call of this process fails while the block lasts; yield those that were made."""
    made: list[str] = []
    real = {name: getattr(os, name) for name in CALLS[call]}
    with pytest.MonkeyPatch.context() as patched:
        for name in CALLS[call]:

            def fails(*arguments: Any, name: str = name, **named: Any) -> Any:
                made.append(name)
                if len(made) == at:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return real[name](*arguments, **named)

            patched.setattr(os, name, fails)
        yield made


def is_refused(call: str, at: int, work: Callable[[], object]) -> bool:
    """Refuse it that call, which it must tell of; whether it made so many."""
    is_told = False
    with refused(call, at) as made:
        try:
            work()
        except SettingsError as error:
            assert error.message.endswith(os.strerror(errno.EIO))
            is_told = True
    assert is_told is (len(made) >= at)
    return is_told


def test_each_rename_and_link_of_a_report_is_refused() -> None:
    """A report that is published is there and told of; the next one makes up for what is not."""
    seen: set[str] = set()
    for at in itertools.count(1):
        with lab_reports() as lab:
            asked, done = lab.report(), None
            with refused("rename", at) as made:
                try:
                    done = lab.publish(asked)
                except StoreError as error:
                    assert "Input/output error" in error.message
            if len(made) < at:
                break
            seen.add(made[at - 1])
            published = [*lab.directory.glob("*/*.zip")]
            assert [*lab.directory.rglob(".*")] == []
            if done is not None and done.refusal is None and done.unsealed is None:
                assert published == [done.path]
            second = lab.publish(lab.report(number=2))
            assert (second.refusal, second.unsealed) == (None, None)
            published = [*lab.directory.glob("*/*.zip")]
            index = (lab.directory / "index.html").read_text(encoding="utf-8")
            assert all(path.name in index for path in published)
            assert len([*lab.lab.opened.store.list("reports/")]) == len(published)
    assert seen == {"link", "replace"}


def test_a_kept_log_that_cannot_take_its_place_is_the_old_one(tmp_path: Path) -> None:
    """Nothing is lost of what can be fetched again, and the next time it is written anew."""
    lines = {seq: b"%d" % seq * 100_000 for seq in range(6)}
    leaves = [leaf_hash(line) for line in lines.values()]
    kept, newest = KeptLog(tmp_path / "it.lines"), {5: lines[5]}
    for _ in range(4):
        kept.add(lines, lines)
    with refused("rename", 1) as made:
        kept.add({}, newest)
    assert made == ["replace"]
    assert kept.read(leaves) == lines
    kept.add({}, newest)
    assert kept.read(leaves) == newest
    assert [path.name for path in tmp_path.iterdir()] == ["it.lines"]


def test_a_damaged_journal_that_cannot_be_moved_aside_is_not_used(tmp_path: Path) -> None:
    """The daemon does not start on it; the next one moves it aside and begins another."""
    path = tmp_path / FILE_NAME
    path.write_bytes(b"no database" * 999)
    with refused("rename", 1) as made, pytest.raises(JournalError):
        _open_journal(path, lambda: samples.MOMENT)
    assert made == ["replace"]
    assert path.read_bytes() == b"no database" * 999
    _open_journal(path, lambda: samples.MOMENT).close()
    [aside] = tmp_path.glob("*.damaged-*")
    assert aside.read_bytes() == b"no database" * 999


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_each_file_of_authorities_is_refused(tmp_path: Path, call: str) -> None:
    """Half of two authorities are none: the same command makes both, and their keys fit."""
    for at in itertools.count(1):
        directory = tmp_path / str(at)

        def make(directory: Path = directory) -> None:
            recipients = [samples.IDENTITY.recipient]
            pki.initialize(directory, "lab", recipients, now=samples.MOMENT, is_next=False)

        if not is_refused(call, at, make):
            break
        assert [*directory.rglob(".*")] == []
        if all((directory / name).exists() for name in (CLIENT_CA, SERVER_CA)):
            with pytest.raises(SettingsError, match="holds authorities already"):
                make()
        else:
            make()
        opened = pki.open_authorities(directory, [samples.IDENTITY])
        for kind, authority in opened.items():
            assert authority.certificate.public_key() == authority.key.public_key()
            assert pki.trusted_authorities(directory, kind) == (authority.certificate,)
    assert at > 4


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_new_password_is_refused_a_call(tmp_path: Path, call: str) -> None:
    """The server's and the file's are the same in the end; one cut short is never set.

    The server is a file here, which takes the script that sets the verifier.
    """
    shipped = parse_estate(load_hosts(ROOT / "inventories" / "example.py"))
    server = shipped.servers[0]
    for at in itertools.count(1):
        home = tmp_path / str(at)
        file = password_file(home, "app")
        file.parent.mkdir(parents=True)
        file.write_text("old\n")
        file.chmod(0o600)
        site = shipped.site.model_copy(update={"secrets_directory": home})
        estate = shipped.model_copy(update={"site": site})
        sets = Remote(name="db1", address="db1", argv=("/bin/bash", "-c", f"cat >{home}/set"))

        def rotate(estate: Estate = estate, sets: Remote = sets) -> None:
            rotate_password(estate, server, "app", sets, lambda count: b"s" * count)

        if not is_refused(call, at, rotate):
            break
        assert [path.name for path in file.parent.glob(".*")] == []
        rotate()
        password = SecretStr(file.read_text().removesuffix("\n"))
        salted = Salted(iterations=ITERATIONS, salt=b"s" * SALT_BYTES)
        assert verifier(password, salted).get_secret_value() in (home / "set").read_text()
        assert [path.name for path in file.parent.iterdir()] == ["app"]
    assert at > 2
