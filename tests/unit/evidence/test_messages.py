"""What tools said: classed by what it means, and no row's value in it."""

from __future__ import annotations

import pytest

from backup.evidence.messages import classified, is_unreadable, redacted, redacted_error

COPY = (
    "pg_restore of part rest: exit code 1: pg_restore: error: COPY failed for table"
    ' "bills": ERROR:  invalid input syntax for type integer: "4711; secret"'
)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('pg_restore: error: could not execute query: ERROR:  role "a" does not exist', "error"),
        ("pg_restore: warning: errors ignored on restore: 1", "error"),
        ("FATAL:  the database system is shutting down", "error"),
        ('NOTICE:  extension "plpgsql" already exists, skipping', "expected"),
        ("WARNING:  subscription was created, but is not connected", "expected"),
        ("pg_restore: warning: something nobody has seen before", "warning"),
        ("something nobody has seen before", "warning"),
    ],
)
def test_a_message_is_classed(line: str, meant: str) -> None:
    """What is not known is a warning, never expected."""
    assert [one.classified for one in classified("pg_restore", line)] == [meant]


def test_what_goes_on_about_a_message_is_left_out() -> None:
    """It may show rows."""
    text = (
        'pg_restore: error: COPY failed for table "t": ERROR:  duplicate key value violates unique'
        ' constraint "t_pkey"\nDETAIL:  Key (mail)=(ann@example.org) already exists.\n'
        "CONTEXT:  COPY t, line 2\n\nCommand was: COPY\n    FROM stdin\n"
        "pg_restore: from TOC entry 5; 1 1 TABLE DATA t ann\npg_restore: hint: try\n"
    )
    assert [one.text for one in classified("pg_restore", text)] == [
        'pg_restore: error: COPY failed for table "t": ERROR:  duplicate key value violates unique'
        ' constraint "t_pkey"'
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('relation "a ""b""" has no column "c"', 'relation "a ""b""" has no column "c"'),
        ('invalid input syntax for type integer: "ann"', 'type integer: "…"'),
        ('value "99999999999" is out of range', 'value "…" is out of range'),
        ('column "age": "ann"', 'column "age": "…"'),
        ('"ann"', '"…"'),
    ],
)
def test_values_are_taken_out_and_names_stay(text: str, shown: str) -> None:
    """A quoted text is a name only where the word before it says so."""
    assert redacted(text).endswith(shown)
    assert "ann" not in redacted(text)


def test_an_error_of_a_tool_is_its_first_error() -> None:
    """Without the lines after it, and without what it said before."""
    assert redacted_error(f'{COPY}; CONTEXT:  COPY bills, line 1, column n: "4711"') == (
        'pg_restore of part rest: exit code 1: pg_restore: error: COPY failed for table "bills":'
        ' ERROR:  invalid input syntax for type integer: "…"'
    )
    assert redacted_error("pg_restore: exit code 1: a row with ann in it") == (
        "pg_restore: exit code 1"
    )
    assert redacted_error("pg_restore: ended by SIGKILL") == "pg_restore: ended by SIGKILL"
    assert redacted_error('role "ann" exists; DETAIL: x') == 'role "ann" exists'


def test_an_archive_that_cannot_be_read_is_told_apart() -> None:
    """By what pg_restore says of it, not by what a row happens to hold."""
    said = "pg_restore: exit code 1: pg_restore: error: "
    assert is_unreadable(f"{said}input file does not appear to be a valid archive")
    assert is_unreadable(f"{said}could not read from input file: end of file")
    assert not is_unreadable(f'{said}ERROR:  type integer: "corrupt"')
