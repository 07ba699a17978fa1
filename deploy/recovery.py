"""`host recover`: a bare machine becomes the database host again, with the newest backup in it.

The backup host restores over TLS, by a client certificate that is good for a day, as a role that
exists on the new server only while this runs. Its daemon rests meanwhile: a backup of the empty
database would be the newest one.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

from backup.errors import NotFoundError, PostgresError, SettingsError, StrongroomError
from deploy.core import queries
from deploy.core.backuphost import KEYS
from deploy.core.model import BackupHost, DatabaseServer
from deploy.core.pki import (
    Authority,
    Subject,
    encode_certificate,
    encode_key,
    issue,
    new_key,
)
from deploy.core.recoveryreport import RecoveredDatabase, Step
from deploy.core.sql import ident
from deploy.core.types import ADMINISTRATOR
from deploy.proving import NO_TABLE
from deploy.remote import Remote, strongroom
from deploy.reviewing import ask

ROLE: Final = "strongroom_recovery"
_PLACE: Final = "/run/strongroom-recovery"
_LIFETIME: Final = timedelta(days=1)
_LONG: Final = timedelta(days=2)
# Systemd starts the unit again after ten seconds. What kept it from starting once, as was seen on a
# busy machine, is in its journal, and no reason to call a recovery failed.
_START_DAEMON: Final = """
unit=strongroom-daemon.service
systemctl start $unit || { sleep 15 && systemctl start $unit; } || {
  journalctl --no-pager --lines=5 --output=cat --unit=$unit >&2
  exit 1
}
"""
# What the role owns that is neither an extension nor of one: nothing, after a whole restore.
_OWNED: Final = (
    "SELECT json_agg(s.classid::regclass::text) FROM pg_shdepend s WHERE deptype = 'o' AND"
    " refclassid = 'pg_authid'::regclass AND refobjid = '@role@'::regrole AND dbid IN (0, (SELECT"
    " oid FROM pg_database WHERE datname = current_database())) AND classid <>"
    " 'pg_extension'::regclass AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid ="
    " s.classid AND d.objid = s.objid AND d.deptype = 'e')"
).replace("@role@", ROLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The backup that a database comes back from; `is_named`: a person named it."""

    database: str
    backup_id: str
    snapshot_time: str
    is_named: bool = False


@dataclass(slots=True, kw_only=True)
class Clock:
    """Notes how long each step took."""

    now: Callable[[], datetime]
    tell: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done in the block, if it comes to its end."""
        self.tell(name)
        started = self.now()
        yield
        took = self.now() - started
        self.steps.append(
            Step(name=name, started=started, duration_ms=round(took.total_seconds() * 1000))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The two hosts, how to reach them, and how to make the first what is declared."""

    server: DatabaseServer
    backup_host: BackupHost
    on_server: Remote
    on_backup_host: Remote
    apply: Callable[[], object]
    clock: Clock

    def choose(self, databases: Sequence[str], backup_id: str | None) -> tuple[Chosen, ...]:
        """Return the backup of each database: the newest signed one, or the one that was named.

        Raises `NotFoundError` if there is none.
        """
        found = []
        for database in databases:
            listed = json.loads(
                self._strongroom(f"list --json --database {shlex.quote(database)}", ok=(0, 3))
            )
            good = [
                one
                for one in listed
                if one["status"] == "signed" and backup_id in {None, one["backup_id"]}
            ]
            if not good:
                raise NotFoundError(
                    f"there is no backup of {database} to recover from on"
                    f" {self.backup_host.host.name}",
                    hint="strongroom list on the backup host; --backup names another",
                )
            newest = good[-1]
            found.append(
                Chosen(
                    database=database,
                    backup_id=newest["backup_id"],
                    snapshot_time=newest["snapshot_time"],
                    is_named=backup_id is not None,
                )
            )
        return tuple(found)

    def run(self, chosen: Sequence[Chosen], authority: Authority) -> tuple[RecoveredDatabase, ...]:
        """Do it. Raises `StrongroomError`; then the daemon still rests, and no key is left."""
        there = self._databases()
        self._require_empty([one for one in chosen if one.database in there])
        with self.clock.step("daemon of the backup host stopped"):
            self.on_backup_host.run("systemctl stop strongroom-daemon.service")
        with ThreadPoolExecutor(max_workers=1) as pool:
            testing = pool.submit(self._test, chosen)
            with self.clock.step("host made as declared"):
                self.apply()
            tested = testing.result()
        self._require_empty(chosen)
        with self._way_in(authority):
            restored = [self._restore(one) for one in chosen]
        with self.clock.step("databases put in their places"):
            for one in chosen:
                self._swap(one.database)
            self._forget_role([one.database for one in chosen])
        with self.clock.step("rights as declared"):
            self.apply()
        with self.clock.step("daemon of the backup host started"):
            self.on_backup_host.run(_START_DAEMON)
        return _recovered(chosen, tested, restored)

    def beside(
        self, chosen: Sequence[Chosen], authority: Authority
    ) -> tuple[RecoveredDatabase, ...]:
        """Restore beside the databases of a server that runs, as `NAME_recovered`.

        Nothing that is there is touched, and the daemon goes on. Raises `SettingsError` if there is
        one of that name already.
        """
        there = self._databases()
        for one in chosen:
            if beside(one.database) in there:
                raise SettingsError(
                    f"database {beside(one.database)} is there already, from an earlier restore",
                    hint=f"if nobody needs it: DROP DATABASE {ident(beside(one.database))}",
                )
        tested = self._test(chosen)
        with self._way_in(authority):
            restored = [self._restore(one) for one in chosen]
        with self.clock.step("way in closed"):
            self._forget_role([beside(one.database) for one in chosen])
        return _recovered(chosen, tested, restored)

    def _test(self, chosen: Sequence[Chosen]) -> list[dict[str, Any]]:
        """Restore-test each backup on the backup host; anything but PASS ends it all.

        But for one of a database without a table: it restored, and there was no row to compare. It
        is taken only if no older one is proven, or if a person named it: whoever lost everything
        before the newest backup wants the one before that.
        """
        found = []
        for one in chosen:
            with self.clock.step(f"restore test of {one.backup_id}"):
                words = f"restore-test {one.backup_id} --database {shlex.quote(one.database)}"
                tested = json.loads(self._strongroom(f"{words} --json", ok=(0, 1, 2)))
            if tested["word"] != "PASS" and tested["codes"] != [NO_TABLE]:
                raise StrongroomError(
                    f"backup {one.backup_id} of {one.database} did not pass its restore test:"
                    f" {tested['verdict']}; nothing was restored",
                    hint="strongroom list on the backup host; --backup names an older one",
                )
            if tested["codes"] == [NO_TABLE] and not one.is_named:
                self._require_nothing_proven(one)
            found.append(tested)
        return found

    def _require_nothing_proven(self, one: Chosen) -> None:
        status = json.loads(self._strongroom("status --json", ok=(0, 1, 2)))
        (known,) = (each for each in status["databases"] if each["database"] == one.database)
        if proven := known["proven_backup_id"]:
            raise StrongroomError(
                f"the newest backup of {one.database}, {one.backup_id}, has no table, and {proven},"
                " which passed its restore test, has: nothing was restored",
                hint=f"--database {one.database} --backup {proven}; or name the empty one so",
            )

    def _databases(self) -> list[str]:
        """Return the databases of a server that runs; none of a bare machine."""
        text = self.on_server.run(
            "cd /; command -v psql >/dev/null || exit 0;"
            f" runuser -u postgres -- psql -XAtqlp {self.server.port} 2>/dev/null | cut -d '|' -f 1"
        )
        return text.decode().splitlines()

    def _require_empty(self, chosen: Sequence[Chosen]) -> None:
        for one in chosen:
            if filled := ask(self.on_server, self.server, one.database, queries.TABLES):
                raise SettingsError(
                    f"database {one.database} on {self.server.host.name} holds {filled[0]}: only"
                    " an empty one is replaced",
                    hint="docs/runbooks/restore-at-0300.md restores beside one that is there",
                )

    @contextlib.contextmanager
    def _way_in(self, authority: Authority) -> Iterator[None]:
        """Let the backup host in as a superuser, while the block lasts."""
        host = self.backup_host.host
        address = f"{host.address}/{host.address.max_prefixlen}"
        hba = f"{self.server.configuration_directory}/pg_hba.conf"
        key = new_key()
        certificate = issue(
            authority,
            Subject.client(ROLE, host.name),
            key.public_key(),
            now=self.clock.now(),
            lifetime=_LIFETIME,
        )
        user = self.backup_host.user
        try:
            self.on_backup_host.run(
                f"set -eu; umask 077; install -d -m 700 -o {user} -g {user} {_PLACE}\n"
                f"echo {_base64(encode_certificate(certificate))} | base64 -d >{_PLACE}/crt\n"
                f"base64 -d >{_PLACE}/key <<'KEY'\n{_base64(encode_key(key))}\nKEY\n"
                f"chown {user}:{user} {_PLACE}/*"
            )
            # It is there already if an earlier run was killed.
            self._sql(
                "postgres",
                f"SELECT 'CREATE ROLE {ROLE}' WHERE to_regrole('{ROLE}') IS NULL \\gexec\n"
                f"ALTER ROLE {ROLE} LOGIN SUPERUSER",
            )
            self.on_server.run(
                f"set -eu; sed -i '1i hostssl all {ROLE} {address} cert' {shlex.quote(hba)}\n"
                f"runuser -u postgres -- psql -XAtqp {self.server.port} -c"
                " 'SELECT pg_reload_conf()'"
            )
            yield
        finally:
            self.on_backup_host.run(f"rm -rf {_PLACE}")
            self.on_server.run(
                f"sed -i '/^hostssl all {ROLE} /d' {shlex.quote(hba)}; cd /;"
                f" runuser -u postgres -- psql -XAtqp {self.server.port}"
                f" -c 'ALTER ROLE {ROLE} NOLOGIN NOSUPERUSER' -c 'SELECT pg_reload_conf()'"
            )

    def _restore(self, one: Chosen) -> dict[str, Any]:
        options = urlencode(
            {
                "sslmode": "verify-full",
                "sslrootcert": f"{KEYS}/server-ca.crt",
                "sslcert": f"{_PLACE}/crt",
                "sslkey": f"{_PLACE}/key",
                "ssl_min_protocol_version": "TLSv1.3",
            },
            safe="/",
        )
        place = f"{self.server.host.name}:{self.server.port}/{quote(beside(one.database))}"
        words = (
            *("restore", one.backup_id, "--database", one.database, "--yes", "--json"),
            *("--to", f"postgresql://{ROLE}@{place}?{options}"),
        )
        with self.clock.step(f"restore of {one.database}"):
            unfinished = ident(beside(one.database))
            self._sql("postgres", f"DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")
            done: dict[str, Any] = json.loads(self._strongroom(shlex.join(words)))
        return done

    def _swap(self, database: str) -> None:
        self._sql(
            "postgres",
            f"DROP DATABASE {ident(database)} WITH (FORCE);"
            f" ALTER DATABASE {ident(beside(database))} RENAME TO {ident(database)}",
        )
        self._sql(database, "ANALYZE")

    def _forget_role(self, databases: Sequence[str]) -> None:
        """Drop the role; what it still owned would be a restore that is not whole."""
        for database in ("postgres", *databases):
            if owned := ask(self.on_server, self.server, database, _OWNED):
                raise PostgresError(f"{ROLE} owns {owned[0]} in {database} after the restore")
            # An extension has no owner in a backup: whoever restores it has it (pg_dump).
            self._sql(
                database,
                f"REASSIGN OWNED BY {ROLE} TO {ADMINISTRATOR}; DROP OWNED BY {ROLE}",
            )
        self._sql("postgres", f"DROP ROLE {ROLE}")

    def _sql(self, database: str, text: str) -> None:
        statements = "".join(f"{one.strip()};\n" for one in text.split("; "))
        self.on_server.run(
            f"cd /; echo {_base64(statements.encode())} | base64 -d | runuser -u postgres --"
            f" psql -XAtqp {self.server.port} -v ON_ERROR_STOP=1 -d {shlex.quote(database)} -f -",
            timeout=_LONG,
        )

    def _strongroom(self, words: str, *, ok: tuple[int, ...] = (0,)) -> str:
        """Return what `strongroom` says on the backup host. Raises `StrongroomError`."""
        return strongroom(self.on_backup_host, words, ok=ok, timeout=_LONG)[0]


def beside(database: str) -> str:
    """Return the name that a database is restored under."""
    return f"{database}_recovered"


def _recovered(
    chosen: Sequence[Chosen],
    tested: Sequence[Mapping[str, Any]],
    restored: Sequence[Mapping[str, Any]],
) -> tuple[RecoveredDatabase, ...]:
    return tuple(
        RecoveredDatabase(
            database=one.database,
            backup_id=one.backup_id,
            snapshot_time=one.snapshot_time,
            restore_test=str(test["verdict"]),
            restore_test_report=test.get("report_id"),
            tables=done["tables"],
            rows=done["rows"],
            created_roles=tuple(done["created_roles"]),
        )
        for one, test, done in zip(chosen, tested, restored, strict=True)
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
