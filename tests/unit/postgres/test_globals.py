"""The globals of a cluster are taken apart as PostgreSQL reads them, and only what fits is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.errors import IntegrityError
from backup.postgres.globals import parse, statements_for

DUMP = r"""--
-- PostgreSQL database cluster dump; 'quote" $$
--

\restrict abc'def

SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:x;y--z';
CREATE ROLE "a;b ""c"" -- d";
ALTER ROLE "a;b ""c"" -- d" WITH NOSUPERUSER LOGIN PASSWORD 'it''s; \';
COMMENT ON ROLE "a;b ""c"" -- d" IS E'two;\'lines\\';
CREATE ROLE "😀
new";
ALTER ROLE "😀
new" WITH NOSUPERUSER NOLOGIN;
CREATE ROLE tablespace;
ALTER ROLE tablespace WITH SUPERUSER;

--
-- User Config "a;b ""
--
ALTER ROLE "a;b ""c"" -- d" SET search_path TO '$user', 'public';
SECURITY LABEL FOR x ON ROLE tablespace IS $l$;'$l$;

/* a block ; /* in a block */ ' */
GRANT tablespace TO "a;b ""c"" -- d" WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;
GRANT pg_read_all_data TO "😀
new" GRANTED BY tablespace;
GRANT postgres TO tablespace GRANTED BY "POSTGRES";
GRANT SET ON PARAMETER work_mem TO tablespace;
CREATE TABLESPACE "fast; disk" OWNER postgres LOCATION '/x;y';
GRANT ALL ON TABLESPACE "fast; disk" TO tablespace;
COMMENT ON TABLESPACE "fast; disk" IS 'x';
\unrestrict abc'def
"""
ODD = 'a;b "c" -- d'
NEW = "😀\nnew"


def test_every_statement_is_found_with_its_kind_and_names() -> None:
    """Quotes, comments, dollar quotes and meta-commands neither split nor join statements."""
    found = [(one.kind, *one.roles) for one in parse(DUMP) if one.kind != "session"]
    assert found == [
        ("create role", "postgres"),
        ("about role", "postgres"),
        ("create role", ODD),
        ("about role", ODD),
        ("about role", ODD),
        ("create role", NEW),
        ("about role", NEW),
        ("create role", "tablespace"),
        ("about role", "tablespace"),
        ("about role", ODD),
        ("about role", "tablespace"),
        ("membership", "tablespace", ODD),
        ("membership", "pg_read_all_data", NEW),
        ("membership", "postgres", "tablespace"),
        ("about role", "tablespace"),
        ("tablespace",),
        ("tablespace",),
        ("tablespace",),
    ]


def test_a_role_that_exists_is_never_touched() -> None:
    """No statement alters, comments on or grants to a role of a cluster in use."""
    plan = statements_for(DUMP, ["postgres", "tablespace", NEW], bootstrap_superuser="postgres")
    assert [text for text in plan.statements if not text.startswith("SET")] == [
        'CREATE ROLE "a;b ""c"" -- d";',
        """ALTER ROLE "a;b ""c"" -- d" WITH NOSUPERUSER LOGIN PASSWORD 'it''s; \\';""",
        r"""COMMENT ON ROLE "a;b ""c"" -- d" IS E'two;\'lines\\';""",
        """ALTER ROLE "a;b ""c"" -- d" SET search_path TO '$user', 'public';""",
        'GRANT tablespace TO "a;b ""c"" -- d" WITH ADMIN OPTION , INHERIT TRUE;',
    ]
    assert plan.created_roles == (ODD,)
    assert plan.existing_roles == ("postgres", "tablespace", NEW)
    assert plan.created_superusers == ()


def test_tablespaces_are_told_and_not_made() -> None:
    """A tablespace's directory belongs to another machine."""
    plan = statements_for(DUMP, [], is_fresh=True)
    assert plan.tablespaces == ("fast; disk",)
    assert not any("TABLESPACE" in text for text in plan.statements)


def test_a_new_superuser_is_told() -> None:
    """Who runs a restore learns that it makes somebody all-powerful."""
    assert statements_for(DUMP, ["postgres"]).created_superusers == ("tablespace",)


def test_a_fresh_cluster_gets_all_but_the_creation_of_its_superuser() -> None:
    """The bootstrap superuser exists already, and still gets its attributes."""
    plan = statements_for(DUMP, ["postgres"], is_fresh=True)
    assert "CREATE ROLE postgres;" not in plan.statements
    assert any(text.startswith("ALTER ROLE postgres") for text in plan.statements)
    assert 'GRANT postgres TO tablespace GRANTED BY "POSTGRES";' in plan.statements


def test_a_grantor_other_than_the_bootstrap_superuser_stays() -> None:
    """Who granted a membership decides who may revoke it."""
    plan = statements_for(DUMP, ["postgres"], bootstrap_superuser="postgres")
    assert any(text.endswith("GRANTED BY tablespace;") for text in plan.statements)


def test_backslashes_escape_once_the_dump_says_so() -> None:
    """A server with standard_conforming_strings off writes such dumps."""
    dump = (
        r"""SET standard_conforming_strings = off; COMMENT ON ROLE a IS 'x\';y'; CREATE ROLE b;"""
    )
    assert [one.roles for one in parse(dump)] == [(), ("a",), ("b",)]
    assert [one.roles for one in parse(dump.replace("off", "on").replace(r"\'", "'';"))] == [
        (),
        ("a",),
        ("b",),
    ]


@pytest.mark.parametrize(
    "dump",
    ["CREATE ROLE a", 'CREATE ROLE "a;', "COMMENT ON ROLE a IS 'x;", "/* CREATE ROLE a;", r"E'\'"],
)
def test_a_cut_dump_is_refused(dump: str) -> None:
    """A dump that ends inside something was not read to its end."""
    with pytest.raises(IntegrityError):
        parse(dump)


def test_statements_that_nobody_knows_are_run_on_a_fresh_cluster_only() -> None:
    """What a later pg_dumpall writes cannot harm a cluster in use."""
    dump = "REVOKE ALL ON PARAMETER work_mem FROM PUBLIC;; CREATE ROLE a; GRANT x;"
    assert [one.kind for one in parse(dump)] == ["other", "create role", "other"]
    assert statements_for(dump, []).statements == ("CREATE ROLE a;",)
    assert len(statements_for(dump, [], is_fresh=True).statements) == 3


def test_passwords_do_not_show_in_a_plan() -> None:
    """A plan can be logged; its statements are not part of what it shows."""
    assert "SCRAM" not in repr(statements_for(DUMP, [])) + repr(parse(DUMP))


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(names=st.lists(NAMES, unique=True, max_size=6), secret=NAMES, data=st.data())
def test_any_name_and_password_survives(names: list[str], secret: str, data: st.DataObject) -> None:
    """Whatever is in names, passwords and comments, each role is found once and as it was."""
    dump = ""
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        literal = "'" + secret.replace("'", "''") + "'"
        escaped = "E'" + secret.replace("\\", "\\\\").replace("'", "\\'") + "'"
        line = " ".join(name.split("\n"))
        dump += f"-- {line}\n".replace("\r", " ") + f"CREATE ROLE {quoted};\n"
        dump += f"ALTER ROLE {quoted} WITH LOGIN PASSWORD {literal};\n"
        dump += f"COMMENT ON ROLE {quoted} IS {escaped};\n"
    existing = [name for name in names if data.draw(st.booleans())]
    plan = statements_for(dump, existing)
    created = sorted(set(names) - set(existing))
    assert plan.created_roles == tuple(created)
    assert len(plan.statements) == 3 * len(created)
    assert [one.roles[0] for one in parse(dump)] == [name for name in names for _ in range(3)]
