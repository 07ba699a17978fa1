"""`host plan` and `host apply` on real hosts: what differs is named and mended, nothing else."""

from __future__ import annotations

import os
import signal
import subprocess  # noqa: TID251 - a run that is killed
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.crypto.recipients import parse_identities
from deploy import pki
from deploy.core import layout
from deploy.core.pki import Subject, decode_key, encode_certificate, issue
from tests.e2e.documents import ROOT
from tests.lab.repositories import Ended, ended
from tests.lab.sites import INVENTORY, PASSWORDS, Site, admin, spoilt

CONF = "/etc/postgresql/15/main"
EXPORTER = "prometheus-node-exporter"
PATIENCE = 240
TRIES = 4
LOADED = "SELECT pg_conf_load_time(), pg_postmaster_start_time()"
# A deploy of one operation: what no inventory can ask for is given to it all the same.
ACCESS = """
from pyinfra.context import host
from deploy.ops import postgres
from deploy.run import checked_estate, declared_name
server = checked_estate().server(declared_name(host))
postgres.access(name="access rules", server=server, content={content!r})
"""


@pytest.fixture(scope="module")
def declared(site: Site) -> Iterator[Site]:
    """The site. Each test leaves it as declared; the module leaves it as it was."""
    yield site
    site.put_back(["db1"])


def pyinfra(site: Site, *arguments: str | Path) -> Ended:
    """Run pyinfra itself, on db1."""
    program = Path(sys.executable).with_name("pyinfra")
    environment = {"HOME": str(site.files), **site.environment}
    return ended((str(program), "-y", "--limit", "db1", *map(str, arguments)), environment)


def test_applying_twice_changes_nothing(declared: Site) -> None:
    """Every operation on every host finds all as declared."""
    again = declared.json("apply", "--yes", "--no-prove")
    assert again["changes"] == again["findings"] == []
    assert again["operations"]["changed"] == 0
    assert again["operations"]["checked"] > 50


def test_planted_drift_is_named_and_mended(declared: Site) -> None:
    """A trust rule, a superuser, a chmod, an ALTER SYSTEM, an open filter: those and no more.

    And options that an exporter did not read, though they are of the second in which it began.

    A role that nobody declared is a finding: it is told, and left as it is. `apply --dry-run` says
    the same, and does nothing of it, whatever --yes says.
    """
    site = declared
    site.hosts.run(
        "db1",
        f"echo 'host all all 0.0.0.0/0 trust' >>{CONF}/pg_hba.conf;"
        f" chmod 0644 {CONF}/tls/server.key;"
        " nft insert rule inet strongroom input tcp dport 5432 accept;"
        f" began=$(systemctl show -p ActiveEnterTimestamp --value {EXPORTER});"
        f' touch -d "@$(date -d "$began" +%s).999999999" /etc/default/{EXPORTER}',
    )
    admin(site, "ALTER ROLE portal_app SUPERUSER; CREATE ROLE mallory LOGIN")
    admin(site, "ALTER SYSTEM SET log_connections = off")
    planned = site.host_verb("plan", "--limit", "db1", "--json")
    assert planned.code == 2, planned.stderr
    named = {(one["item"], one["observed"]) for one in planned.json["changes"]}
    assert named == {
        (f"{CONF}/pg_hba.conf", "host all all 0.0.0.0/0 trust"),
        (f"{CONF}/tls/server.key", "postgres:postgres 0644"),
        ("packet filter", "not so"),
        ("setting log_connections", "'on' by ALTER SYSTEM"),
        ("configuration of PostgreSQL", "newer on disk"),
        ("role portal_app", "SUPERUSER"),
        (f"unit {EXPORTER}.service", f"/etc/default/{EXPORTER}"),
    }
    assert [one["item"] for one in planned.json["findings"]] == ["role mallory"]
    dry = site.json("apply", "--yes", "--dry-run", "--limit", "db1")
    assert (dry["changes"], dry["proofs"]) == (planned.json["changes"], [])
    assert site.hosts.run("db1", f"stat -c %a {CONF}/tls/server.key").stdout.strip() == "644"
    admin(site, "DROP ROLE mallory")
    site.apply("--limit", "db1")
    assert site.host_verb("plan", "--limit", "db1").code == 0


def test_a_run_that_is_killed_before_the_reload_is_made_up_for(declared: Site) -> None:
    """The next run finds files newer than what the server read, and has it read them once."""
    site = declared
    for _ in range(TRIES):  # it may be quicker than whoever is to kill it
        site.hosts.run("db1", f"echo >>{CONF}/tls/server.crt; pg_ctlcluster 15 main reload")
        was = admin(site, LOADED)
        apply_until_killed(site)
        if admin(site, LOADED) == was:
            break
    assert admin(site, LOADED) == was
    made_up = site.json("apply", "--yes", "--limit", "db1")
    assert [one["item"] for one in made_up["changes"]] == ["configuration of PostgreSQL"]
    reread, still_started = admin(site, LOADED).split("|")
    assert (reread != was.split("|")[0], still_started) == (True, was.split("|")[1])
    assert site.host_verb("plan", "--limit", "db1").code == 0


def apply_until_killed(site: Site) -> None:
    """Apply, and kill it with SIGKILL as soon as the server's certificate has been replaced."""
    wanted = (site.pki / "hosts/db1/server.crt").read_bytes()
    # Looked at from this machine, which is quicker than to ask the host.
    place = site.hosts.hosts["db1"].root / f"{CONF}/tls/server.crt".lstrip("/")
    program = Path(sys.executable).with_name("strongroom")
    argv = (str(program), "host", "apply", "--yes", "--limit", "db1", str(INVENTORY))
    environment = {"HOME": str(site.files), "PATH": os.environ["PATH"], **site.environment}
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        deadline = time.monotonic() + PATIENCE
        while place.read_bytes() != wanted and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)


# What is said (after it: the command or page that helps), and how the inventory is spoilt.
WRONG = {
    "unknown role": (
        "nobody, which is not declared",
        'database_server["roles"][1]["member_of"] = ["nobody"]',
    ),
    "overlapping access rules": (
        "overlaps",
        'database_server["access_rules"].append(dict(database_server["access_rules"][0],'
        ' address=f"{_NET}.0/24", method="cert"))',
    ),
    "a rule that locks the administrator out": (
        "never counts",
        'database_server["access_rules"].insert(0, {"type": "local", "databases": ["all"],'
        ' "roles": ["postgres"], "method": "reject"})',
    ),
    "missing secret": ("passwords/portal_app", 'site["secrets_directory"] += "/elsewhere"'),
    "missing certificate": ("server.crt is missing", 'site["pki_directory"] += "/elsewhere"'),
    "setting of the deploys": (
        "set by the deploys",
        'database_server["settings"]["ssl"] = "off"',
    ),
    "mistyped setting of the daemon": ("repositry", 'backup_host["settings"]["repositry"] = "/x"'),
}


@pytest.mark.parametrize(("expected", "change"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_refused_before_any_host_is_asked(
    site: Site, expected: str, change: str, tmp_path: Path
) -> None:
    """With what to do about it. No host of this inventory answers, so none was asked."""
    nowhere = 'database_servers[0][1]["ssh_hostname"] = "192.0.2.1"'
    path = spoilt(change, tmp_path, hosts=nowhere)
    done = site.operator.strongroom("host", "apply", "--yes", path)
    assert done.code == 1
    assert expected in done.stderr
    assert "hint:" in done.stderr


def test_an_expired_certificate_and_a_wrong_key_are_refused_before_any_host_is_asked(
    site: Site, tmp_path: Path
) -> None:
    """They are named, and so is the command that makes new ones."""
    pair = layout.server_pair(site.pki, "db1")
    client = layout.client_pair(site.pki, "strongroom_backup", "backup1")
    kept, kept_key = pair.certificate.read_bytes(), client.key.read_bytes()
    identities = parse_identities(site.identity.read_text())
    expired = issue(
        pki.open_authorities(site.pki, identities)["server"],
        Subject.server(("db1",)),
        decode_key(pair.key.read_bytes(), str(pair.key)).public_key(),
        now=datetime.now(UTC) - timedelta(days=91),
        lifetime=timedelta(days=90),
    )
    pair.certificate.write_bytes(encode_certificate(expired))
    client.key.write_bytes(pair.key.read_bytes())
    try:
        nowhere = 'database_servers[0][1]["ssh_hostname"] = "192.0.2.1"'
        path = spoilt("", tmp_path, hosts=nowhere)
        done = site.operator.strongroom("host", "apply", "--yes", path)
    finally:
        pair.certificate.write_bytes(kept)
        client.key.write_bytes(kept_key)
    assert done.code == 1
    assert "it ended on " in done.stderr
    assert "the private key beside it is not its own" in done.stderr
    assert "strongroom host pki issue" in done.stderr


def test_an_unknown_limit_is_refused(site: Site) -> None:
    """Pyinfra would do nothing and call it done."""
    done = site.host_verb("apply", "--yes", "--limit", "db7")
    assert done.code == 1
    assert "db7 is no host or group" in done.stderr


def test_a_host_that_cannot_be_reached_ends_it_for_all(declared: Site, tmp_path: Path) -> None:
    """Nothing is done on the others, however much there is to do, and it says which one it was."""
    site = declared
    key = f"{CONF}/tls/server.key"
    site.hosts.run("db1", f"chmod 0640 {key}")
    gone = 'backup_hosts[0][1]["ssh_hostname"] = f"{_NET}.99"'
    path = spoilt("", tmp_path, hosts=gone)
    done = site.operator.strongroom("host", "apply", "--yes", path)
    assert done.code == 1
    assert "backup1 cannot be reached" in done.stderr
    assert "nothing was changed" in done.stderr
    assert site.hosts.run("db1", f"stat -c %a {key}").stdout.strip() == "640"
    site.hosts.run("db1", f"chmod 0600 {key}")


def test_settings_that_no_server_starts_with_are_not_put_there(
    declared: Site, tmp_path: Path
) -> None:
    """The server says so in a trial; it keeps serving, and starts again with what it has."""
    site = declared
    path = f"{CONF}/conf.d/50-strongroom.conf"
    before = site.hosts.read("db1", path)
    wrong = spoilt('database_server["settings"]["work_mem"] = "plenty"', tmp_path)
    done = site.operator.strongroom("host", "apply", "--yes", "--limit", "db1", wrong)
    assert done.code == 1
    assert "would not start with these settings" in done.stderr
    assert 'invalid value for parameter "work_mem"' in done.stderr
    assert site.hosts.read("db1", path) == before
    site.hosts.run("db1", "systemctl restart postgresql@15-main; pg_isready -q -t 60")
    assert admin(site, "SELECT 1") == "1"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("local all all nonsense\n", 'line 1: invalid authentication method "nonsense"'),
        ("local all all reject\n", "lock the administrator out: put back"),
    ],
    ids=["no rule", "lock-out"],
)
def test_access_rules_that_do_not_work_are_put_back(
    declared: Site, content: str, expected: str, tmp_path: Path
) -> None:
    """Whatever the linter let through: the old rules count, for sessions and after a restart."""
    site = declared
    before = site.hosts.read("db1", f"{CONF}/pg_hba.conf")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(ACCESS.format(content=content))
    done = pyinfra(site, INVENTORY, wrong)
    assert done.code != 0
    assert expected in done.stdout + done.stderr
    assert site.hosts.read("db1", f"{CONF}/pg_hba.conf") == before
    assert admin(site, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"
    site.hosts.run("db1", "systemctl restart postgresql@15-main; pg_isready -q -t 60")
    assert admin(site, "SELECT 1") == "1"


def test_no_secret_is_printed_logged_or_left(declared: Site) -> None:
    """With all that pyinfra can print, while a password and a key are set anew.

    Neither them nor the verifier: not in the output, the logs, temporary files or `ps`.
    """
    site = declared
    admin(site, "ALTER ROLE portal_app PASSWORD NULL")
    site.hosts.run("db1", f"rm {CONF}/tls/server.key")
    watch = b"while :; do cat /proc/[0-9]*/cmdline | tr '\\0' ' '; sleep 0.05; done >/run/watched\n"
    site.hosts.write("db1", "/run/watch", watch)
    site.hosts.run("db1", "systemd-run -q --collect --unit=watch bash /run/watch")
    done = pyinfra(site, "-vvv", "--diff", "--debug", INVENTORY, ROOT / "deploy/site.py")
    assert done.code == 0, done.stderr[-2000:]
    run = site.hosts.run
    run("db1", "systemctl stop watch")
    seen = run("db1", "cat /run/watched; rm /run/watched").stdout
    assert "runuser -u postgres -- psql" in seen
    logged = run("db1", "cat /var/log/postgresql/*.log; journalctl -q --no-pager").stdout
    # One or the other may go meanwhile.
    left = run("db1", "find /tmp /var/tmp -type f -exec cat {} + 2>/dev/null; true").stdout
    key = (site.pki / "hosts/db1/server.key").read_text().splitlines()[1]
    stored = admin(site, "SELECT rolpassword FROM pg_authid WHERE rolname = 'portal_app'")
    assert stored.startswith("SCRAM-SHA-256$4096:")
    for text in (done.stdout, done.stderr, seen, logged, left):
        assert not any(password in text for password in PASSWORDS.values())
        assert key not in text
        assert stored.split("$")[2] not in text


def test_a_package_upgrade_drifts_nothing(declared: Site) -> None:
    """PostgreSQL of an older build, and of the newest again: it serves, and all is as declared.

    Where the mirror has one build only, that one is installed anew.
    """
    site = declared
    builds = "apt-cache madison postgresql-15 | awk '{ print $3 }' | sort -u -V"
    known = site.hosts.run("db1", f"apt-get -qq update && {builds}").stdout.split()
    assert known
    started = admin(site, "SELECT pg_postmaster_start_time()")
    for build in (known[0], known[-1]):
        install = (
            "DEBIAN_FRONTEND=noninteractive apt-get -qq -y --allow-downgrades --reinstall install"
            f" postgresql-15={build} postgresql-client-15={build} libpq5 >/dev/null"
        )
        site.hosts.run("db1", f"{install} && runuser -u postgres -- pg_isready -q -t 60")
        runs = admin(site, "SHOW server_version")
        assert build.partition("-")[0] in runs
        assert admin(site, "SELECT pg_postmaster_start_time()") != started
        started = admin(site, "SELECT pg_postmaster_start_time()")
    planned = site.host_verb("plan", "--json")
    assert planned.code == 0, planned.stdout
