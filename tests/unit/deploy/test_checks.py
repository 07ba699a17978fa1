"""What `host verify` makes of answers: what is not known to be good has failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.core.checks import Answer, Probe, Target, judge
from deploy.core.checks_access import HBA_PROBES
from deploy.core.checks_host import probes_of
from deploy.core.hostreport import verdict
from deploy.core.reach import open_ports
from deploy.inventory import load_estate

ESTATE = load_estate(Path(__file__).parents[3] / "inventories" / "example.py")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER = ESTATE.servers[0]
TARGET = Target(estate=ESTATE, host=SERVER.host, now=NOW, server=SERVER)
BACKUP_HOST = ESTATE.backup_hosts[0]
HBA = {probe.id: probe for probe in HBA_PROBES}


def probe(**changes: Any) -> Probe:
    """A probe that wants `here` and lets `maybe` be."""
    values: dict[str, Any] = {
        "id": "p",
        "what": "w",
        "language": "shell",
        "text": "ls @conf@",
        "expected": "e",
        "hint": "on @host@",
        "required": lambda _: frozenset({"here"}),
        "allowed": lambda _: frozenset({"maybe"}),
    }
    return Probe(**(values | changes))


def judged(answer: Answer | None, **changes: Any) -> tuple[bool, str]:
    """Whether the check passed, and what was observed."""
    answers = {} if answer is None else {("p", ""): answer}
    (check,) = judge(TARGET, (probe(**changes),), answers)
    assert (check.hint == "") is check.passed
    return check.passed, check.observed


def test_what_is_required_and_allowed_is_good() -> None:
    """And both are shown."""
    assert judged(Answer(items=("here", "maybe"))) == (True, "here, maybe")


@pytest.mark.parametrize(
    ("answer", "observed"),
    [
        (Answer(items=("here", "stray")), "stray"),
        (Answer(items=()), "missing: here"),
        (Answer(failure="no route"), "could not be observed: no route"),
        (None, "could not be observed: it was not asked"),
        (Answer(items=("here", "\x1b[2J")), "?[2J"),
    ],
)
def test_everything_else_has_failed(answer: Answer | None, observed: str) -> None:
    """Also what did not come back; and nothing that a host says reaches a terminal as it is."""
    assert judged(answer) == (False, observed)


def test_an_answer_that_is_not_understood_has_failed() -> None:
    """A judge that raises does not end the verification."""

    def confused(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
        raise ValueError("what?")

    passed, observed = judged(Answer(), judge=confused)
    assert not passed
    assert observed == "could not be observed: the answer is not understood: what?"


def test_a_verification_without_checks_is_no_pass() -> None:
    """Nothing asked, nothing proven."""
    assert verdict(()) == "FAIL"


@pytest.mark.parametrize("target", [TARGET, Target(estate=ESTATE, host=BACKUP_HOST.host, now=NOW)])
def test_each_check_has_its_own_name_and_a_text_without_gaps(target: Target) -> None:
    """So that an auditor can repeat it as it stands."""
    probes = probes_of(target)
    assert len({one.id for one in probes}) == len(probes)
    for check in judge(target, probes, {}):
        assert not check.passed
        assert check.hint
        for text in (check.how, check.expected, check.hint):
            for name in ("major", "conf", "data", "port", "address", "host", "backup_role"):
                assert f"@{name}@" not in text


def line(number: int, text: str, **more: Any) -> str:
    """A line as pg_hba_file_rules tells it."""
    kind, database, user, *address, method = text.split()
    row = {"line_number": number, "type": kind, "database": [database], "user_name": [user]}
    row |= {"auth_method": method, "address": None, "netmask": None, "error": None}
    if address:
        row |= {"address": address[0], "netmask": address[1] if address[1:] else None}
    return json.dumps(row | more)


ONES, NONE = "255.255.255.255", "0.0.0.0"
REJECTS = ("local all all reject", "host all all all reject")
NO_POSTGRES = (f"hostssl all postgres {NONE} {NONE} reject", "hostssl all postgres :: :: reject")
APP = f"hostssl portal app 192.0.2.1 {ONES} scram-sha-256"


@pytest.mark.parametrize(
    ("check", "lines", "found"),
    [
        ("hba-parsed", (), "no line at all"),
        ("hba-methods", ("local all all trust",), "local all all trust"),
        ("hba-plain", (f"host portal app 192.0.2.1 {ONES} scram-sha-256",), "host portal app"),
        ("hba-plain", (f"hostnossl portal app 192.0.2.1 {ONES} cert",), "hostnossl"),
        ("hba-wide", ("hostssl portal app 10.0.0.0 255.0.0.0 cert",), "255.0.0.0"),
        ("hba-wide", ("hostssl portal app all cert",), "all cert"),
        ("hba-wide", ("hostssl portal app .example.org cert",), ".example.org"),
        ("hba-all-all", (f"hostssl all all 192.0.2.1 {ONES} cert",), "all all"),
        ("hba-superuser", (f"hostssl all all 192.0.2.1 {ONES} cert",), "postgres: line 1"),
        ("hba-superuser", (f"hostssl all postgres 192.0.2.1 {ONES} cert", *NO_POSTGRES), "line 1"),
        ("hba-superuser", (NO_POSTGRES[1], f"hostssl all all 192.0.2.1 {ONES} cert"), "line 2"),
        ("hba-final-reject", (APP, REJECTS[0]), "host lines"),
        ("hba-final-reject", (*REJECTS, APP), "no reject ends the local lines"),
        ("hba-shadowed", (APP, APP), "line 2"),
        ("hba-shadowed", ("host all all 192.0.2.0 255.255.255.0 reject", APP), "line 2"),
    ],
)
def test_each_fault_of_pg_hba_conf_is_named(check: str, lines: tuple[str, ...], found: str) -> None:
    """By the line that has it."""
    items = tuple(line(number, text) for number, text in enumerate(lines, 1))
    (one,) = judge(TARGET, (HBA[check],), {(check, ""): Answer(items=items)})
    assert not one.passed
    assert found in one.observed


def test_sound_rules_pass() -> None:
    """Administrator by the socket, nobody as the administrator from afar, one application."""
    texts = ("local all postgres peer", *NO_POSTGRES, APP, *REJECTS)
    items = tuple(line(number, text) for number, text in enumerate(texts, 1))
    for check, one in HBA.items():
        if one.language == "sql":
            (result,) = judge(TARGET, (one,), {(check, ""): Answer(items=items)})
            assert result.passed, result


def test_an_unreadable_line_is_named_and_covers_nothing() -> None:
    """The server gives a number and an error, and no fields."""
    row = json.dumps({"line_number": 3, "error": "invalid connection type"})
    for check in ("hba-parsed", "hba-shadowed"):
        items = (row, line(4, APP))
        (one,) = judge(TARGET, (HBA[check],), {(check, ""): Answer(items=items)})
        assert one.passed is (check == "hba-shadowed")
    (one,) = judge(TARGET, (HBA["hba-wide"],), {("hba-wide", ""): Answer(items=("{",))})
    assert "not understood" in one.observed


def test_ports_are_open_to_whom_they_are_declared_open() -> None:
    """SSH to operators, PostgreSQL to backup hosts and applications, else nothing."""
    operator = str(ESTATE.site.operator_networks[0].network_address)
    assert open_ports(ESTATE, SERVER.host.name, operator) >= {22}
    assert 5432 in open_ports(ESTATE, SERVER.host.name, str(BACKUP_HOST.host.address))
    assert open_ports(ESTATE, SERVER.host.name, "203.0.113.77") == frozenset()
    assert open_ports(ESTATE, BACKUP_HOST.host.name, str(SERVER.host.address)) <= {22}
