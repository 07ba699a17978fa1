"""A replica in an inventory: what it is, what follows from it, and what is refused."""

from __future__ import annotations

import copy
import functools
import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backup.errors import SettingsError
from deploy import pki, rotation
from deploy.core import firewall, hba, replication, serverconfig
from deploy.core.backuphost import completed_settings
from deploy.core.checks import Answer, Target, judge
from deploy.core.checks_host import probes_of
from deploy.core.model import REPLICATION_ROLE, Estate
from deploy.core.parse import InventoryHost, parse_estate
from deploy.core.promotion import PrimarySeen, ReplicaSeen, objections, position
from deploy.core.reach import open_ports
from deploy.core.replication import Holding
from deploy.inventory import load_hosts

ROOT = Path(__file__).parents[3]
PRIMARY, REPLICA = "db1.example.org", "db2.example.org"


@functools.cache
def marked(name: str) -> tuple[InventoryHost, ...]:
    """The hosts of an inventory of ours, as they are read without the marks."""
    source = ROOT / "inventories" / f"{name}.py"
    text = re.sub(r"(?ms)^# replicas = \[$.*?^# \]$", unmarked, source.read_text())
    shared = source.with_name("group_data") / source.name
    with tempfile.TemporaryDirectory() as name_of_directory:
        directory = Path(name_of_directory)
        (directory / "group_data").mkdir()
        (directory / source.name).write_text(text)
        (directory / "group_data" / source.name).write_text(shared.read_text())
        return load_hosts(directory / source.name)


def with_replica(name: str = "example") -> list[InventoryHost]:
    """The hosts of an inventory of ours, with the replica that it has in marks."""
    return [
        InventoryHost(name=host.name, groups=host.groups, data=copy.deepcopy(dict(host.data)))
        for host in marked(name)
    ]


def unmarked(found: re.Match[str]) -> str:
    """The lines without the marks that keep them from counting."""
    return re.sub(r"(?m)^# ?", "", found[0])


@pytest.fixture
def hosts() -> list[InventoryHost]:
    """The example's hosts, with data of their own to spoil: server, replica, backup host."""
    return with_replica()


@pytest.fixture
def estate(hosts: list[InventoryHost]) -> Estate:
    """What they declare."""
    return parse_estate(hosts)


@pytest.mark.parametrize("name", ["example", "vagrant"])
def test_the_replicas_that_we_ship_are_sound(name: str) -> None:
    """With the marks taken away each has one replica, of its one server."""
    found = parse_estate(with_replica(name))
    (replica,) = found.replicas
    assert replica.primary == found.servers[0].host.name
    assert hba.lint(hba.effective_rules(found, replica.server)) == ()
    assert hba.lint(hba.effective_rules(found, found.servers[0])) == ()


@pytest.mark.parametrize(("replica", "primary"), [("db2", "db1"), ("db1", "db2")])
def test_the_lab_has_one_if_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, replica: str, primary: str
) -> None:
    """Other tests of hosts do without a third one; after a promotion it is the other way round."""
    monkeypatch.setenv("STRONGROOM_LAB_REPLICA", replica)
    found = parse_estate(load_hosts(ROOT / "inventories" / "lab.py"))
    assert [one.host.name for one in found.replicas] == [replica]
    assert [one.host.name for one in found.servers] == [primary]


def test_a_replica_is_what_its_primary_is(estate: Estate) -> None:
    """On another host; it is no server that a backup host or a role could be sent to."""
    (replica,) = estate.replicas
    assert replica.server.model_copy(update={"host": estate.servers[0].host}) == estate.servers[0]
    assert REPLICATION_ROLE in estate.servers[0].all_roles()
    assert replica.replication_slot == "strongroom_db2_example_org"
    assert estate.server(REPLICA) is None
    assert estate.postgresql_host(REPLICA) == replica.server
    databases = completed_settings({"databases": {"portal": {}}}, estate.servers)["databases"]
    assert f"@{PRIMARY}:5432/portal" in databases["portal"]["dsn"]


def test_only_the_replica_comes_in_to_replicate(estate: Estate) -> None:
    """By certificate, from its own address; and through the packet filter."""
    rules = hba.effective_rules(estate, estate.servers[0])
    (line,) = (hba.text(rule) for rule in rules if REPLICATION_ROLE.name in rule.roles)
    assert line == 'hostssl replication "strongroom_replica" 192.0.2.12/32 cert'
    assert "192.0.2.12/32" in firewall.render_server(estate, PRIMARY)
    assert 5432 in open_ports(estate, PRIMARY, "192.0.2.12")


def test_no_backup_is_taken_of_a_replica(estate: Estate) -> None:
    """It would lack the rows of unlogged tables: the backup host does not get in there."""
    replica = estate.replicas[0]
    rules = hba.effective_rules(estate, replica.server)
    assert not any("strongroom_backup" in rule.roles for rule in rules)
    assert 5432 not in open_ports(estate, REPLICA, "192.0.2.21")
    assert "192.0.2.21" not in firewall.render_server(estate, REPLICA)
    # Applications read there as they do on the primary.
    assert 5432 in open_ports(estate, REPLICA, "192.0.2.40")


def test_a_replica_has_certificates_of_its_own(estate: Estate) -> None:
    """As a server, and as the client that it is to its primary."""
    labels = [leaf.label for leaf in pki.wanted(estate)]
    assert f"server {REPLICA}" in labels
    assert f"client strongroom_replica@{REPLICA}" in labels
    assert f"client strongroom_backup@{REPLICA}" not in labels


def test_a_replicas_certificates_are_rotated_too(estate: Estate) -> None:
    """Clients' before servers': a server's next reload may already ask for the new CA."""
    steps = [(step.host, step.what) for step in rotation.certificate_steps(estate)]
    assert steps == [
        ("backup1.example.org", "the certificate of strongroom_backup"),
        (REPLICA, "the certificate of strongroom_replica"),
        (PRIMARY, "its certificate"),
        (REPLICA, "its certificate"),
    ]


def settings(estate: Estate, name: str) -> dict[str, str]:
    """The settings of a host, by name."""
    replica = estate.replica(name)
    server = estate.postgresql_host(name)
    assert server is not None
    standby = () if replica is None else replication.standby_settings(replica, estate.servers[0])
    found = serverconfig.server_settings(server, memory_mib=2048, cpus=2, standby=standby)
    return {one.name: one.value for one in found}


def test_a_replica_follows_by_certificate(estate: Estate) -> None:
    """Over TLS 1.3 to the name and the address that are declared; no password is anywhere."""
    found = settings(estate, REPLICA)
    for part in (
        f"host={PRIMARY} hostaddr=192.0.2.11",
        "sslmode=verify-full",
        "ssl_min_protocol_version=TLSv1.3",
        "sslkey=/etc/postgresql/15/main/tls/replica.key",
    ):
        assert part in found["primary_conninfo"]
    assert "password" not in found["primary_conninfo"]
    assert found["primary_slot_name"] == "strongroom_db2_example_org"
    further = found.keys() - settings(estate, PRIMARY).keys()
    assert further == {"primary_conninfo", "primary_slot_name"}


def test_a_replica_that_is_away_fills_no_disk(hosts: list[InventoryHost]) -> None:
    """What the primary keeps for it has a limit, which may be declared."""
    assert settings(parse_estate(hosts), PRIMARY)["max_slot_wal_keep_size"] == "10GB"
    for host in hosts[:2]:
        host.data["database_server"]["settings"]["max_slot_wal_keep_size"] = "1GB"
    assert settings(parse_estate(hosts), PRIMARY)["max_slot_wal_keep_size"] == "1GB"


def test_a_replica_need_not_say_again_what_its_primary_is(hosts: list[InventoryHost]) -> None:
    """One that says nothing is a copy as well."""
    estate = parse_estate(hosts)
    del hosts[1].data["database_server"]  # type: ignore[attr-defined]
    assert parse_estate(hosts).replicas == estate.replicas


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.pop("primary"), "primary is missing"),
        (lambda d: d.update(primary="db9"), "its primary db9 is no host of the group"),
        (lambda d: d.update(primary=REPLICA), f"its primary {REPLICA} is a replica itself"),
        (lambda d: d.update(primary=["db1"]), "is no host of the group"),
        (lambda d: d.update(address="192.0.2.11"), "two addresses are called 192.0.2.11"),
        (lambda d: d.update(hostname=PRIMARY), f"two hosts are called {PRIMARY}"),
        (lambda d: d.pop("hostname"), "host.name"),
        (lambda d: d["database_server"]["package"].update(major=16), "major of its primary"),
        (lambda d: d["database_server"].update(roles=[]), "(roles): a replica is what"),
        (lambda d: d["database_server"].pop("package"), "major of its primary"),
    ],
)
def test_a_replica_of_nothing_is_refused(
    hosts: list[InventoryHost], change: Any, expected: str
) -> None:
    """Without a primary, of another major, of another replica, in somebody else's place."""
    change(hosts[1].data)
    with pytest.raises(SettingsError, match=re.escape(expected)):
        parse_estate(hosts)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wal_level", "minimal"),
        ("max_wal_senders", 0),
        ("max_slot_wal_keep_size", "-1"),
        ("primary_conninfo", "host=elsewhere"),
        ("hot_standby", False),
    ],
)
def test_a_setting_that_replicas_cannot_live_with_is_refused(
    hosts: list[InventoryHost], name: str, value: Any
) -> None:
    """It is known before any host is touched."""
    for host in hosts[:2]:
        host.data["database_server"]["settings"][name] = value
    with pytest.raises(SettingsError, match=f"settings.{name} is"):
        parse_estate(hosts)


def test_the_role_of_replicas_is_not_for_others(hosts: list[InventoryHost]) -> None:
    """Whoever declares it himself would say what the deploys say."""
    for host in hosts[:2]:
        host.data["database_server"]["roles"].append({"name": "strongroom_replica"})
    with pytest.raises(SettingsError, match="two roles are called strongroom_replica"):
        parse_estate(hosts)


def test_what_follows_from_the_hosts_is_not_declared(hosts: list[InventoryHost]) -> None:
    """`has_replicas` would be a second place for the same thing."""
    hosts[0].data["database_server"]["has_replicas"] = False
    with pytest.raises(SettingsError, match="has_replicas follows from the hosts"):
        parse_estate(hosts)


def test_a_primary_is_declared_of_replicas_only(hosts: list[InventoryHost]) -> None:
    """A server that follows another one is a replica."""
    hosts[0].data["primary"] = REPLICA  # type: ignore[index]
    with pytest.raises(SettingsError, match="primary goes with hosts of the group replicas"):
        parse_estate(hosts)


def test_a_host_is_one_thing(hosts: list[InventoryHost]) -> None:
    """A server and a replica at once is neither."""
    one = hosts[1]
    both = InventoryHost(
        name=one.name, groups=one.groups | {"database_servers"}, data=dict(one.data)
    )
    with pytest.raises(SettingsError, match="in both of database_servers and replicas"):
        parse_estate([hosts[0], both, *hosts[2:]])


@pytest.mark.parametrize(
    ("holding", "problem"),
    [
        (Holding(is_empty=True), ""),
        (Holding(is_empty=False, is_standby=True, system="7", primary="7"), ""),
        (Holding(is_empty=False, is_standby=True, system="7"), ""),
        (Holding(is_empty=False, is_standby=True, system="7", primary="8"), "of another server"),
        (Holding(is_empty=False, is_standby=True, primary="8"), "nobody can tell whose"),
        (Holding(is_empty=False, system="7", primary="7"), "that is no standby"),
    ],
)
def test_data_is_never_copied_over(holding: Holding, problem: str) -> None:
    """Only an empty directory is filled; only a standby of this primary is good as it is."""
    found = replication.data_in_the_way(holding, "db1")
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.parametrize("name", [PRIMARY, REPLICA])
def test_each_check_has_its_own_name_and_a_text_without_gaps(estate: Estate, name: str) -> None:
    """On a primary and on its replica."""
    target = target_of_host(estate, name)
    probes = probes_of(target)
    assert len({one.id for one in probes}) == len(probes)
    for check in judge(target, probes, {}):
        for text in (check.how, check.expected, check.hint):
            assert not re.search(r"@[a-z_]+@", text.replace("postgresql@15-main", "")), text


def target_of_host(estate: Estate, name: str) -> Target:
    """A host to ask."""
    server = estate.postgresql_host(name)
    assert server is not None
    now = datetime(2026, 3, 1, tzinfo=UTC)
    replica = estate.replica(name)
    return Target(estate=estate, host=server.host, now=now, server=server, replica=replica)


def test_a_replica_is_asked_what_has_an_answer_there(estate: Estate) -> None:
    """What would pass without a meaning is not claimed; what makes it a replica is asked."""
    asked = {
        name: {check.id for check in judge(target, probes_of(target), {})}
        for name in (PRIMARY, REPLICA)
        for target in [target_of_host(estate, name)]
    }
    of_standbys = {"standby-recovers", "standby-streams", "standby-replays"}
    assert asked[REPLICA] - asked[PRIMARY] == of_standbys
    assert asked[PRIMARY] - asked[REPLICA] == {
        *("archiver", "backup-reads-everything:portal"),
        *("replicas-stream", "replicas-lag", "replication-role"),
    }


@pytest.mark.parametrize(
    ("host", "check", "item", "is_good"),
    [
        (PRIMARY, "replication-slots", "strongroom_db2_example_org is in use", True),
        (PRIMARY, "replication-slots", "strongroom_db2_example_org is used by nobody", False),
        (PRIMARY, "replicas-stream", "db2.example.org is streaming as strongroom_replica from"
         " 192.0.2.12 over TLSv1.3", True),
        (PRIMARY, "replicas-stream", "db2.example.org is streaming as strongroom_replica from"
         " 192.0.2.12 over no TLS", False),
        (REPLICA, "replication-slots", "strongroom_db2_example_org is in use", False),
        (REPLICA, "standby-streams",
         "streaming from db1.example.org by strongroom_db2_example_org", True),
        (REPLICA, "standby-streams", "streaming from db1.example.org by no slot", False),
        (REPLICA, "standby-streams", "nothing is received", False),
    ],
)  # fmt: skip
def test_who_streams_is_who_is_declared(
    estate: Estate, host: str, check: str, item: str, is_good: bool
) -> None:
    """By its name, its role, its address, its slot, and over TLS 1.3."""
    target = target_of_host(estate, host)
    (one,) = (probe for probe in probes_of(target) if probe.id == check)
    (judged,) = judge(target, (one,), {(check, ""): Answer(items=(item,))})
    assert judged.passed is is_good, judged


def test_a_slot_of_others_is_known_if_it_is_declared(hosts: list[InventoryHost]) -> None:
    """One that nobody uses holds up disk all the same."""
    for host in hosts[:2]:
        host.data["database_server"]["replication_slots"] = ["ledger"]
    target = target_of_host(parse_estate(hosts), PRIMARY)
    (one,) = (probe for probe in probes_of(target) if probe.id == "replication-slots")
    own = "strongroom_db2_example_org is in use"
    for more, is_good in (
        ((), True),
        (("ledger is in use",), True),
        (("ledger is used by nobody",), False),
        (("other is in use",), False),
    ):
        answer = Answer(items=(own, *more))
        (judged,) = judge(target, (one,), {("replication-slots", ""): answer})
        assert judged.passed is is_good


BEHIND = ReplicaSeen(is_in_recovery=True, is_streaming=False, received="1/10", replayed="0/FF")
WHOLE = ReplicaSeen(is_in_recovery=True, is_streaming=False, received="0/60D8", replayed="0/60D8")


@pytest.mark.parametrize(
    ("replica", "primary", "objection", "is_fenced_enough"),
    [
        (WHOLE, PrimarySeen(state="shut down", checkpoint="0/6060"), "", True),
        (WHOLE, PrimarySeen(state="standby"), "", True),
        (WHOLE, PrimarySeen(state="writable"), "db1 takes writes", True),
        (WHOLE, PrimarySeen(state="unreachable"), "db1 does not answer", True),
        (WHOLE, PrimarySeen(state="down"), "not shut down in good order", True),
        (replace(WHOLE, is_streaming=True), PrimarySeen(state="unreachable"), "is sending", True),
        (WHOLE, PrimarySeen(state="shut down", checkpoint="0/60D8"), "would be lost", False),
        (replace(WHOLE, received="", replayed=""), PrimarySeen(state="shut down", checkpoint="0/1"),
         "nothing", False),
        (BEHIND, PrimarySeen(state="standby"), "is the replay paused", False),
    ],
)  # fmt: skip
def test_a_replica_is_promoted_when_nobody_else_writes(
    replica: ReplicaSeen, primary: PrimarySeen, objection: str, is_fenced_enough: bool
) -> None:
    """And nothing is missing; who says that the primary is fenced answers for the first only."""
    found = "; ".join(objections(replica, primary, "db1", is_fenced=False))
    assert objection in found
    assert bool(objection) == bool(found)
    insisted = tuple(objections(replica, primary, "db1", is_fenced=True))
    assert (insisted == ()) is is_fenced_enough


def test_a_position_is_a_number() -> None:
    """In the order of the log, also from one file of 4 GB to the next."""
    assert position("1/0") == position("0/FFFFFFFF") + 1
    assert position("") == 0
    with pytest.raises(ValueError, match="no position"):
        position("0x10")
