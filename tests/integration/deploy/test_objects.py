"""Roles, databases and rights, planned and made on real servers of every major."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from deploy.core import queries, sql
from deploy.core.databaseplan import plan_database, plan_databases
from deploy.core.objects import BackupAccess, Database, Role, Undeclared
from deploy.core.observed import DatabaseState, ObservedDatabase, ObservedRole, ServerState
from deploy.core.roleplan import plan_roles
from deploy.core.scram import fingerprint, read_salted, verifier
from tests.lab.servers import LabServer

BACKUP = BackupAccess(role="sr_backup", large_objects="grant")
ROLES = (
    Role(name="sr_owner"),
    Role(name="sr_app", can_login=True, has_password=True, connection_limit=7,
         settings={"work_mem": "8MB", "search_path": "app, public"}),
    Role(name="sr_read", can_login=True, member_of=("pg_monitor",),
         valid_until="2031-05-06T07:08:09+02:00"),  # type: ignore[arg-type]
    BACKUP.as_role(),
)  # fmt: skip
PASSWORDS = {"sr_app": SecretStr("pass'word\\ é")}
DATABASE = Database.model_validate(
    {
        "name": "sr_portal",
        "owner": "sr_owner",
        "settings": {"lock_timeout": "5s"},
        "schemas": [{"name": "app"}],
        "grants": [
            {"on": "database", "to": "sr_app", "privileges": ["CONNECT", "TEMPORARY"]},
            {"on": "schema", "schema_name": "app", "to": "sr_app", "privileges": ["USAGE"]},
            {
                "on": "tables",
                "schema_name": "app",
                "to": "sr_app",
                "privileges": ["SELECT", "INSERT"],
                "future_of": ["sr_owner"],
            },
            {
                "on": "sequences",
                "schema_name": "app",
                "to": "sr_app",
                "privileges": ["USAGE"],
                "future_of": ["sr_owner"],
            },
        ],
    }
)


class Site:
    """The declared objects on one server, and what there is to change about them."""

    def __init__(self, server: LabServer) -> None:
        self.server = server

    def ask(self, question: str, database: str = "postgres") -> Any:
        """The answer to one of the facts' questions."""
        return json.loads(self.server.sql(question, database))

    def roles(self, undeclared: Undeclared = "report") -> Any:
        """Changes and findings of the roles, but for those that are the server's own."""
        found = [ObservedRole.model_validate(one) for one in self.ask(queries.ROLES)]
        ours = tuple(one for one in found if one.name.startswith("sr_"))
        return plan_roles(ROLES, ours, PASSWORDS, undeclared, lambda: os.urandom(16))

    def databases(self) -> tuple[sql.Change, ...]:
        """Changes of the databases."""
        found = tuple(map(ObservedDatabase.model_validate, self.ask(queries.DATABASES)))
        return plan_databases((DATABASE,), found)

    def inside(self, undeclared: Undeclared = "report") -> Any:
        """Changes and findings inside the database."""
        state = self.ask(queries.database(BACKUP.role), DATABASE.name)
        return plan_database(DATABASE, DatabaseState.model_validate(state), BACKUP, undeclared)

    def make(self) -> None:
        """Make it all as declared."""
        self.server.sql(sql.script(self.roles("revoke")[0]))
        self.server.sql(sql.script(self.databases(), in_transaction=False))
        self.server.sql(sql.script(self.inside("revoke")[0]), DATABASE.name)

    def differences(self) -> list[str]:
        """What is not as declared, for people."""
        found = [*self.roles()[0], *self.databases(), *self.inside()[0]]
        beside = [*self.roles()[1], *self.inside()[1]]
        return [f"{one.item}: {one.observed}" for one in (*found, *beside)]

    def clear(self) -> None:
        """Remove it all."""
        self.server.sql(f"DROP DATABASE IF EXISTS {DATABASE.name} WITH (FORCE)")
        for name in self.server.sql("SELECT rolname FROM pg_roles WHERE rolname ~ '^sr_'").split():
            self.server.sql(f"DROP ROLE {name}")


@pytest.fixture
def site(server: LabServer) -> Iterator[Site]:
    """A server with everything as declared."""
    made = Site(server)
    made.clear()
    made.make()
    yield made
    made.clear()


def test_the_second_plan_is_empty(site: Site) -> None:
    """Passwords, limits, expiry, settings with commas and rights come back as declared."""
    assert site.differences() == []


def test_what_the_owner_makes_later_is_covered(site: Site) -> None:
    """Default privileges: nothing is left to do after a new version of the application."""
    site.server.sql(
        "SET ROLE sr_owner; CREATE TABLE app.bills (id int GENERATED ALWAYS AS IDENTITY);"
        "CREATE VIEW app.v AS SELECT * FROM app.bills; CREATE FUNCTION app.f() RETURNS int"
        " LANGUAGE sql RETURN 1",
        DATABASE.name,
    )
    assert site.differences() == []
    granted = "SELECT has_table_privilege('sr_app', 'app.bills', 'INSERT')"
    assert site.server.sql(granted, DATABASE.name).strip() == "t"


# What somebody changes by hand, and how the plan calls it.
PLANTED = {
    "ALTER ROLE sr_app SUPERUSER": "role sr_app: SUPERUSER",
    "ALTER ROLE sr_app PASSWORD 'another'": "password of role sr_app: another",
    "ALTER ROLE sr_read PASSWORD 'one'": "password of role sr_read: one is set",
    "ALTER ROLE sr_app CONNECTION LIMIT -1": "role sr_app: CONNECTION LIMIT -1",
    "ALTER ROLE sr_read VALID UNTIL 'infinity'": "role sr_read: VALID UNTIL 'infinity'",
    "ALTER ROLE sr_app SET work_mem = '1GB'": "setting work_mem of role sr_app: 1GB",
    "ALTER ROLE sr_app SET log_statement = 'none'": "setting log_statement of role sr_app: none",
    "GRANT pg_write_all_data TO sr_app": "role sr_app: a member",
    "CREATE ROLE sr_mallory LOGIN SUPERUSER": ("role sr_mallory: not declared: LOGIN, SUPERUSER"),
    "GRANT CONNECT ON DATABASE sr_portal TO PUBLIC": (
        "database sr_portal: PUBLIC has CONNECT on the database (1 of 1)"
    ),
    "REVOKE CONNECT ON DATABASE sr_portal FROM sr_backup": "database sr_portal: on 0 of 1",
    "ALTER DATABASE sr_portal RESET lock_timeout": (
        "setting lock_timeout of database sr_portal: not set"
    ),
    "GRANT DELETE ON app.t TO sr_app": (
        "database sr_portal: not declared: sr_app has DELETE on tables of schema app (1 of 1)"
    ),
    "GRANT SELECT ON app.t TO PUBLIC": (
        "database sr_portal: PUBLIC has SELECT on tables of schema app (1 of 1)"
    ),
    "GRANT CREATE ON SCHEMA public TO PUBLIC": (
        "database sr_portal: PUBLIC has CREATE on schema public (1 of 1)"
    ),
    "ALTER SCHEMA app OWNER TO sr_read": ("schema app of database sr_portal: owned by sr_read"),
    "ALTER DEFAULT PRIVILEGES FOR ROLE sr_owner IN SCHEMA app GRANT DELETE ON TABLES TO sr_app": (
        "database sr_portal: not declared: sr_app will have DELETE on tables of schema app"
        " that sr_owner makes"
    ),
    "DO 'BEGIN PERFORM lo_create(0); END'": "database sr_portal: 1 that it does not",
}


def test_planted_drift_is_named_and_mended(site: Site) -> None:
    """Exactly what was changed by hand is named, and after it was mended nothing is."""
    site.server.sql("SET ROLE sr_owner; CREATE TABLE app.t ()", DATABASE.name)
    site.make()
    site.server.sql(";".join(PLANTED), DATABASE.name)
    assert sorted(site.differences()) == sorted(PLANTED.values())
    site.make()
    assert site.differences() == []


def test_what_is_not_declared_is_locked_and_not_dropped(site: Site) -> None:
    """Nothing that a role owns is lost, and nobody comes in as it."""
    site.server.sql("CREATE ROLE sr_old LOGIN CREATEROLE IN ROLE sr_owner")
    site.make()
    found = [ObservedRole.model_validate(one) for one in site.ask(queries.ROLES)]
    old = next(one for one in found if one.name == "sr_old")
    assert not old.can_login
    assert old.powers == ()
    assert old.member_of == ()
    assert site.differences() == []


def test_the_question_about_the_server_is_answered(server: LabServer) -> None:
    """On every major, with the settings that files set."""
    state = ServerState.model_validate(json.loads(server.sql(queries.SERVER)))
    assert state.version // 10000 == server.major
    assert state.loaded_at > 0
    assert state.value("nonsense") is None


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1))
def test_the_server_would_have_made_the_same_verifier(any_server: LabServer, password: str) -> None:
    """For every password: with the server's salt ours is the same, byte for byte."""
    any_server.sql("DROP ROLE IF EXISTS sr_scram")
    any_server.sql(
        f"SET client_encoding = 'UTF8'; CREATE ROLE sr_scram PASSWORD {sql.literal(password)}"
    )
    stored = any_server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'sr_scram'").strip()
    any_server.sql("DROP ROLE sr_scram")
    salted = read_salted(stored)
    assert salted is not None
    made = verifier(SecretStr(password), salted)
    assert made.get_secret_value() == stored
    assert fingerprint(made)
