"""A whole site on test hosts: the operator's machine with its files, and `inventories/lab.py`."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backup.crypto.sshkey import SigningKey
from backup.crypto.x25519 import X25519Identity
from tests.e2e.documents import ROOT
from tests.lab.hosts import Lab
from tests.lab.repositories import Ended, Host

_DEADLINE_SECONDS = 180
INVENTORY = ROOT / "inventories/lab.py"
# Canaries: they must show up nowhere but on the operator's machine.
PASSWORDS = {"portal_app": "canary-of-portal-app", "portal_migrate": "canary-of-portal-migrate"}

# Row security, a large object, a sequence, a view: what a dump may lose.
PORTAL = """
SET ROLE portal_owner;
CREATE TABLE portal.clients (id bigserial PRIMARY KEY, name text NOT NULL, secret text);
INSERT INTO portal.clients (name, secret)
  SELECT 'client ' || n, md5(n::text) FROM generate_series(1, 20000) n;
CREATE TABLE portal.notes (client bigint REFERENCES portal.clients, note text);
INSERT INTO portal.notes SELECT id, repeat('x', 100) FROM portal.clients;
ALTER TABLE portal.clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal.notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT lo_from_bytea(4711, 'a document');
CREATE POLICY own ON portal.clients FOR SELECT TO portal_app USING (id % 2 = 0);
CREATE VIEW portal.names AS SELECT name FROM portal.clients;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The operator's files, and the hosts that the inventory names."""

    hosts: Lab
    files: Path
    inventory: Path = INVENTORY
    # What was said when bare hosts became the site.
    first_apply: list[Ended] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What the inventory reads: where the hosts are, and the operator's files."""
        return {
            "STRONGROOM_LAB": f"10.77.{self.hosts.number}",
            "STRONGROOM_LAB_DIRECTORY": str(self.hosts.directory),
            "STRONGROOM_LAB_FILES": str(self.files),
            "STRONGROOM_LAB_RECIPIENT": (self.files / "restore-test.pub").read_text().strip(),
        }

    @property
    def operator(self) -> Host:
        """The operator's machine."""
        return Host(home=self.files, environment=self.environment, has_settings=False)

    @property
    def pki(self) -> Path:
        """The certificates."""
        return self.files / "pki"

    @property
    def identity(self) -> Path:
        """What opens the CA keys."""
        return self.files / "identity.txt"

    def host_verb(self, verb: str, *arguments: str | Path) -> Ended:
        """Run `strongroom host VERB` on the site's inventory."""
        verbs = verb.split()
        return self.operator.strongroom("host", *verbs, self.inventory, *arguments)

    def json(self, verb: str, *arguments: str | Path) -> Any:
        """What a verb prints with --json, whatever its exit code is."""
        done = self.host_verb(verb, *arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def issue(self, *arguments: str) -> None:
        """Issue what is due."""
        done = self.host_verb("pki issue", "-i", self.identity, *arguments)
        assert done.code == 0, done.stderr

    def apply(self, *arguments: str) -> Ended:
        """Make the hosts what the inventory says."""
        done = self.host_verb("apply", "--yes", *arguments)
        assert done.code == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    def keep(self) -> None:
        """Keep the hosts' disks and the operator's files as they are now, for `put_back`."""
        for name in self.hosts.hosts:
            self.hosts.keep(name)
        shutil.copytree(self.files, self._kept)

    def put_back(self, names: Sequence[str]) -> None:
        """Make the disks of these hosts, and the operator's files, what they were when kept."""
        for name in names:
            self.hosts.put_back(name)
        shutil.rmtree(self.files)
        shutil.copytree(self._kept, self.files)

    @property
    def _kept(self) -> Path:
        return self.files.with_name(f"{self.files.name}.kept")


def new_site(hosts: Lab, files: Path, *, inventory: Path = INVENTORY, python: str = "3.11") -> Site:
    """Return a site whose operator has keys, certificates and passwords, and bare hosts."""
    site = Site(hosts=hosts, files=files, inventory=inventory)
    files.chmod(0o700)
    identity = X25519Identity.generate()
    site.identity.write_text(f"{identity.text}\n")
    (files / "recipients.txt").write_text(f"{identity.recipient.text}\n")
    key = SigningKey.generate("auditor@lab")
    for name, text in (("audit.key", key.text), ("audit.key.pub", f"{key.public_key.line}\n")):
        (files / name).write_text(text)
        (files / name).chmod(0o600)
    restore_test = X25519Identity.generate()
    (files / "restore-test.pub").write_text(f"{restore_test.recipient.text}\n")
    credentials = files / "secrets/credentials"
    credentials.mkdir(parents=True, mode=0o700)
    (credentials / "restore-test-identity").write_text(f"{restore_test.text}\n")
    (credentials / "restore-test-identity").chmod(0o600)
    passwords = files / "secrets/passwords"
    passwords.mkdir(parents=True, mode=0o700)
    passwords.parent.chmod(0o700)
    for role, password in PASSWORDS.items():
        (passwords / role).write_text(f"{password}\n")
        (passwords / role).chmod(0o600)
    for verb, *arguments in (
        ("pki init", "-R", files / "recipients.txt"),
        ("wheels", "--python", python),
    ):
        done = site.host_verb(str(verb), *arguments)
        assert done.code == 0, done.stderr
    site.issue()
    return site


def with_client(hosts: Lab, name: str, site: Site) -> None:
    """Give a host what an application needs: psql, and the CA of the servers."""
    hosts.boot([name])
    hosts.run(name, "command -v psql || apt-get -qq -y install postgresql-client-15 >/dev/null")
    hosts.write(name, "/etc/server-ca.crt", (site.pki / "server-ca.crt").read_bytes())
    hosts.write(name, "/etc/client-ca.crt", (site.pki / "client-ca.crt").read_bytes())


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def passes_every_check(site: Site, *names: str) -> None:
    """Wait until `host verify` finds nothing wrong: what came up just now needs a moment.

    Of these hosts, or of all.
    """
    arguments = [argument for name in names for argument in ("--host", name)]
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while found := failed_checks(site, *arguments):
        assert time.monotonic() < deadline, found


def failed_checks(site: Site, *arguments: str) -> dict[tuple[str, str], str]:
    """What `host verify` finds wrong, by host and check, with what was observed."""
    found = site.json("verify", *arguments)["checks"]
    expected = set(arguments[1::2]) or set(site.hosts.hosts) - {"app1"}
    assert {one["host"] for one in found} == expected
    return {(one["host"], one["id"]): one["observed"] for one in found if not one["passed"]}


def scraped(site: Site, name: str, port: int) -> str:
    """What a host tells Prometheus; nothing while it has nothing to tell."""
    url = f"http://{site.hosts.address_of(name)}:{port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        return ""


def conninfo(password: str | None, **changes: str) -> str:
    """How an application connects, but for what is changed."""
    options = {
        "host": "db1",
        "dbname": "portal",
        "user": "portal_app",
        "sslmode": "verify-full",
        "sslrootcert": "/etc/server-ca.crt",
        "connect_timeout": "10",
    } | changes
    secret = "" if password is None else f"password={password} "
    return secret + " ".join(f"{name}={value}" for name, value in options.items())


def psql(hosts: Lab, name: str, connection: str, sql: str = "SELECT 1") -> Ended:
    """Connect from a host."""
    return hosts.run(
        name, f'psql -XAtw "$(cat)" -c "{sql}"', stdin=connection.encode(), check=False
    )


def admin(site: Site, sql: str, database: str = "postgres") -> str:
    """What the server on db1 answers its administrator."""
    command = f"cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d {database} -f -"
    return site.hosts.run("db1", command, stdin=sql.encode()).stdout.strip()


def spoilt(change: str, directory: Path, *, hosts: str = "") -> Path:
    """Return a copy of the lab's inventory, with statements after its data that spoil it."""
    folder = directory / "inventories"
    (folder / "group_data").mkdir(parents=True)
    text = INVENTORY.read_text(encoding="utf-8")
    (folder / "spoilt.py").write_text(f"{text}\n{hosts}\n")
    shared = INVENTORY.with_name("group_data") / INVENTORY.name
    text = shared.read_text(encoding="utf-8")
    (folder / "group_data/spoilt.py").write_text(f"{text}\n{change}\n")
    return folder / "spoilt.py"
