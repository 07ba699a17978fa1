"""The order of a run: build, back up, live a day, back up again, restore; always in pairs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backup.crypto.recipients import X25519Identity
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import Cluster, scratch_cluster
from backup.postgres.tools import Tools
from benchmarks import contenders
from benchmarks.contenders import BACKUPS, OURS, Contender, Reach, Setting
from benchmarks.measure import (
    BenchmarkError,
    Measurement,
    measure,
    pipeline,
    run_quietly,
)
from benchmarks.sample import build, live_a_day, psql

# A server as its operator would have set it: nothing is lost when the power goes.
DURABLE = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "64",
}
_DATABASE = "bench"
_INTO_DURABLE = "pg_restore -j2 of a directory dump"
_INTO_SCRATCH = "… the same, ours into a scratch cluster"
_LANDMARKS = (
    "SELECT (SELECT count(*) FROM telemetry.readings), (SELECT count(*) FROM portal.transactions), "
    "(SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pg_largeobject_metadata)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked for."""

    size_bytes: int
    runs: int
    jobs: int
    only: tuple[str, ...]
    works: tuple[str, ...]
    is_scattered: bool
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One peer's runs and ours, pair by pair in the order of time; `ours` is empty without us."""

    work: str
    peer: str
    title: str
    reach: Reach | None
    theirs: tuple[Measurement, ...]
    ours: tuple[Measurement, ...]


class Bench:
    """A running server with the sample in it, and the directories of the runs."""

    def __init__(self, options: Options, tools: Tools, source: Cluster) -> None:
        self.options = options
        self.tools = tools
        self.source = source
        self.failures: list[str] = []
        self._directory = options.directory
        self._identity = options.directory / "identity.txt"
        identity = X25519Identity.generate()
        self._recipient = identity.recipient.text
        self._identity.touch(mode=0o600)
        self._identity.write_text(identity.text + "\n")
        self.has_ours = _answers((_strongroom(), "backup", "--help"))
        self.has_restore = self.has_ours and _answers((_strongroom(), "restore", "--help"))
        if not self.has_ours:
            tell("strongroom backup does not work here: the peers are measured alone")

    def all_rounds(self) -> Iterator[Round]:
        """Yield every round as soon as it is done."""
        tell(f"building {self.options.size_bytes / 1e6:.0f} MB")
        psql(self.source.dsn, self.tools, f"CREATE DATABASE {_DATABASE} TEMPLATE template0")
        database = self.source.dsn.with_database(_DATABASE)
        build(database, self.tools, size_bytes=self.options.size_bytes)
        warm_up = _named("floor-one")
        with self._setting(warm_up) as setting:
            run_quietly(warm_up.work(setting), _environment(setting))
        chosen = [c for c in BACKUPS if self._is_chosen(c)]
        if "backup" in self.options.works:
            for peer in chosen:
                with self._going_on(peer):
                    yield self._pair("backup", peer.title, peer, peer.reach)
        if "second" in self.options.works:
            yield from self._second_backups([peer for peer in chosen if peer.keeps])
        if "restore" in self.options.works:
            yield from self._restores()

    def _is_chosen(self, contender: Contender) -> bool:
        if self.options.only and contender.name not in self.options.only:
            return False
        missing = [program for program in contender.needs if shutil.which(program) is None]
        if missing:
            tell(f"{contender.name}: left out, not installed: {', '.join(missing)}")
        return not missing

    @contextlib.contextmanager
    def _going_on(self, contender: Contender) -> Iterator[None]:
        """Note that a contender failed, and go on with the others."""
        try:
            yield
        except BenchmarkError as error:
            self.failures.append(f"{contender.name}: {error}")
            tell(f"failed: {self.failures[-1]}")

    def _second_backups(self, peers: list[Contender]) -> Iterator[Round]:
        """Yield our second backup against our first, then each peer's second against ours."""
        for contender in [OURS, *peers] if self.has_ours else peers:
            with self._going_on(contender), self._setting(contender) as setting:
                run_quietly(contender.work(setting), _environment(setting))
                shutil.copytree(setting.target, self._kept(contender), symlinks=True)
        live_a_day(
            self.source.dsn.with_database(_DATABASE),
            self.tools,
            size_bytes=self.options.size_bytes,
            is_scattered=self.options.is_scattered,
        )
        if self._kept(OURS).exists():
            yield self._pair(
                "second backup", "our first one", OURS, contenders.SECOND_REACH, is_second=True
            )
        for peer in filter(lambda peer: self._kept(peer).exists(), peers):
            with self._going_on(peer):
                yield self._pair("second backup", peer.title, peer, None, is_second=True)

    def _pair(
        self,
        work: str,
        title: str,
        peer: Contender,
        reach: Reach | None,
        *,
        is_second: bool = False,
    ) -> Round:
        """Run a peer and us by turns, each first every other time."""
        is_second_theirs = is_second and peer is not OURS
        is_ours_there = self._kept(OURS).exists() if is_second else self.has_ours
        theirs, ours = self._take_turns(
            f"{work}: {title}",
            lambda: self._run(peer, is_second=is_second_theirs),
            (lambda: self._run(OURS, is_second=is_second)) if is_ours_there else None,
        )
        return Round(work=work, peer=peer.name, title=title, reach=reach, theirs=theirs, ours=ours)

    def _take_turns(
        self,
        title: str,
        run_theirs: Callable[[], Measurement],
        run_ours: Callable[[], Measurement] | None,
    ) -> tuple[tuple[Measurement, ...], tuple[Measurement, ...]]:
        theirs: list[Measurement] = []
        ours: list[Measurement] = []
        turns = [(theirs, run_theirs)]
        if run_ours is not None:
            turns.append((ours, run_ours))
        for number in range(self.options.runs):
            for results, run in turns if number % 2 == 0 else turns[::-1]:
                results.append(run())
            tell(f"{title}: " + ", ours ".join(f"{r[-1].wall_seconds:.2f} s" for r, _ in turns))
        return tuple(theirs), tuple(ours)

    def _run(self, contender: Contender, *, is_second: bool) -> Measurement:
        kept = self._kept(contender) if is_second else None
        with self._setting(contender, kept=kept) as setting:
            return measure(
                contender.work(setting),
                _environment(setting),
                postmaster=self.source.server.pid,
                stage=setting.stage,
                target=setting.target,
            )

    @contextlib.contextmanager
    def _setting(self, contender: Contender, kept: Path | None = None) -> Iterator[Setting]:
        """Yield the directories of one run, prepared; they are always at the same place."""
        parent = Path("/dev/shm") if contender.in_memory else self._directory
        home = parent / f"strongroom-bench-{os.getpid()}-{contender.name}"
        setting = Setting(
            dsn=self.source.dsn.with_database(_DATABASE),
            data_directory=self.source.directory / "data",
            tools=self.tools,
            jobs=self.options.jobs,
            recipient=self._recipient,
            identity=self._identity,
            target=home / "target",
            stage=home / "stage",
            strongroom=_strongroom(),
        )
        try:
            setting.stage.mkdir(parents=True)
            if kept is None:
                setting.target.mkdir()
            else:
                shutil.copytree(kept, setting.target, symlinks=True)
            for path, text in contender.files(setting).items():
                path.write_text(text)
            if kept is None:
                environment = _environment(setting)
                run_quietly(contender.prepare(setting), environment)
            yield setting
        finally:
            self._put_away(home)

    def _put_away(self, home: Path) -> None:
        """Free what a run took, and leave its file names until all is over.

        ext4 without a journal gives no inode out again for a minute after its file was removed,
        and looks at each of them first: the next run would pay for the removal of this one.
        """
        for directory, _, names in os.walk(home):
            for path in (Path(directory, name) for name in names):
                if path.is_file() and not path.is_symlink():
                    path.chmod(0o600)
                    os.truncate(path, 0)
        if home.parent == self._directory:
            home.rename(Path(tempfile.mkdtemp(prefix="spent-", dir=self._directory), home.name))
        else:
            shutil.rmtree(home, ignore_errors=True)

    def _kept(self, contender: Contender) -> Path:
        return self._directory / f"kept-{contender.name}"

    def _restores(self) -> Iterator[Round]:
        """Yield the stock restore of a directory dump against ours, into both kinds of server."""
        with (
            self._setting(OURS) as stored,
            scratch_cluster(self.tools, directory=self._directory) as scratch,
        ):
            environment = _environment(stored)
            run_quietly(_named("directory").work(stored), environment)
            if self.has_restore:
                run_quietly(OURS.work(stored), environment)
            yield self._restore_round(stored, self.source, _INTO_DURABLE, contenders.RESTORE_REACH)
            if self.has_restore:
                yield self._restore_round(stored, scratch, _INTO_SCRATCH, contenders.SCRATCH_REACH)

    def _restore_round(self, stored: Setting, cluster: Cluster, title: str, reach: Reach) -> Round:
        theirs, ours = self._take_turns(
            f"restore: {title}",
            lambda: self._restore(stored, self.source, is_ours=False),
            (lambda: self._restore(stored, cluster, is_ours=True)) if self.has_restore else None,
        )
        return Round(
            work="restore", peer="pg_restore", title=title, reach=reach, theirs=theirs, ours=ours
        )

    def _restore(self, stored: Setting, cluster: Cluster, *, is_ours: bool) -> Measurement:
        setting = dataclasses.replace(stored, dsn=cluster.dsn.with_database("restored"))
        if not is_ours:
            psql(cluster.dsn, self.tools, "CREATE DATABASE restored TEMPLATE template0")
        try:
            work = contenders.our_restore(setting) if is_ours else contenders.pg_restore(setting)
            measured = measure(
                work,
                _environment(setting),
                postmaster=cluster.server.pid,
                stage=setting.stage,
                target=setting.target,
            )
            self._check(setting.dsn)
            return measured
        finally:
            psql(cluster.dsn, self.tools, "DROP DATABASE IF EXISTS restored WITH (FORCE)")

    def _check(self, restored: Dsn) -> None:
        wanted = psql(self.source.dsn.with_database(_DATABASE), self.tools, _LANDMARKS)
        found = psql(restored, self.tools, _LANDMARKS)
        if wanted != found:
            raise BenchmarkError(f"restored {found} rows of {wanted}")


def tell(text: str) -> None:
    """Say what is going on, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _named(name: str) -> Contender:
    return next(contender for contender in BACKUPS if contender.name == name)


def _strongroom() -> str:
    return str(Path(sys.executable).with_name("strongroom"))


def _answers(command: tuple[str, ...]) -> bool:
    try:
        run_quietly((pipeline(command),), {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})
    except (BenchmarkError, OSError):
        return False
    return True


def _environment(setting: Setting) -> dict[str, str]:
    """Return a run's environment: its own home, cache and temporary directory."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(setting.target / "home"),
        "TMPDIR": str(setting.stage),
        "STRONGROOM_CONFIG": str(setting.target / "strongroom.toml"),
        "PGHOST": setting.dsn.host,
        "RESTIC_PASSWORD": "benchmark",
        "BORG_PASSPHRASE": "benchmark",
        "BORG_BASE_DIR": str(setting.target / "borg"),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "PGBACKREST_REPO1_CIPHER_PASS": "benchmark",
    }
