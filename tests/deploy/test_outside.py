"""The database host from another host: who has no business there is told so, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.repositories import ended
from tests.lab.sites import (
    PASSWORDS,
    Site,
    admin,
    conninfo,
    eventually,
    psql,
    scraped,
    with_client,
)

APP = PASSWORDS["portal_app"]


@pytest.fixture(scope="module")
def outside(site: Site) -> Site:
    """The site, with an application's host beside it."""
    with_client(site.hosts, "app1", site)
    return site


def test_the_application_comes_in_over_tls_1_3(outside: Site) -> None:
    """With its password, from its own host, by the server's name."""
    sql = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    done = psql(outside.hosts, "app1", conninfo(APP), sql)
    assert done.stdout.strip() == "TLSv1.3", done.stderr


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (conninfo(APP, sslmode="disable"), "pg_hba.conf rejects connection"),
        (conninfo(APP, ssl_max_protocol_version="TLSv1.2"), "protocol version"),
        (conninfo(APP, host="db2", hostaddr="@"), 'does not match host name "db2"'),
        (conninfo(APP, sslrootcert="/etc/client-ca.crt"), "certificate verify failed"),
        (conninfo(APP, user="postgres", dbname="postgres"), "pg_hba.conf rejects connection"),
        (conninfo(APP, user="postgres"), "pg_hba.conf rejects connection"),
        (conninfo(APP, user="strongroom_backup"), "pg_hba.conf rejects connection"),
        (conninfo(APP, dbname="postgres"), "pg_hba.conf rejects connection"),
        (conninfo("guessed"), "password authentication failed"),
        (conninfo(None), "no password supplied"),
    ],
    ids=[
        *("plaintext", "TLS 1.2", "wrong host name", "wrong CA", "remote superuser"),
        *("superuser in the portal", "backup role elsewhere", "other database"),
        *("wrong password", "no password"),
    ],
)
def test_nobody_else_comes_in(outside: Site, connection: str, message: str) -> None:
    """Each attempt fails, with the message of whoever refuses it."""
    address = outside.hosts.address_of("db1")
    done = psql(outside.hosts, "app1", connection.replace("hostaddr=@", f"hostaddr={address}"))
    assert done.code == 2
    assert message in done.stderr


def test_exporters_answer_the_monitoring_and_nobody_else(outside: Site, tmp_path: Path) -> None:
    """Hosts, PostgreSQL and the daemon are watched, by a role that reads no table; with rules."""
    hosts = outside.hosts
    told = {
        ("db1", 9100): 'strongroom_host_certificate_expiry_timestamp_seconds{certificate="server',
        ("db1", 9187): "pg_up 1",
        ("backup1", 9100): 'expiry_timestamp_seconds{certificate="client strongroom_backup"}',
        ("backup1", 9188): "strongroom_expiry_timestamp_seconds{",
    }
    for (name, port), line in told.items():
        eventually(lambda name=name, port=port, line=line: line in scraped(outside, name, port))  # type: ignore[misc]
    knock = "timeout 6 bash -c 'exec 3<>/dev/tcp/{0}/{1}' 2>/dev/null && echo {0} {1} &"
    tried = "".join(knock.format(*place) for place in (*told, ("db1", 5432)))
    assert hosts.run("app1", f"{tried} wait").stdout.split() == ["db1", "5432"]
    groups = "SELECT roleid::regrole FROM pg_auth_members WHERE member = 'prometheus'::regrole"
    assert admin(outside, groups) == "pg_monitor"
    for name in ("strongroom.rules.yml", "hosts.rules.yml"):
        (tmp_path / name).write_bytes(hosts.read("backup1", f"/etc/strongroom/{name}"))
        checked = ended(("promtool", "check", "rules", str(tmp_path / name)))
        assert checked.code == 0, checked.stdout + checked.stderr


def test_the_backup_role_needs_its_certificate(outside: Site) -> None:
    """From the backup host itself: none, another role's, and one of another CA are refused."""
    hosts = outside.hosts
    with_client(hosts, "backup1", outside)
    outside.issue("--client", "portal_app@backup1")
    clients = outside.pki / "clients"
    for name in ("strongroom_backup", "portal_app"):
        for suffix, mode in (("crt", 0o644), ("key", 0o600)):
            content = (clients / f"{name}@backup1.{suffix}").read_bytes()
            hosts.write("backup1", f"/root/{name}.{suffix}", content, mode=mode)
    server = outside.pki / "hosts/db1"
    for suffix in ("crt", "key"):
        content = (server / f"server.{suffix}").read_bytes()
        hosts.write("backup1", f"/root/server.{suffix}", content, mode=0o600)

    def attempt(name: str) -> str:
        given = {"sslcert": f"/root/{name}.crt", "sslkey": f"/root/{name}.key"}
        done = psql(hosts, "backup1", conninfo(None, user="strongroom_backup", **given))
        return done.stdout.strip() if done.code == 0 else done.stderr

    assert attempt("strongroom_backup") == "1"
    assert "requires a valid client certificate" in attempt("none")
    assert "certificate authentication failed" in attempt("portal_app")
    assert "unknown ca" in attempt("server")
    hosts.run("backup1", "rm /root/*.key /root/*.crt /etc/server-ca.crt /etc/client-ca.crt")
    for left in clients.glob("portal_app@backup1.*"):
        left.unlink()
