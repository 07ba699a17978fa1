"""Who can do what, against what is declared: every difference is a question to the reviewer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup.repository.canonical import decode, encode
from deploy.core.checks_access import Line
from deploy.core.observed import DatabaseState, ObservedDatabase, ObservedRight, ObservedRole
from deploy.core.review import AccessReview, Found, ReviewedRole, SignOff, as_text, review
from deploy.inventory import load_estate

ESTATE = load_estate(Path(__file__).parents[3] / "inventories" / "example.py")
SERVER = ESTATE.servers[0]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DECLARED = {role.name: role for role in SERVER.all_roles()}
DATABASE = SERVER.databases[0].name


def observed(name: str, **changes: Any) -> ObservedRole:
    """A role as it is declared, or a plain one, but for what is changed."""
    role = DECLARED.get(name)
    values: dict[str, Any] = {
        "name": name,
        "can_login": role is not None and role.can_login,
        "is_superuser": name == "postgres",
        "can_create_databases": False,
        "can_create_roles": False,
        "can_replicate": False,
        "bypasses_row_security": role is not None and role.bypasses_row_security,
        "inherits": True,
        "connection_limit": -1,
        "valid_until": None,
        "has_password": False,
        "salted": None,
        "fingerprint": None,
        "member_of": () if role is None else role.member_of,
        "settings": {},
    }
    return ObservedRole(**(values | changes))


def reviewed(
    *changed: ObservedRole, rights: tuple[ObservedRight, ...] = (), without: str = ""
) -> dict[str, ReviewedRole]:
    """The review of a server as declared, but for these roles and rights."""
    roles = {name: observed(name) for name in ("postgres", *DECLARED) if name != without}
    roles |= {role.name: role for role in changed}
    names = tuple(name for name in roles)
    found = Found(
        roles=tuple(roles.values()),
        databases=(
            ObservedDatabase(
                name=DATABASE,
                owner=SERVER.databases[0].owner,
                encoding="UTF8",
                locale="C.UTF-8",
                connection_limit=-1,
                settings={},
            ),
        ),
        states={
            DATABASE: DatabaseState(
                schemas={},
                extensions=(),
                totals={},
                rights=rights,
                defaults=(),
                unreadable_large_objects=0,
            )
        },
        lines=(
            Line(line_number=1, type="hostssl", database=("all",), user_name=names,
                 address="192.0.2.1", netmask="255.255.255.255", auth_method="cert"),
        ),
    )  # fmt: skip
    return {role.name: role for role in review(SERVER, found, now=NOW)[0]}


def right(grantee: str, privilege: str, on: str = "tables") -> ObservedRight:
    """A right on three tables of a schema."""
    return ObservedRight(
        on=on, schema_name="portal", grantee=grantee, privilege=privilege, count=3, total=3
    )


def test_a_server_as_declared_raises_no_question() -> None:
    """Each role stands there with what it can do."""
    found = reviewed()
    assert [role.name for role in found.values() if role.questions] == []
    assert found["postgres"].standing == "administrator"
    assert found["postgres"].can == ("everything: it is a superuser, or a member of one",)
    assert "what pg_read_all_data can" in found["strongroom_backup"].can


def test_an_undeclared_role_comes_first_with_all_that_it_can() -> None:
    """Also what it can by way of a role of a role."""
    middle = observed("middle", member_of=("pg_write_all_data",))
    rogue = observed("rogue", can_login=True, member_of=("middle",))
    found = reviewed(middle, rogue, rights=(right("middle", "DELETE"),))
    assert {"middle", "rogue"} == set(list(found)[:2])
    assert found["rogue"].standing == "undeclared"
    assert found["rogue"].member_of == ("middle", "pg_write_all_data")
    assert f"{DATABASE}: DELETE on 3 tables of schema portal" in found["rogue"].can
    assert found["rogue"].questions == ("nobody declared it: who needs it?",)


def test_what_a_declared_role_has_beyond_its_declaration_is_a_question() -> None:
    """An attribute, a membership, a right."""
    name = next(name for name in DECLARED if DECLARED[name].purpose)
    more = observed(name, can_create_roles=True, member_of=("pg_monitor",))
    questions = " ".join(reviewed(more, rights=(right(name, "TRUNCATE"),))[name].questions)
    assert "can_create_roles is set and not declared" in questions
    assert "a member of pg_monitor, which is not declared" in questions
    assert "TRUNCATE on 3 tables of schema portal is not declared" in questions


def test_stale_and_missing_roles_are_questions() -> None:
    """A time that is over, a login that leads nowhere, a declaration without a role."""
    name = next(name for name in DECLARED if DECLARED[name].can_login)
    old = observed(name, valid_until="2026-01-31T00:00:00.000000+00:00")
    assert "its time was over on 2026-01-31: is it still needed?" in reviewed(old)[name].questions
    assert reviewed(without=name)[name].questions == ("it is declared and not there",)


def test_a_record_is_canonical_and_its_page_has_a_sign_off() -> None:
    """Nothing that a server says reaches a terminal as it is."""
    rogue = observed("rogue\x1b[2J")
    roles = tuple(reviewed(rogue).values())
    record = AccessReview(
        generated_by="test",
        generated_on="operator",
        site="lab",
        host="db1",
        inventory_sha256="0" * 64,
        taken=NOW,
        roles=roles,
        public_can=(),
        questions=1,
        sign_off=SignOff(reviewer="A. Auditor", decision="approved", note=""),
    )
    assert decode(AccessReview, encode(record), "it") == record
    page = as_text(record)
    assert "reviewer    A. Auditor" in page
    assert "\x1b" not in page
