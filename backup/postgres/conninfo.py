"""The two notations of libpq's connection strings, read into keywords and values.

PostgreSQL manual, "Connection Strings"; the edge cases are those of `fe-connect.c`. What the
keywords mean, and which are allowed, is `dsn.py`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from backup.errors import SettingsError

URL_SCHEMES: Final = ("postgresql://", "postgres://")
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_KEYWORD: Final = re.compile(r"\s*([^\s=]+)\s*=\s*")


def quoted(value: str) -> str:
    """Return `value` as it may stand after `keyword=`."""
    if value and not re.search(r"[\s'\\]", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def url_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the keywords of a URL, split as libpq's `conninfo_uri_parse_options` does."""
    rest = text.partition("://")[2]
    slash = rest.find("/") if "/" in rest else len(rest)
    user_info, at, after = rest[:slash].partition("@")
    if at:
        user, _, password = user_info.partition(":")
        yield "user", _decoded(user)
        yield "password", _decoded(password)
        rest = after + rest[slash:]
    address, _, query = rest.partition("?")
    hosts, _, database = address.partition("/")
    host, port = _host_and_port(hosts)
    yield "host", _decoded(host)
    yield "port", _decoded(port)
    yield "dbname", _decoded(database)
    for pair in filter(None, query.split("&")):
        keyword, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError("the query of the database URL has a part without '='")
        if (keyword, value) == ("ssl", "true"):  # what JDBC writes; libpq takes it too
            keyword, value = "sslmode", "require"
        yield _decoded(keyword), _decoded(value)


def _host_and_port(hosts: str) -> tuple[str, str]:
    if "@" in hosts:
        raise SettingsError(
            "the database URL has more than one '@'",
            hint="write '@' in a user name or password as %40",
        )
    if hosts.startswith("["):
        host, bracket, rest = hosts[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise SettingsError("the address in brackets in the database URL does not end well")
        return host, rest[1:]
    host, _, port = hosts.partition(":")
    return host, port


def _decoded(text: str) -> str:
    if _PERCENT.search(text):
        raise SettingsError(
            "the database URL has a '%' that two hexadecimal digits do not follow",
            hint="write '%' in a password as %25",
        )
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        # The original holds the whole text, a password perhaps.
        raise SettingsError("the database URL is not UTF-8 once decoded") from None


def conninfo_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield `keyword = value` pairs, read as libpq's `conninfo_parse` does."""
    at = 0
    while text[at:].strip():
        match = _KEYWORD.match(text, at)
        if match is None:
            raise SettingsError(
                "the connection string is neither a URL nor keyword=value pairs",
                hint="postgresql://USER@HOST/DATABASE",
            )
        value, at = _conninfo_value(text, match.end())
        yield match[1], value


def _conninfo_value(text: str, at: int) -> tuple[str, int]:
    is_quoted = text[at : at + 1] == "'"
    at += is_quoted
    value: list[str] = []
    while at < len(text):
        character = text[at]
        if is_quoted and character == "'":
            return "".join(value), at + 1
        if not is_quoted and character.isspace():
            break
        if character == "\\" and at + 1 < len(text):
            at += 1
            character = text[at]
        value.append(character)
        at += 1
    if is_quoted:
        raise SettingsError("a quoted value in the connection string does not end")
    return "".join(value), at
