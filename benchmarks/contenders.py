"""Who is measured: a table of values, each a name, what it needs, and its command lines.

The command lines are what the peers' own manuals say for this work; where a product is a
sequence of programs (`pg_back`), the sequence stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backup.postgres.dsn import Dsn
from backup.postgres.tools import Tools
from benchmarks.measure import Pipeline, pipeline

Work = Literal["backup", "second backup", "restore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run is given: where the database is, and where it may write."""

    dsn: Dsn
    data_directory: Path
    tools: Tools
    jobs: int
    recipient: str
    identity: Path
    target: Path
    stage: Path
    strongroom: str

    @property
    def dbname(self) -> str:
        """Option of the PostgreSQL client programs."""
        return f"--dbname={self.dsn.conninfo()}"

    @property
    def url(self) -> str:
        """The database as a URL; servers here are reached by a socket, without a password."""
        return f"postgresql:///{self.dsn.database}?host={self.dsn.host}&user={self.dsn.user}"

    def program(self, name: str) -> str:
        """Return the path of a program of the server's own version."""
        return self.tools.program(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A number to reach: our time is at most `most` times theirs, or `least` times faster."""

    most: float | None = None
    least: float | None = None

    def __str__(self) -> str:
        if self.most is not None:
            return f"≤ {self.most:g} of its time"
        return f"≥ {self.least:g} times faster"


def nothing(_: Setting) -> tuple[Pipeline, ...]:
    """Return no work."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to do the work. `prepare` is not measured; `needs` are programs on PATH.

    `in_memory`: it writes to /dev/shm. `keeps`: a second backup builds on the first.
    """

    name: str
    title: str
    work: Callable[[Setting], tuple[Pipeline, ...]]
    prepare: Callable[[Setting], tuple[Pipeline, ...]] = nothing
    files: Callable[[Setting], dict[Path, str]] = lambda _: {}
    needs: tuple[str, ...] = ()
    reach: Reach | None = None
    in_memory: bool = False
    keeps: bool = False


def _ours(s: Setting, *words: str) -> Pipeline:
    where = ("--repository", str(s.target / "repository"))
    return pipeline((s.strongroom, *words, *where, "--state-directory", str(s.target / "state")))


OURS = Contender(
    name="strongroom",
    title="strongroom backup",
    prepare=lambda s: (_ours(s, "init", "--recipient", s.recipient),),
    work=lambda s: (
        # Digests prove a restore, as no peer does, and cost about another dump: left out here.
        _ours(s, "backup", "--no-digests", "--dsn", s.url, "--jobs", str(s.jobs)),
    ),
    keeps=True,
)


def _dump(s: Setting, *options: str) -> tuple[str, ...]:
    return (s.program("pg_dump"), *options, s.dbname)


def _age(s: Setting, *arguments: str) -> tuple[str, ...]:
    return ("age", "--recipient", s.recipient, *arguments)


def _dump_then_age(s: Setting) -> tuple[Pipeline, ...]:
    plain = s.stage / "db.dump"
    return (
        pipeline(_dump(s, "-Fc", f"--file={plain}")),
        pipeline(_age(s, "--output", str(s.target / "db.dump.age"), str(plain))),
        pipeline(("rm", str(plain))),
    )


def _pg_back(s: Setting) -> tuple[Pipeline, ...]:
    plain = s.stage / "db.dump"
    roles = s.stage / "globals.sql"
    encrypted = tuple(
        pipeline(_age(s, "--output", str(s.target / f"{path.name}.age"), str(path)))
        for path in (roles, plain)
    )
    dumpall = (s.program("pg_dumpall"), "--globals-only", f"--file={roles}", s.dbname)
    return (
        pipeline(dumpall),
        pipeline(_dump(s, "-Fc", f"--file={plain}")),
        pipeline(("sha256sum", str(plain)), output=s.target / "db.dump.sha256"),
        *encrypted,
        pipeline(("rm", str(plain), str(roles))),
    )


def _compressed(level: int) -> Callable[[Setting], tuple[Pipeline, ...]]:
    return lambda s: (
        pipeline(
            _dump(s, "-Fc", "-Z0"),
            ("zstd", "-q", "-T0", f"-{level}"),
            _age(s),
            output=s.target / "db.dump.zst.age",
        ),
    )


def _restic(s: Setting, *words: str) -> tuple[str, ...]:
    return ("restic", "--quiet", "--repo", str(s.target / "repository"), *words)


def _borgmatic(s: Setting, *words: str) -> tuple[Pipeline, ...]:
    settings = str(s.target / "borgmatic.yaml")
    return (pipeline(("borgmatic", "--config", settings, "--verbosity", "-1", *words)),)


def _borgmatic_settings(s: Setting) -> dict[Path, str]:
    # The host comes by PGHOST: borgmatic makes a file's name of a `hostname`, a socket's too.
    return {
        s.target / "borgmatic.yaml": f"""\
repositories:
    - path: {s.target / "repository"}
encryption_passphrase: benchmark
compression: zstd
borg_base_directory: {s.target / "borg"}
postgresql_databases:
    - name: {s.dsn.database}
      username: {s.dsn.user}
      format: custom
      options: -Z0
      pg_dump_command: {s.program("pg_dump")}
      psql_command: {s.program("psql")}
"""
    }


def _pgbackrest(s: Setting, *words: str) -> Pipeline:
    return pipeline(
        (
            "pgbackrest",
            *("--stanza=main", "--log-level-console=error", "--log-level-file=off"),
            *(f"--pg1-path={s.data_directory}", f"--pg1-socket-path={s.dsn.host}"),
            *(f"--pg1-user={s.dsn.user}", f"--repo1-path={s.target / 'repository'}"),
            *("--repo1-cipher-type=aes-256-cbc", f"--lock-path={s.target / 'lock'}"),
            *words,
        )
    )


BACKUPS = (
    Contender(
        name="floor-two",
        title="floor: pg_dump -Fd -j2 -Z0 into memory",
        work=lambda s: (
            pipeline(_dump(s, "-Fd", f"-j{s.jobs}", "-Z0", f"--file={s.target / 'dump'}")),
        ),
        reach=Reach(most=1.4),
        in_memory=True,
    ),
    Contender(
        name="floor-one",
        title="floor: pg_dump -Fc -Z0 > /dev/null",
        work=lambda s: (pipeline(_dump(s, "-Fc", "-Z0")),),
        reach=Reach(most=0.85),
    ),
    Contender(
        name="gzip-age",
        title="pg_dump -Fc, then age",
        work=_dump_then_age,
        needs=("age",),
        reach=Reach(least=5.5),
    ),
    Contender(
        name="pg_back",
        title="pg_back's sequence: dump, checksum, encrypt",
        work=_pg_back,
        needs=("age", "sha256sum"),
        reach=Reach(least=4.5),
    ),
    Contender(
        name="directory",
        title="pg_dump -Fd -j2, not encrypted",
        work=lambda s: (pipeline(_dump(s, "-Fd", f"-j{s.jobs}", f"--file={s.target / 'dump'}")),),
        reach=Reach(least=3.5),
    ),
    Contender(
        name="restic",
        title="pg_dump -Fc -Z0 | restic",
        needs=("restic",),
        prepare=lambda s: (pipeline(_restic(s, "init")),),
        work=lambda s: (
            pipeline(
                _dump(s, "-Fc", "-Z0"),
                _restic(s, "backup", "--stdin", "--stdin-filename", "db.dump"),
            ),
        ),
        reach=Reach(least=2.6),
        keeps=True,
    ),
    Contender(
        name="borgmatic",
        title="borgmatic: pg_dump hook, zstd, encrypted",
        needs=("borgmatic", "borg"),
        files=_borgmatic_settings,
        prepare=lambda s: _borgmatic(s, "repo-create", "--encryption", "repokey-blake2"),
        work=lambda s: _borgmatic(s, "create"),
        reach=Reach(least=1.8),
        keeps=True,
    ),
    Contender(
        name="zstd3-age",
        title="pg_dump -Fc -Z0 | zstd -T0 -3 | age",
        needs=("zstd", "age"),
        work=_compressed(3),
        reach=Reach(least=1.4),
    ),
    Contender(
        name="zstd1-age",
        title="pg_dump -Fc -Z0 | zstd -T0 -1 | age",
        needs=("zstd", "age"),
        work=_compressed(1),
        reach=Reach(least=1.1),
    ),
    Contender(
        name="pgbackrest",
        title="pgBackRest: physical, full, zst, encrypted",
        needs=("pgbackrest",),
        prepare=lambda s: (_pgbackrest(s, "stanza-create"),),
        work=lambda s: (
            _pgbackrest(
                s,
                *("backup", "--type=full", "--no-archive-check", "--compress-type=zst"),
                *(f"--process-max={s.jobs}", "--start-fast", "--repo1-retention-full=9"),
            ),
        ),
        reach=Reach(most=1.3),
    ),
)

SECOND_REACH = Reach(most=0.75)
SECOND_STORED = 0.12
RESTORE_REACH = Reach(most=1.0)
SCRATCH_REACH = Reach(most=0.75)


def pg_restore(s: Setting) -> tuple[Pipeline, ...]:
    """Restore an unencrypted directory dump with stock tools into the database of `s`."""
    options = ("--exit-on-error", f"-j{s.jobs}", s.dbname, str(s.target / "dump"))
    return (pipeline((s.program("pg_restore"), *options)),)


def our_restore(s: Setting) -> tuple[Pipeline, ...]:
    """Restore the newest backup into the database of `s`, which does not exist yet."""
    words = ("restore", "latest", "--identity", str(s.identity), "--to", s.url)
    return (_ours(s, *words, "--jobs", str(s.jobs)),)
