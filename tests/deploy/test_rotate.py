"""New certificates and passwords reach the hosts; who is connected stays connected."""

from __future__ import annotations

import time

import pytest

from tests.lab.repositories import Ended
from tests.lab.sites import PASSWORDS, Site, conninfo, psql, with_client

SERVED = (
    "openssl s_client -starttls postgres -connect db1:5432 </dev/null 2>/dev/null"
    " | openssl x509 -noout -serial"
)
SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'sleeper'"


@pytest.fixture
def connected(fresh_db1: Site) -> Site:
    """The site, with a session from the application's host that goes on."""
    with_client(fresh_db1.hosts, "app1", fresh_db1)
    secret = (fresh_db1.files / "secrets/passwords/portal_app").read_text().strip()
    fresh_db1.hosts.write("app1", "/root/conninfo", conninfo(secret).encode(), mode=0o600)
    fresh_db1.hosts.run(
        "app1",
        "systemctl stop sleeper 2>/dev/null; systemctl reset-failed sleeper 2>/dev/null;"
        " systemd-run -q --collect --unit=sleeper bash -c"
        ' \'PGAPPNAME=sleeper exec psql -XAtw "$(cat /root/conninfo)" -c "SELECT pg_sleep(900)"\''
        " && for i in $(seq 100); do sleep 0.1; systemctl is-active -q sleeper && break; done",
    )
    return fresh_db1


def admin(site: Site, sql: str) -> str:
    """Ask as the administrator."""
    return site.hosts.run("db1", f'runuser -u postgres -- psql -XAtqc "{sql}"').stdout.strip()


def session(site: Site) -> str:
    """Return the application's session, once it is there."""
    deadline = time.monotonic() + 60
    while not (found := admin(site, SESSION)):
        told = "journalctl -u sleeper --no-pager"
        assert time.monotonic() < deadline, site.hosts.run("app1", told).stdout
    return found


def rotate(site: Site, what: str, *arguments: str) -> Ended:
    """Run `host rotate`."""
    return site.host_verb(f"rotate {what}", *arguments)


def served(site: Site) -> str:
    """Return the serial number that the server shows."""
    return site.hosts.run("db1", SERVED).stdout.strip()


def test_a_new_certificate_is_shown_and_sessions_go_on(connected: Site) -> None:
    """Nobody is put out, and `host verify` sees the newest serial number."""
    before, old = session(connected), served(connected)
    connected.issue("--all")
    done = rotate(connected, "certificates", "--host", "db1", "--json")
    assert done.code == 0, done.stderr
    assert served(connected) == f"serial={done.json[0]['serial']}" != old
    assert session(connected) == before
    found = {one["id"]: one for one in connected.json("verify", "--host", "db1")["checks"]}
    for check in ("served-serial", "served-certificate", "mode-keys", "running-configuration"):
        assert found[check]["passed"], found[check]


def test_a_server_that_keeps_the_old_certificate_is_noticed(connected: Site) -> None:
    """The reload went well, and the old serial number is shown: the old files come back."""
    tls = "/etc/postgresql/15/main/tls"
    connected.hosts.run("db1", f"cp -p {tls}/server.crt {tls}/other.crt")
    admin(connected, f"ALTER SYSTEM SET ssl_cert_file = '{tls}/other.crt'")
    admin(connected, "SELECT pg_reload_conf()")
    old = connected.hosts.read("db1", f"{tls}/server.crt")
    connected.issue("--all")
    done = rotate(connected, "certificates", "--host", "db1")
    assert done.code != 0
    assert "the old one is back" in done.stderr
    assert connected.hosts.read("db1", f"{tls}/server.crt") == old
    assert psql(connected.hosts, "app1", conninfo(PASSWORDS["portal_app"])).code == 0


def test_a_key_that_does_not_fit_reaches_no_host(connected: Site) -> None:
    """It is found on the operator's machine."""
    old = served(connected)
    key = connected.pki / "hosts/db1/server.key"
    kept = key.read_bytes()
    key.write_bytes((connected.pki / "clients/strongroom_backup@backup1.key").read_bytes())
    try:
        done = rotate(connected, "certificates")
    finally:
        key.write_bytes(kept)
    assert done.code == 2
    assert "nothing was changed" in done.stderr
    assert served(connected) == old


def test_a_new_password_counts_at_once_and_is_in_no_log(connected: Site) -> None:
    """The old one is refused, open sessions go on, and the host never sees the new one."""
    path = connected.files / "secrets/passwords/portal_app"
    old, before = path.read_text(), session(connected)
    try:
        done = rotate(connected, "passwords", "--role", "portal_app", "--json")
        assert done.code == 0, done.stderr
        new = path.read_text().strip()
        assert path.stat().st_mode & 0o777 == 0o600
        assert new not in done.stdout + done.stderr
        refused = psql(connected.hosts, "app1", conninfo(old.strip()))
        assert "password authentication failed" in refused.stderr
        assert psql(connected.hosts, "app1", conninfo(new)).code == 0
        assert session(connected) == before
        log = connected.hosts.run("db1", "cat /var/log/postgresql/*; journalctl --no-pager").stdout
        assert new not in log
        assert "SCRAM-SHA-256$" not in log
    finally:
        path.write_text(old)


def test_a_rotation_that_was_broken_off_goes_on_with_the_same_password(connected: Site) -> None:
    """The server is down: the new password waits beside the old one, which still counts."""
    directory = connected.files / "secrets/passwords"
    old = (directory / "portal_app").read_text()
    connected.hosts.run("db1", "systemctl stop postgresql@15-main")
    assert rotate(connected, "passwords", "--role", "portal_app").code != 0
    assert (directory / "portal_app").read_text() == old
    waiting = (directory / "portal_app.next").read_text()
    connected.hosts.run("db1", "systemctl start postgresql@15-main")
    try:
        assert rotate(connected, "passwords", "--role", "portal_app").code == 0
        assert (directory / "portal_app").read_text() == waiting
        assert not (directory / "portal_app.next").exists()
    finally:
        (directory / "portal_app").write_text(old)
