"""Every verb of the command line twice: the second time changes nothing but what it is there for.

The verbs are taken from the program. One that is in no table here fails a test.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import chdir, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from _pytest.mark import ParameterSet
from click.testing import CliRunner

from backup.cli import root
from backup.errors import StrongroomError
from backup.evidence.entry import EntryType
from backup.evidence.log import read_log
from scheduler.journal import FILE_NAME, Journal
from scheduler.plan import SlotRecord
from tests.e2e.documents import ROOT
from tests.faults.vault import Vault
from tests.integration.crypto.test_timestamps import Authority
from tests.lab.repositories import Host
from tests.lab.servers import LabServer

DATABASE = """
CREATE TABLE clients (id int PRIMARY KEY, note text);
INSERT INTO clients SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 300) n;
SELECT lo_from_bytea(4711, 'a document');
"""
# Only the newest backup stays, and what passed a restore test. Nothing is due by the schedule.
SETTINGS = """
repository = "{home}/repository"
state_directory = "{home}/state"
dsn = "{dsn}"
name = "portal"
schedule = "0 0 29 2 *"
jobs = 2
[retention]
keep_last = 1
keep_proven_monthly = 0
minimum_age = 0
minimum_count = 1
[[copies]]
name = "offsite"
repository = "{home}/offsite"
[copies.retention]
keep_last = 1
keep_proven_monthly = 0
minimum_age = 0
minimum_count = 1
"""

ENTRY = r"repository/log/(entries/\d{12}\.json|checkpoints/\d{12}\.note)"
REMEMBERED = r"state/log/[0-9a-f]{32}\.leaves"
NOTED = r"state/logged/[0-9a-f]{32}-portal"
BACKUP = r"repository/backups/portal/\w+-\w+(/.*)?"
CHUNK = r"repository/chunks/[0-9a-f]{2}(/[0-9a-f]{64})?"
REPORT = r"(repository|state)/reports/portal/\w+-\w+\.zip(\.age)?"
INDEX = r"state/reports/index\.html"
DAEMONS = rf"state/(journal\.sqlite|locks/daemon\.lock|log/[0-9a-f]{{32}}\.lines)|{REMEMBERED}"
# The copy of the log gets what the run before has told of itself, and tells of nothing new.
COPIED_ENTRY = r"offsite/copied-log/(entries/\d{12}\.json|checkpoints/\d{12}\.note)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A verb with its arguments, and what may be so after the second time."""

    arguments: str = ""
    first: int = 0
    again: int = 0
    adds: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    entries: int = 0
    prepare: tuple[str, ...] = ()  # what is run before
    is_done: bool = False  # what is run before has run it once


READS = Case()
REFUSED = Case(again=2)
LOGGED = Case(adds=(ENTRY,), changes=(REMEMBERED,), entries=1)
ON = "--from {today} --to {today}"
REVIEW = "--kind report --sha256 " + "0" * 64 + " --reviewer A --decision approved"
IDENTITY = "-i {identity}"
PKI = "{inventory} -R recipients.txt"
PKI_READY = (f"host pki init {PKI}", "host pki issue {inventory} " + IDENTITY)


def case(arguments: str, like: Case = READS, **more: object) -> Case:
    """A case like another one."""
    return replace(like, arguments=arguments, **more)  # type: ignore[arg-type]


# The template has three backups; the first was restore-tested, the third is in no copy yet.
CASES: dict[str, tuple[Case, ...]] = {
    "init": (
        case("-r {recipient}", first=2, again=2),
        case("-r {recipient} --repository new --state-directory other", REFUSED),
    ),
    "keygen": (
        case("-o made.txt", REFUSED),
        case("--pq -o made.txt", REFUSED),
        case("--signing -o made.key", REFUSED),
        case("-y {identity}"),
    ),
    "backup": (
        Case(
            adds=(BACKUP, CHUNK, ENTRY), changes=(REMEMBERED, NOTED), entries=2, is_done=True
        ),
    ),
    "list": (READS,),
    "show": (case("latest"), case("latest " + IDENTITY)),
    "verify": (case("--all", LOGGED), case("--all " + IDENTITY, LOGGED), case("latest", LOGGED)),
    "copy": (
        Case(adds=(COPIED_ENTRY,)),
        Case(prepare=("copy",)),
        case("--prune", prepare=("copy --prune",)),
    ),
    "restore": (
        case("latest -y --to {copied} " + IDENTITY, REFUSED),
        case("latest --export exported " + IDENTITY, REFUSED),
    ),
    "restore-test": (
        case(
            "latest " + IDENTITY,
            adds=(REPORT, ENTRY), changes=(INDEX, REMEMBERED), entries=3, is_done=True,
        ),
    ),
    "prune": (READS, case("--apply"), case("--apply --copy offsite")),
    "pin": (case("latest --reason audit"),),
    "unpin": (case("latest", prepare=("pin latest --reason audit",)),),
    "report list": (READS,),
    "report period": (case(f"{ON} -o pack", REFUSED),),
    "report render": (
        case("{report}"),
        case("{report} --check"),
        case("{report} -o page.html", REFUSED),
    ),
    "report schema": (READS,),
    "report show": (case("{report}"),),
    "report verify": (
        case("{report}"),
        case("pack", prepare=(f"report period {ON} -o pack",)),
    ),
    "log prove": (case("0"), case("0 -o proof.json", REFUSED)),
    "log review": (case(REVIEW, LOGGED),),
    "log show": (READS,),
    "log timestamp import": (case("reply.tsr --certificate root.pem"),),
    "log timestamp request": (case("-o another.tsq", REFUSED),),
    "log verify": (READS,),
    "host pki init": (case(PKI, REFUSED),),
    "host pki issue": (case("{inventory} " + IDENTITY, prepare=(f"host pki init {PKI}",)),),
    "host pki show": (case("{inventory}", prepare=PKI_READY),),
    "inspect": (case("repository/chunk-key.age"),),
    "status": (case("", first=2, again=2),),  # no daemon keeps what the settings promise
    "config check": (READS,),
    "config dashboard": (READS,),
    "config rules": (READS,),
    "config schema": (READS,),
    "config show": (READS,),
    "config unit": (READS,),
    "doctor": (READS,),
    "store policy": (
        case("--role writer --principal arn:aws:iam::1:user/x --repository s3://bucket/prefix"),
    ),
}  # fmt: skip

DRY: dict[str, tuple[Case, ...]] = {
    "backup": (READS,),
    "copy": (READS, case("--prune")),
    "restore": (
        case("latest --to {copied} " + IDENTITY),
        case("latest --export exported " + IDENTITY),
    ),
    "restore-test": (READS, case("--random"), case("--oldest")),
    "prune": (READS, case("--copy offsite")),
    "pin": (case("latest --reason audit"),),
    "unpin": (case("latest", prepare=("pin latest --reason audit",)),),
    "report period": (case(ON),),
    "log review": (case(REVIEW),),
    "host pki init": (case(PKI),),
    "host pki issue": (case("{inventory} " + IDENTITY, prepare=(f"host pki init {PKI}",)),),
    "host rotate certificates": (case("{inventory}", prepare=PKI_READY),),
    "host rotate passwords": (case("{inventory}"),),
}

# What is a process of its own, has hosts, or takes minutes, and where it is run.
ELSEWHERE = {
    "daemon": "tests/faults/test_twice.py::test_a_daemon_with_nothing_to_do_changes_nothing",
    "demo": ".ci/run::timeout 600 make demo # again",
    "host apply": "tests/deploy/test_provision.py::test_applying_twice_changes_nothing",
    "host plan": "tests/deploy/test_provision.py::test_planted_drift_is_named_and_mended",
    "host verify": "tests/deploy/test_verify.py::test_a_host_as_it_was_made_passes_every_check",
    "host access-review": "tests/deploy/test_access_review.py::"
    "test_a_server_as_it_was_made_raises_no_question",
    "host recover": "tests/deploy/test_recover.py::test_a_database_that_holds_anything_is_not",
    "host promote": "tests/deploy/test_replica.py::test_a_replica_takes_the_place_of_its_primary",
    "host rotate certificates": "tests/deploy/test_rotate.py::test_a_new_certificate_is_shown",
    "host rotate passwords": "tests/deploy/test_rotate.py::test_a_rotation_that_was_broken_off",
    "host wheels": "tests/lab/sites.py::wheels",
}
DRY_ELSEWHERE = {
    "host apply": "tests/deploy/test_provision.py::--dry-run",
    "host recover": "tests/deploy/test_recover_empty.py::--dry-run",
    "host promote": "tests/deploy/test_replica.py::--dry-run",
    "daemon": ELSEWHERE["daemon"],
}


def commands(group: click.Group = root, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every verb that the program has, by its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def dry_verbs() -> set[str]:
    """The verbs that have `--dry-run`."""
    return {
        verb
        for verb, command in commands()
        if any("--dry-run" in one.opts for one in command.params)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a verb ended."""

    code: int
    message: str = ""
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A host with its repository, its copy and its database, all in one directory."""

    vault: Vault
    number: int = 0

    @property
    def home(self) -> Path:
        """Everything that is durable."""
        return self.vault.directory

    def strongroom(self, verb: str) -> Said:
        """Run a verb in this process, in the home directory, as `main` does."""
        line = verb.format(
            identity=self.vault.identity_file,
            recipient=self.vault.identity.recipient.text,
            copied=self.vault.dsn.with_database(f"copied_{self.number}"),
            inventory=ROOT / "inventories/lab.py",
            report=next((self.home / "state/reports/portal").glob("*.zip"), Path()).stem,
            today=f"{datetime.now(UTC):%Y-%m-%d}",
        )
        environment = {
            "HOME": str(self.home),
            "STRONGROOM_CONFIG": str(self.vault.config),
        }
        if verb.startswith("host "):  # the inventory of the lab asks for it, and no other verb
            environment["STRONGROOM_LAB_FILES"] = str(self.home)
        with chdir(self.home):
            done = CliRunner(env=environment).invoke(root, line.split(), standalone_mode=False)
        error = done.exception
        if isinstance(error, StrongroomError):
            return Said(code=error.exit_code, message=error.message, hint=error.hint)
        if error is not None:
            raise error
        return Said(code=done.return_value if isinstance(done.return_value, int) else 0)

    def prepare(self, it: Case) -> None:
        """Run what comes before it."""
        for verb in it.prepare:
            said = self.strongroom(verb)
            assert said.code == 0, said

    def durable(self) -> dict[str, str]:
        """Every file and directory, and how many transactions wrote something on the server."""
        written = "SELECT pg_snapshot_xmax(pg_current_snapshot())"
        return {**files(self.home), "the server": self.vault.server.sql(written, "postgres")}


def files(directory: Path) -> dict[str, str]:
    """The mode and the content of everything in a directory."""
    return {
        str(path.relative_to(directory)): f"{path.lstat().st_mode:o} "
        + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in directory.rglob("*")
    }


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    """What was added, is gone, and is another."""
    return {
        "added": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "changed": sorted(one for one in before.keys() & after if before[one] != after[one]),
    }


_numbers = itertools.count()
NOTHING: dict[str, list[str]] = {"added": [], "gone": [], "changed": []}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, any_server: LabServer) -> Iterator[World]:
    """A host that has done everything once; nobody changes it."""
    with any_server.fresh_database() as dsn:
        any_server.sql(DATABASE, dsn.database)
        vault = Vault.make(tmp_path_factory.mktemp("once"), any_server, dsn)
        world = settled(World(vault=vault))
        for verb in ("backup", f"restore-test {IDENTITY}", "backup", "copy", "backup"):
            said = world.strongroom(verb)
            assert said.code == 0, said
        (vault.directory / "recipients.txt").write_text(f"{vault.identity.recipient.text}\n")
        query, reply = vault.directory / "query.tsq", vault.directory / "reply.tsr"
        assert world.strongroom(f"log timestamp request -o {query}").code == 0
        authority = Authority(tmp_path_factory.mktemp("authority") / "it")
        shutil.copy(authority.reply(query), reply)
        shutil.copy(authority.root, vault.directory / "root.pem")
        yield world


def settled(world: World) -> World:
    """The settings file says where the world is."""
    vault = world.vault
    vault.config.write_text(SETTINGS.format(home=world.home, dsn=vault.dsn.conninfo()))
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A copy of the template."""
    home = tmp_path / "home"
    shutil.copytree(template.home, home, symlinks=True)
    return settled(World(vault=replace(template.vault, directory=home), number=next(_numbers)))


def test_no_verb_is_left_out() -> None:
    """Each is run twice here, or it is said where it is run; each dry run too."""
    verbs = {verb for verb, _ in commands()}
    assert len(verbs) > 40
    assert CASES.keys() | ELSEWHERE.keys() == verbs
    assert not CASES.keys() & ELSEWHERE.keys()
    assert dry_verbs() <= DRY.keys() | DRY_ELSEWHERE.keys()
    for place in (*ELSEWHERE.values(), *DRY_ELSEWHERE.values()):
        file, _, what = place.partition("::")
        assert what in (ROOT / file).read_text(encoding="utf-8"), place


def each(table: dict[str, tuple[Case, ...]]) -> list[ParameterSet]:
    """Every case as a test of its own."""
    return [
        pytest.param(verb, it, id=" ".join((*it.prepare, verb, it.arguments)).strip())
        for verb, cases in table.items()
        for it in cases
    ]


@pytest.mark.parametrize(("verb", "it"), each(CASES))
def test_the_second_time_changes_nothing_else(verb: str, it: Case, world: World) -> None:
    """Every file of repository, copy, state, keys, settings and output; the server too.

    What is refused says what to do instead. A backup of the same rows brings at most one small
    object for each of its archives: the first bytes of an archive say when it was made.
    """
    world.prepare(it)
    line = f"{verb} {it.arguments}"
    if not it.is_done:
        said = world.strongroom(line)
        assert said.code == it.first, said
    before = world.durable()
    said = world.strongroom(line)
    assert said.code == it.again, said
    assert it.again == 0 or said.hint or not said.message, said
    found = differences(before, world.durable())
    assert found["gone"] == []
    for name in found["added"]:
        assert any(re.fullmatch(may, name) for may in it.adds), name
    for name in found["changed"]:
        assert any(re.fullmatch(may, name) for may in it.changes), name
    added = "\n".join(found["added"])
    assert len(re.findall(r"repository/log/entries/", added)) == it.entries
    assert len(re.findall(r"/chunks/../\w+", added)) <= len(re.findall(r"/parts/", added))


@pytest.mark.parametrize(("verb", "it"), each(DRY))
def test_a_dry_run_changes_nothing_the_first_time_either(verb: str, it: Case, world: World) -> None:
    """Though there is something to do."""
    world.prepare(it)
    before = world.durable()
    said = world.strongroom(f"{verb} {it.arguments} --dry-run")
    assert said.code == 0, said
    assert differences(before, world.durable()) == NOTHING


def entries(world: World) -> list[EntryType]:
    """What the evidence log tells."""
    return [entry.type for entry in read_log(world.vault.repository().store).entries()]


def records(world: World) -> list[SlotRecord]:
    """What the daemon's journal knows of slots."""
    with closing(Journal.read_only(world.vault.state / FILE_NAME)) as journal:
        return journal.records(newest=500)


def test_a_daemon_with_nothing_to_do_changes_nothing(world: World) -> None:
    """But what says that it ran. With `--dry-run` nothing at all, the first time either."""
    host = Host(home=world.home)
    before = world.durable()
    assert host.strongroom("daemon", "--dry-run").code == 0
    assert differences(before, world.durable()) == NOTHING
    assert host.strongroom("daemon", "--once").code == 0
    before, told = world.durable(), entries(world)
    journal = records(world)
    assert host.strongroom("daemon", "--once").code == 0
    found = differences(before, world.durable())
    assert found["gone"] == []
    assert all(re.fullmatch(ENTRY, name) for name in found["added"]), found
    assert all(re.fullmatch(DAEMONS, name) for name in found["changed"]), found
    assert entries(world)[len(told) :] == [EntryType.DAEMON_STARTED, EntryType.DAEMON_STOPPED]
    assert records(world) == journal == []
