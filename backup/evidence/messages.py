"""What the tools of a restore said on standard error: what each line means, without row values.

The server quotes names and values alike. Names stay, since a reader needs them; a quoted text that
does not follow the word for a kind of name is taken for a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from backup.evidence.report import Message, MessageClass

# Lines that go on about the message before them; they may show rows.
_CONTINUED = re.compile(
    r"^(?:HINT|DETAIL|CONTEXT|STATEMENT|QUERY|LINE \d+|Command was)\s*:|^\s"
    r"|^pg_restore: (?:hint:|detail:|from TOC entry|while )"
)
_ERROR = re.compile(r"^pg_restore: error:|\b(?:ERROR|FATAL|PANIC):|errors ignored on restore")
_EXPECTED = re.compile(
    r"\b(?:NOTICE|INFO|LOG|DEBUG):"
    # A subscription comes back without its connection: docs/format.md, and a warning of the backup.
    r"|WARNING: +(?:subscription was created, but is not connected|tables were not subscribed)"
)
_QUOTED = re.compile(r'(?P<before>\w+)?(?P<space>:? *)"(?P<text>(?:[^"]|"")*)"')
_NAMED = frozenset(
    {
        *("aggregate", "collation", "column", "constraint", "database", "domain", "extension"),
        *("function", "index", "language", "method", "operator", "parameter", "policy"),
        *("procedure", "publication", "relation", "role", "rule", "schema", "sequence", "server"),
        *("statistics", "subscription", "table", "tablespace", "trigger", "type", "user", "view"),
    }
)


# How a tool that failed is told of: its label, its end, and the last of what it said.
_FAILED = re.compile(
    r"^(?P<ending>[^:]+: (?:exit code \d+|ended by \w+))(?:: (?P<said>.*))?$", re.DOTALL
)
_FIRST_ERROR = re.compile(r"pg_restore: error: .*|(?:ERROR|FATAL|PANIC): .*", re.DOTALL)
_REST = re.compile(
    r"; (?:HINT|DETAIL|CONTEXT|STATEMENT|QUERY|LINE \d+|Command was)\s*:.*", re.DOTALL
)
# pg_backup_archiver.c and pg_backup_custom.c, when what they read is no whole archive.
_UNREADABLE = re.compile(
    r"valid archive|magic string|in file header|unsupported version|unexpected end of file"
    r"|could not read from input file|corrupt|unrecognized data block|entry ID -?\d+ out of range"
    r"|could not uncompress"
)


def classified(source: str, stderr: str) -> Iterator[Message]:
    """Yield each message in what a tool said, values taken out, in order."""
    for line in stderr.splitlines():
        if line.strip() and not _CONTINUED.match(line):
            yield Message(source=source, text=redacted(line), classified=_class(line))


def redacted(text: str) -> str:
    """Return a message with quoted values replaced by an ellipsis."""
    return _QUOTED.sub(_redacted, text)


def redacted_error(message: str) -> str:
    """Return an error's message; of what a tool said at its end, the first error alone."""
    failed = _FAILED.match(message)
    if failed is None:
        return redacted(_REST.sub("", message))
    first = _FIRST_ERROR.search(failed["said"] or "")
    if first is None:
        return failed["ending"]
    return f"{failed['ending']}: {redacted(_REST.sub('', first[0]))}"


def is_unreadable(message: str) -> bool:
    """Whether `pg_restore` says that what it reads is no whole archive."""
    return _UNREADABLE.search(redacted_error(message)) is not None


def _class(line: str) -> MessageClass:
    if _ERROR.search(line):
        return "error"
    return "expected" if _EXPECTED.search(line) else "warning"


def _redacted(found: re.Match[str]) -> str:
    before, space = found["before"] or "", found["space"]
    if before in _NAMED and ":" not in space:
        return found[0]
    return f'{before}{space}"…"'
