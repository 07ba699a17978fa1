"""`tables.csv`: every table of a report, RFC 4180. Pure.

A name that a spreadsheet would take for a formula gets an apostrophe in front, and so does one
that begins with an apostrophe: take one away and the name is back.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from backup.evidence.report import Report, TableResult

HEADER = (
    "schema", "name", "rows_source", "rows_restored", "digest_source", "digest_restored", "result",
)  # fmt: skip
# A full-width sign counts in some spreadsheets, and what comes after a line break in others.
_FORMULA = tuple("=+-@\t\r\n'＝＋－＠")  # noqa: RUF001 - these very signs


def result(table: TableResult) -> str:
    """Return what was found: `content equal`, `rows equal`, `different`, `not compared`."""
    is_digested = table.digest_source is not None and table.digest_restored is not None
    if not table.is_compared:
        return "not compared"
    if table.rows_source != table.rows_restored or (
        is_digested and table.digest_source != table.digest_restored
    ):
        return "different"
    return "content equal" if is_digested else "rows equal"


def render_tables(report: Report) -> bytes:
    """Return `tables.csv`."""
    return encode_csv(
        HEADER,
        (
            (
                table.schema,
                table.name,
                table.rows_source,
                table.rows_restored,
                table.digest_source,
                table.digest_restored,
                result(table),
            )
            for table in report.tables
        ),
    )


def encode_csv(header: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> bytes:
    """Return rows as a spreadsheet may open them: UTF-8, CRLF, nothing for what is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if cell is None else _harmless(cell) for cell in row])
    return text.getvalue().encode()


def _harmless(cell: str | int) -> str:
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and text.startswith(_FORMULA) else text
