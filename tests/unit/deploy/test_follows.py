"""What follows from a declaration: settings, packet filters, the daemon's file and unit."""

from __future__ import annotations

import copy
import ipaddress
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.core import backuphost, exporters, firewall, hba, serverconfig, toml
from deploy.core.model import Estate
from deploy.core.parse import InventoryHost, parse_estate
from deploy.core.tuning import tune
from deploy.inventory import load_estate, load_hosts

ROOT = Path(__file__).parents[3]
INVENTORY = ROOT / "inventories" / "example.py"


@pytest.fixture(scope="module")
def estate() -> Estate:
    """The example's."""
    return load_estate(INVENTORY)


def settings(estate: Estate, memory_mib: int = 4096) -> dict[str, str]:
    """A server's settings by name."""
    found = serverconfig.server_settings(estate.servers[0], memory_mib=memory_mib, cpus=2)
    return {one.name: one.value for one in found}


def test_declared_settings_win_over_the_formula_and_not_over_safety(estate: Estate) -> None:
    """And each name is said once, with a reason."""
    server = estate.servers[0].model_copy(
        update={"settings": {"work_mem": "77MB", "ssl_min_protocol_version": "TLSv1"}}
    )
    found = serverconfig.server_settings(server, memory_mib=4096, cpus=2)
    values = {one.name: one.value for one in found}
    assert values["work_mem"] == "77MB"
    assert values["ssl_min_protocol_version"] == "TLSv1.3"
    assert len(values) == len(found)
    assert all(one.reason for one in found)


def test_the_server_listens_where_it_is_declared_to_be(estate: Estate) -> None:
    """On itself and its own address, with parameters out of the log."""
    assert settings(estate)["listen_addresses"] == "127.0.0.1, 192.0.2.11"
    assert settings(estate)["log_parameter_max_length"] == "0"
    assert settings(estate)["lo_compat_privileges"] == "off"


def test_values_are_quoted_for_the_file(estate: Estate) -> None:
    """A quotation mark or backslash in a value ends nothing."""
    server = estate.servers[0].model_copy(update={"settings": {"log_line_prefix": "it's \\"}})
    found = serverconfig.server_settings(server, memory_mib=4096, cpus=2)
    assert "log_line_prefix = 'it''s \\\\'\n" in serverconfig.render(found)


@pytest.mark.parametrize("memory", [256, 1024, 65536, 1024 * 1024])
@pytest.mark.parametrize("connections", [10, 100, 2000])
def test_the_formula_stays_within_the_machine(memory: int, connections: int) -> None:
    """Buffers and sorts of every connection fit into memory, but for the least there must be."""
    found = {
        one.name: one.value
        for one in tune(
            memory_mib=memory, cpus=8, storage="ssd", max_connections=connections, major=17
        )
    }
    shared = int(found["shared_buffers"].removesuffix("MB"))
    work = int(found["work_mem"].removesuffix("MB"))
    assert shared <= memory / 2
    assert work == 4 or shared + work * connections <= memory


def test_postgresql_is_open_to_whom_an_access_rule_admits(estate: Estate) -> None:
    """And to nobody else; SSH to operators, exporters to the monitoring."""
    rules = firewall.render_server(estate, "db1.example.org")
    assert "ip saddr { 192.0.2.21/32, 192.0.2.40/32 } tcp dport 5432 accept" in rules
    assert "ip saddr { 192.0.2.0/28 } tcp dport 22 accept" in rules
    assert "0.0.0.0/0" not in rules
    assert rules.count("policy drop") == 2
    ours = firewall.render_backup_host(estate, "backup1.example.org")
    assert "5432" not in ours
    assert "dport 9188" in ours


def test_what_is_scraped_is_on_the_hosts_own_address(estate: Estate) -> None:
    """The daemon's metrics too, unless its settings say otherwise; nothing without monitoring."""
    address = ipaddress.ip_address("2001:db8::1")
    assert "--web.listen-address=[2001:db8::1]:9100 " in exporters.node_exporter_options(address)
    text = exporters.postgres_exporter_options(address, role="prometheus", port=5433)
    assert "user=prometheus host=/run/postgresql port=5433 dbname=postgres" in text
    assert "listen-address=[2001:db8::1]:9187" in text
    ends = datetime(2026, 3, 1, tzinfo=UTC)
    metrics = exporters.expiry_metrics({"server db1": ends})
    assert f'{{certificate="server db1"}} {ends.timestamp():.0f}\n' in metrics
    listen = f"{estate.backup_hosts[0].host.address}:9188"
    assert estate.backup_hosts[0].settings["monitoring"] == {"listen": listen}
    given = {"monitoring": {"listen": ""}}
    done = backuphost.completed_settings(given, (), listen=listen)
    assert done["monitoring"] == given["monitoring"]
    assert "monitoring" not in backuphost.completed_settings({}, ())
    server = estate.servers[0]
    assert server.is_monitored
    assert "prometheus" in {role.name for role in server.all_roles()}
    unwatched = server.model_copy(update={"is_monitored": False})
    assert "prometheus" not in {role.name for role in unwatched.all_roles()}
    assert "prometheus" not in hba.render(hba.effective_rules(estate, unwatched))


def test_a_declared_database_needs_no_connection_string(estate: Estate) -> None:
    """It follows, without a password; one that is given is left as it is."""
    text = backuphost.settings_text(estate.backup_hosts[0])
    dsn = tomllib.loads(text)["databases"]["portal"]["dsn"]
    assert dsn.startswith("postgresql://strongroom_backup@db1.example.org:5432/portal?sslmode=")
    assert "verify-full" in dsn
    given = {"databases": {"portal": {"dsn": "service"}, "other": {}}}
    done = backuphost.completed_settings(given, estate.servers)
    assert done["databases"] == given["databases"]


def test_the_unit_has_the_hosts_places(estate: Estate) -> None:
    """Its repository is writable and its credentials are loaded; no placeholder is left."""
    template = (ROOT / "deploy/templates/strongroom-daemon.service").read_text()
    text = backuphost.unit_text(estate.backup_hosts[0], template)
    assert "ReadWritePaths=/srv/strongroom\n" in text
    assert "LoadCredential=restore-test-identity:/etc/strongroom/credentials/" in text
    assert "@" not in text.replace("~@", "").replace("=@system", "").replace(" @", "")


def test_a_table_comes_back_from_its_text() -> None:
    """Nested tables, lists of tables, odd keys, None left out."""
    table = {
        "a": 'say "it"\n\x7f',
        "b": [1, 2.5, True],
        "c": {"odd key": {"d": "é"}},
        "e": [{"id": "x", "none": None}],
        "f": None,
    }
    expected = copy.deepcopy(table)
    del expected["f"]
    expected["e"] = [{"id": "x"}]
    assert tomllib.loads(toml.render(table)) == expected
    with pytest.raises(TypeError):
        toml.render({"a": object()})


def test_backup_hosts_need_the_servers_majors() -> None:
    """A dump of a newer server needs newer client tools."""
    hosts = [
        InventoryHost(name=one.name, groups=one.groups, data=copy.deepcopy(dict(one.data)))
        for one in load_hosts(INVENTORY)
    ]
    hosts[0].data["database_server"]["package"]["major"] = 17
    with pytest.raises(Exception, match="postgresql_majors lacks 17"):
        parse_estate(hosts)
