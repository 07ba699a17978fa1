"""PostgreSQL 16 on Debian 12 and 18 on Debian 13, of a repository: bare hosts to proven backups."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.lab.hosts import lab
from tests.lab.packagesources import package_source
from tests.lab.pgpackages import VERSIONS, postgresql_packages
from tests.lab.sites import PORTAL, Site, new_site, passes_every_check, spoilt

# The majors of the servers. Neither Debian has them, so the backup host's tools are of there too.
MAJORS = {"db1": 16, "db2": 18}
DATABASES = {"db1": "portal", "db2": "ledger"}
# Nobody else has pgaudit for these majors.
DATA = """
_package = {{"source": "pgdg", "repository": {address!r}, "signing_key": {key!r}}}
database_server["package"] = {{"major": 16, **_package}}
database_server["preload_libraries"] = ["auth_delay"]
database_server["databases"][0]["initial_sql"] = f"{{_DIRECTORY}}/portal.sql"
backup_host["postgresql_majors"] = [16, 18]
backup_host["settings"]["databases"]["ledger"] = {{"schedule": "11 0 1 1 *"}}
"""
# The other server is declared to be as the first one, but for its major and its database's name.
HOSTS = """
import runpy as _runpy
_of_db1 = _runpy.run_path({data!r})["database_server"]
_ledger = {{**_of_db1["databases"][0], "name": "ledger"}}
_rule = {{**_of_db1["access_rules"][0], "databases": ["ledger"]}}
_of_db2 = {{
    **_of_db1,
    "package": {{**_of_db1["package"], "major": 18}},
    "databases": [_ledger],
    "access_rules": [_rule],
}}
database_servers.append(
    (
        "db2",
        {{
            **_SSH,
            "ssh_hostname": f"{{_NET}}.12",
            "hostname": "db2",
            "address": f"{{_NET}}.12",
            "database_server": _of_db2,
        }},
    )
)
"""


@pytest.fixture(scope="module")
def majors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three hosts that were applied once, with an application's tables in a file."""
    packed = tmp_path_factory.mktemp("packages")
    packages = [one for major in VERSIONS for one in postgresql_packages(major, packed)]
    suites = ("bookworm-pgdg", "trixie-pgdg")
    with (
        lab("bookworm", {"db2": "trixie"}) as hosts,
        package_source(packed, hosts.gateway, suites, packages) as (address, key, _),
    ):
        hosts.boot(["db1", "db2", "backup1"])
        place = tmp_path_factory.mktemp("inventory")
        data = place / "inventories/group_data/spoilt.py"
        inventory = spoilt(
            DATA.format(address=address, key=str(key)), place, hosts=HOSTS.format(data=str(data))
        )
        files = tmp_path_factory.mktemp("operator")
        (files / "portal.sql").write_text(PORTAL.replace("SET ROLE portal_owner;", ""))
        site = new_site(hosts, files, inventory=inventory)
        site.first_apply.append(site.apply())
        yield site


def ask(site: Site, host: str, sql: str) -> str:
    """What the server of a host answers its administrator."""
    command = f"cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d {DATABASES[host]}"
    return site.hosts.run(host, command, stdin=sql.encode()).stdout.strip()


def test_one_command_ends_with_a_proven_backup_of_each_major(majors: Site) -> None:
    """Each server is what was declared, with the file's tables; one run proved both backups."""
    (said,) = majors.first_apply
    *_, took = said.stdout.splitlines()
    print(took)  # noqa: T201 - `pytest -s` quotes the time
    assert re.fullmatch(r"from the beginning to a proven backup: [0-9.]+ .*", took)
    status = majors.hosts.run("backup1", "strongroom status --json", check=False).json
    proven = {one["database"]: one["proven_backup_id"] for one in status["databases"]}
    for host, database in DATABASES.items():
        line = rf"proven +backup1: {database}: {proven[database]}: .*, restored for a test: PASS"
        assert re.search(line, said.stdout)
        tables = "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'portal'"
        found = sorted(ask(majors, host, tables).split())
        assert found == ["clients|portal_owner", "notes|portal_owner"]


@pytest.mark.parametrize(("host", "major"), MAJORS.items())
def test_the_server_is_of_its_major_from_the_signed_repository(
    majors: Site, host: str, major: int
) -> None:
    """With checksums, and only its key is believed for it; the backup host has its tools."""
    assert ask(majors, host, "SHOW server_version_num").startswith(str(major))
    assert ask(majors, host, "SHOW data_checksums") == "on"
    signed_by = "grep -h Signed-By /etc/apt/sources.list.d/strongroom-postgresql.sources"
    assert majors.hosts.run(host, signed_by).stdout.endswith("strongroom-postgresql.asc\n")
    policy = majors.hosts.run("backup1", f"apt-cache policy postgresql-{major}").stdout
    assert f"Installed: {VERSIONS[major][0].removesuffix('.0')}-1.lab" in policy


@pytest.mark.parametrize("host", MAJORS)
def test_backups_come_over_tls_1_3_by_certificate(majors: Site, host: str) -> None:
    """The server's own log says so."""
    log = majors.hosts.run(host, "grep -h authorized: /var/log/postgresql/*.log").stdout
    ours = [line for line in log.splitlines() if "user=strongroom_backup" in line]
    assert ours
    assert all("SSL enabled (protocol=TLSv1.3" in line for line in ours)


def test_once_more_changes_nothing_and_every_check_passes(majors: Site) -> None:
    """The file is not read again, and all three hosts are as declared."""
    again = majors.json("apply", "--yes")
    assert again["changes"] == again["findings"] == []
    assert again["operations"]["changed"] == 0
    assert {one["state"] for one in again["proofs"]} == {"known"}
    passes_every_check(majors)
