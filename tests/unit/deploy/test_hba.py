"""Access rules: what follows from a declaration, what the linter says, and the text of the file."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deploy.core import hba
from deploy.core.access import ADMINISTRATION, AccessRule
from deploy.inventory import load_estate

ROOT = Path(__file__).parents[3]


def rule(**given: Any) -> AccessRule:
    """A rule that is sound, with what a test changes."""
    table: dict[str, Any] = {
        "databases": ["portal"],
        "roles": ["app"],
        "address": "192.0.2.0/24",
        "method": "scram-sha-256",
    }
    return AccessRule.model_validate(table | given)


def found(*rules: AccessRule) -> str:
    """What the linter says of rules behind the administrator's own."""
    return "; ".join(hba.lint((ADMINISTRATION, *rules), frozenset({"root2"})))


def test_sound_rules_have_no_findings() -> None:
    """Two applications, each from its own place."""
    assert found(rule(), rule(roles=["batch"], address="198.51.100.7/32", certificate=True)) == ""


def test_the_example_has_no_findings() -> None:
    """With the rules that follow from it: administration, backups, no remote administrator."""
    estate = load_estate(ROOT / "inventories" / "example.py")
    rules = hba.effective_rules(estate, estate.servers[0])
    assert hba.lint(rules) == ()
    backup = ipaddress.ip_address("192.0.2.21")
    came_in = hba.first_match(rules, database="portal", role="strongroom_backup", address=backup)
    assert came_in is not None
    assert came_in.method == "cert"
    remote = hba.first_match(rules, database="portal", role="postgres", address=backup)
    assert remote is not None
    assert remote.method == "reject"


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (rule(), "never counts"),
        (rule(address="192.0.2.128/25"), "never counts"),
        (rule(address="192.0.0.0/16", method="cert"), "overlaps"),
        (rule(roles=["app", "batch"], certificate=True), "overlaps"),
        (rule(roles=["batch"], address="10.0.0.0/8"), "wider than /16"),
        (rule(roles=["batch"], address="2001:db8::/32"), "wider than /48"),
        (rule(roles=["postgres"]), "admits the superuser postgres"),
        (rule(roles=["root2"]), "admits the superuser root2"),
        (rule(roles=["all"], databases=["all"], address="198.51.100.0/24"), "everybody"),
        (rule(roles=["all"], databases=["other"]), "admits superusers from afar (root2)"),
    ],
)
def test_what_is_dead_ambiguous_or_wide_is_found(second: AccessRule, expected: str) -> None:
    """Each by a sentence that quotes the line."""
    assert expected in found(rule(), second)


def test_exceptions_are_written_by_rejecting_first() -> None:
    """A reject that overlaps what comes after it is meant."""
    assert found(rule(address="192.0.2.7/32", method="reject"), rule()) == ""


def test_locking_the_administrator_out_is_found() -> None:
    """Where the way in of the deploys is missing, or another rule comes before it."""
    shut = rule(type="local", databases=["all"], roles=["all"], address=None, method="reject")
    for rules in ((), (rule(),), (shut, ADMINISTRATION)):
        assert any("locked out" in problem for problem in hba.lint(rules))


@pytest.mark.parametrize(
    "given",
    [
        {"type": "host"},
        {"type": "hostnossl"},
        {"method": "trust"},
        {"method": "md5"},
        {"method": "password"},
        {"method": "peer"},
        {"address": None},
        {"address": "192.0.2.7/24"},
        {"type": "local"},
        {"type": "local", "address": None, "method": "cert"},
        {"method": "cert", "certificate": True},
        {"roles": ["all", "app"]},
        {"roles": []},
        {"roles": ['x" trust #']},
        {"comment": "one\nlocal all all trust"},
    ],
)
def test_what_must_not_be_said_cannot_be(given: dict[str, Any]) -> None:
    """Neither weak methods nor lines without TLS nor a second line in a comment."""
    with pytest.raises(ValidationError):
        rule(**given)


def test_all_covers_no_replication() -> None:
    """As the server has it: `all` databases are not the replication stream."""
    everything = rule(databases=["all"])
    stream = rule(databases=["replication"], method="cert")
    assert not hba.covers(everything, stream)
    assert not hba.overlap(everything, stream)
    here = ipaddress.ip_address("192.0.2.9")
    assert (
        hba.first_match((everything, stream), database="replication", role="app", address=here)
        == stream
    )


def test_the_file_quotes_names_and_ends_in_rejects() -> None:
    """A database that is called like a keyword stays a database."""
    text = hba.render((ADMINISTRATION, rule(databases=["sameuser"], comment="the portal")))
    assert '# the portal\nhostssl "sameuser" "app" 192.0.2.0/24 scram-sha-256\n' in text
    assert text.endswith("host    replication  all  all  reject\n")
    assert "trust" not in text
