"""An inventory becomes a declared estate, or one error that names every mistake in it."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest

from backup.errors import SettingsError
from deploy.core import sources
from deploy.core.model import Estate
from deploy.core.parse import InventoryHost, parse_estate
from deploy.inventory import load_estate, load_hosts

ROOT = Path(__file__).parents[3]


def example() -> list[InventoryHost]:
    """The example inventory's hosts, with data of their own to spoil."""
    return [
        InventoryHost(name=host.name, groups=host.groups, data=copy.deepcopy(dict(host.data)))
        for host in read_example()
    ]


@functools.cache
def read_example() -> tuple[InventoryHost, ...]:
    """They as they are read, for nobody to spoil."""
    return load_hosts(ROOT / "inventories" / "example.py")


def server_table(hosts: list[InventoryHost]) -> Any:
    """The database server's table."""
    return hosts[0].data["database_server"]


@pytest.mark.parametrize("name", ["example", "vagrant", "lab"])
def test_the_inventories_that_we_ship_are_sound(name: str) -> None:
    """Each declares a database server and a backup host, without a contradiction."""
    estate = load_estate(ROOT / "inventories" / f"{name}.py")
    assert len(estate.servers) == 1
    assert len(estate.backup_hosts) == 1


def test_the_backup_host_has_the_daemons_own_settings() -> None:
    """What the inventory says is parsed into the type that the daemon loads."""
    estate = parse_estate(example())
    assert estate.backup_hosts[0].parsed.repository == "/srv/strongroom"


def refused(hosts: list[InventoryHost]) -> str:
    """The message that says why."""
    with pytest.raises(SettingsError) as caught:
        parse_estate(hosts)
    assert caught.value.hint is not None
    return caught.value.message


@pytest.mark.parametrize(
    "given",
    [
        {"source": "pgdg"},
        {"source": "pgdg", "repository": "https://packages.example.org/apt"},
        {"repository": "https://packages.example.org/apt", "signing_key": "~/key.asc"},
        {"source": "pgdg", "repository": "deb x y", "signing_key": "~/key.asc"},
        {"source": "elsewhere"},
    ],
    ids=["neither", "no key", "not asked for", "no address", "unknown"],
)
def test_another_repository_needs_an_address_and_a_key(given: dict[str, str]) -> None:
    """Nothing is installed from where nobody vouches for it."""
    hosts = example()
    server_table(hosts)["package"] = {"major": 15, **given}
    assert "package" in refused(hosts)


def test_another_repository_gives_postgresql_and_nothing_that_the_distribution_has() -> None:
    """On the server, and on the backup host, which has tools of its major."""
    hosts = example()
    server_table(hosts)["package"] = {
        "major": 16,
        "source": "pgdg",
        "repository": "https://packages.example.org/apt",
        "signing_key": "/keys/pgdg.asc",
    }
    hosts[1].data["backup_host"]["postgresql_majors"] = [16]  # type: ignore[index]
    estate = parse_estate(hosts)
    package = sources.package_of(estate, estate.backup_hosts[0].host.name)
    assert package is not None
    assert package == sources.package_of(estate, estate.servers[0].host.name)
    assert sources.package_of(parse_estate(example()), estate.servers[0].host.name) is None
    text = sources.sources_text(package, "bookworm")
    assert "URIs: https://packages.example.org/apt\nSuites: bookworm-pgdg\n" in text
    assert f"Signed-By: {sources.KEY_FILE}\n" in text
    preferences = sources.preferences_text(package)
    assert preferences.count('Pin: origin "packages.example.org"') == 2


def test_every_mistake_is_named_at_once() -> None:
    """An operator mends an inventory in one go."""
    hosts = example()
    server_table(hosts)["rolse"] = []
    hosts[1].data["backup_host"]["settings"]["repositry"] = "x"  # type: ignore[index]
    del hosts[0].data["hostname"]  # type: ignore[attr-defined]
    message = refused(hosts)
    for part in ("rolse", "repositry", "db1.example.org: host.name"):
        assert part in message


def test_a_misspelt_key_of_a_host_is_refused() -> None:
    """What nobody reads would be a wish that nobody fulfils."""
    hosts = example()
    hosts[0].data["adress"] = "192.0.2.11"  # type: ignore[index]
    assert "adress is not a setting" in refused(hosts)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t["roles"][1].update(member_of=["nobody"]), "member of nobody"),
        (lambda t: t["databases"][0].update(owner="nobody"), "owner nobody is not declared"),
        (lambda t: t["databases"][0]["grants"][0].update(to="nobody"), "goes to nobody"),
        (lambda t: t["databases"][0]["extensions"].append("dblink"), "extension dblink"),
        (lambda t: t["access_rules"][0].update(roles=["nobody"]), "role nobody"),
        (lambda t: t["access_rules"][0].update(databases=["nowhere"]), "database nowhere"),
        (lambda t: t["access_rules"][0].update(method="trust"), "access_rules.0.method"),
        (lambda t: t["access_rules"][0].update(method="md5"), "access_rules.0.method"),
        (lambda t: t["access_rules"][0].update(type="host"), "access_rules.0.type"),
        (lambda t: t["settings"].update(ssl="off"), "settings.ssl is set by the deploys"),
        (lambda t: t["roles"].append({"name": "portal_app"}), "two roles are called portal_app"),
        (lambda t: t["roles"][0].update(name="postgres"), "never declared"),
        (lambda t: t["roles"][0].update(name="pg_mine"), "reserved"),
        (lambda t: t["roles"][0].update(member_of=["portal_migrate"]), "member of itself"),
        (lambda t: t["package"].update(major=9), "package.major"),
    ],
)
def test_what_contradicts_itself_is_refused(change: Any, expected: str) -> None:
    """Roles that do not exist, weak methods, settings that the deploys own."""
    hosts = example()
    change(server_table(hosts))
    assert expected in refused(hosts)


def test_hosts_of_two_sites_are_refused() -> None:
    """One run, one site."""
    hosts = example()
    hosts[1].data["site"]["name"] = "another"  # type: ignore[index]
    assert "different sites" in refused(hosts)


def test_an_error_does_not_repeat_what_was_given() -> None:
    """It may be a password that somebody put in the wrong place."""
    hosts = example()
    server_table(hosts)["roles"][1]["has_password"] = "canary-7c1f"
    assert "canary-7c1f" not in refused(hosts)


def test_an_estate_finds_its_hosts_by_name() -> None:
    """And nothing under another name."""
    estate: Estate = parse_estate(example())
    server = estate.server("db1.example.org")
    assert server is not None
    assert server.host.certificate_names() == ("db1.example.org", "db1")
    assert estate.server("db9") is None
    assert estate.backup_host("backup1.example.org") is not None
