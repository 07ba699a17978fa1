"""The runbooks for hosts, followed to the letter on real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hostrunbooks import follow
from tests.lab.sites import INVENTORY, Site, conninfo, psql, spoilt, with_client

REPORT_ROLE = """
database_server["roles"].append(
    {"name": "portal_report", "can_login": True, "has_password": True})
database_server["databases"][0]["grants"].append(
    {"on": "database", "to": "portal_report", "privileges": ["CONNECT"]})
database_server["access_rules"].append(
    {"databases": ["portal"], "roles": ["portal_report"], "address": f"{_NET}.13/32",
     "method": "scram-sha-256"})
"""


@pytest.fixture(scope="module")
def applied(site: Site) -> Iterator[Site]:
    """The site, with an application's host; what runbooks do to it is gone afterwards."""
    with_client(site.hosts, "app1", site)
    yield site
    site.put_back(["db1", "backup1"])


def served(site: Site) -> str:
    """The serial number that the server shows."""
    ask = "openssl s_client -starttls postgres -connect db1:5432 </dev/null 2>/dev/null"
    return site.hosts.run("db1", f"{ask} | openssl x509 -noout -serial").stdout.strip()


def come_in(site: Site, role: str) -> str:
    """Connect as an application does, by the password on the operator's machine."""
    password = (site.files / "secrets/passwords" / role).read_text().strip()
    done = psql(site.hosts, "app1", conninfo(password, user=role))
    return done.stdout.strip() or done.stderr


def test_new_hosts(applied: Site) -> None:
    """Ends with hosts that are as declared; certificates, which need a person, are there."""
    said = follow(applied, "new-host", INVENTORY)
    assert "as declared; 0 of " in said


def test_an_application_role(applied: Site, tmp_path: Path) -> None:
    """The plan names the new role and its line, and after that its password is good."""
    said = follow(applied, "add-an-application-role", spoilt(REPORT_ROLE, tmp_path))
    assert "role portal_report" in said
    assert 'hostssl "portal" "portal_report"' in said
    assert come_in(applied, "portal_report") == "1"
    # Undeclared again: told, and left as it is, until somebody drops it.
    assert applied.host_verb("plan", "--limit", "db1").code == 2
    sql = "DROP OWNED BY portal_report; DROP ROLE portal_report"
    applied.hosts.run("db1", f"runuser -u postgres -- psql -Xqc '{sql}' portal")
    applied.apply("--limit", "db1")


def test_certificates(applied: Site) -> None:
    """Each host has new ones, the server shows its own, and the next backup would get in."""
    before = served(applied)
    follow(applied, "rotate-certificates", INVENTORY)
    assert served(applied) != before
    assert come_in(applied, "portal_app") == "1"
    applied.hosts.run("backup1", "strongroom doctor")


def test_passwords(applied: Site) -> None:
    """The new one is good, the old one is refused."""
    path = applied.files / "secrets/passwords/portal_app"
    old = path.read_text().strip()
    follow(applied, "rotate-passwords", INVENTORY)
    assert path.read_text().strip() != old
    assert come_in(applied, "portal_app") == "1"
    refused = psql(applied.hosts, "app1", conninfo(old))
    assert "password authentication failed" in refused.stderr
