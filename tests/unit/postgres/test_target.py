"""The statements that make a database again are right for each server and each odd name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.errors import SettingsError
from backup.postgres.target import Surroundings, completion_sql, create_sql, split_identifiers
from backup.repository.catalog import DatabaseProperties, DatabaseSetting, Grant

PLAIN = DatabaseProperties(
    name="x",
    owner="o'w\"n",
    encoding="UTF8",
    collate="C",
    ctype="C",
    locale_provider="c",
    locale=None,
    icu_rules=None,
    collation_version=None,
    connection_limit=-1,
    tablespace="pg_default",
    comment=None,
    grants=None,
    settings=(),
)
AROUND = Surroundings(
    server_version=180004, roles=frozenset({"o'w\"n"}), tablespaces=frozenset({"pg_default", "f"})
)
START = "CREATE DATABASE \"n\"\"\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' "


def test_a_plain_database_says_all_that_could_default() -> None:
    """The cluster's own defaults must not decide."""
    assert create_sql('n"', PLAIN, AROUND, has_owner=True) == (
        START + 'LOCALE_PROVIDER libc OWNER "o\'w""n"',
        (),
    )
    assert create_sql('n"', PLAIN, AROUND, has_owner=False)[0] == START + "LOCALE_PROVIDER libc"


def test_what_is_not_there_is_left_out_and_told() -> None:
    """An owner and a tablespace each get a sentence; one that is there is used."""
    lost = replace(PLAIN, owner="nobody", tablespace="gone")
    sql, notes = create_sql('n"', lost, AROUND, has_owner=True)
    assert sql == START + "LOCALE_PROVIDER libc"
    assert len(notes) == 2
    sql, notes = create_sql('n"', replace(PLAIN, tablespace="f"), AROUND, has_owner=False)
    assert (sql, notes) == (START + 'LOCALE_PROVIDER libc TABLESPACE "f"', ())


@pytest.mark.parametrize(
    ("provider", "locale", "rules", "since", "options"),
    [
        ("i", "de", None, 150000, "LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        ("i", "de", "&a < g", 160000, "LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < g'"),
        ("b", "C", None, 170000, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C'"),
    ],
)
def test_a_provider_is_said_or_refused(
    provider: str, locale: str, rules: str | None, since: int, options: str
) -> None:
    """A server that is too old is named before anything is made."""
    properties = replace(PLAIN, locale_provider=provider, locale=locale, icu_rules=rules)
    around = replace(AROUND, server_version=since)
    assert create_sql('n"', properties, around, has_owner=False)[0] == START + options
    if since > 150000:
        around = replace(AROUND, server_version=since - 1)
        with pytest.raises(SettingsError, match=f"PostgreSQL {since // 10000}"):
            create_sql('n"', properties, around, has_owner=False)


def test_a_database_that_nobody_configured_only_loses_the_word_unfinished() -> None:
    """The comment that says so is taken away at the very end."""
    assert [one.sql for one in completion_sql("n", PLAIN)] == ['COMMENT ON DATABASE "n" IS NULL']


def test_grants_settings_limit_and_comment_come_in_this_order() -> None:
    """The comment is last: until then it says that the restore is not finished."""
    properties = replace(
        PLAIN,
        comment="it's \\",
        grants=(
            Grant(grantee=None, privilege="CONNECT", is_grantable=False),
            Grant(grantee='r"', privilege="CREATE", is_grantable=True),
        ),
        settings=(
            DatabaseSetting(role=None, name="search_path", value='"$user", public, "a""b,c"'),
            DatabaseSetting(role="r", name="search_path", value=""),
            DatabaseSetting(role=None, name="x.y", value="a, 'b'"),
        ),
        connection_limit=0,
    )
    assert [one.sql for one in completion_sql("n", properties)] == [
        'REVOKE ALL ON DATABASE "n" FROM PUBLIC',
        'REVOKE ALL ON DATABASE "n" FROM "o\'w""n"',
        'GRANT CONNECT ON DATABASE "n" TO PUBLIC',
        'GRANT CREATE ON DATABASE "n" TO "r""" WITH GRANT OPTION',
        "ALTER DATABASE \"n\" SET \"search_path\" TO '$user', 'public', 'a\"b,c'",
        'ALTER ROLE "r" IN DATABASE "n" SET "search_path" TO \'\'',
        "ALTER DATABASE \"n\" SET \"x.y\" TO 'a, ''b'''",
        'ALTER DATABASE "n" CONNECTION LIMIT 0',
        "COMMENT ON DATABASE \"n\" IS  E'it''s \\\\'",
    ]


@given(names=st.lists(st.text(min_size=1), max_size=5))
def test_a_list_of_names_is_split_as_it_was_joined(names: list[str]) -> None:
    """Quotes, commas and spaces within a name are part of it."""
    joined = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    assert split_identifiers(joined) == tuple(names)
