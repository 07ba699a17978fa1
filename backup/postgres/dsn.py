"""Which database to talk to, as libpq writes it: a URL or `keyword=value` pairs.

libpq's own rules hold (PostgreSQL manual, "Connection Strings"), narrowed to what both the client
tools and our own session can honour: one host, no service file, no keyword that only one of the
two would check. The password leaves by `password` and `passfile_text` only.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NotRequired, Self, TypedDict
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from backup.errors import SettingsError
from backup.postgres.conninfo import URL_SCHEMES, conninfo_pairs, quoted, url_pairs

# Debian's and Red Hat's socket directory. Without it, every libpq would use the one it was
# compiled with, and the tools and our own session could reach different servers.
DEFAULT_HOST: Final = "/var/run/postgresql"
DEFAULT_PORT: Final = 5432

_IDENTITY: Final = ("host", "port", "user", "dbname", "password")
# What libpq and asyncpg both understand.
_SHARED: Final = frozenset(
    {
        *("passfile", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("target_session_attrs", "krbsrvname", "gsslib"),
    }
)
_SESSION: Final = frozenset({"application_name", "options"})
# Only libpq acts on these, and no check is lost where they are not acted on.
_LIBPQ_ONLY: Final = frozenset(
    {
        *("connect_timeout", "tcp_user_timeout"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("sslsni", "gssencmode", "channel_binding"),
    }
)
_REQUIRED_BY_LIBPQ_ONLY: Final = frozenset(
    {("gssencmode", "require"), ("channel_binding", "require")}
)
_ENVIRONMENT: Final = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGDATABASE": "dbname",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGOPTIONS": "options",
    "PGAPPNAME": "application_name",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
}


class AsyncpgArguments(TypedDict):
    """Keyword arguments of `asyncpg.connect`; nothing is left for it to find in the environment."""

    dsn: str
    host: str
    port: int
    user: str
    database: str
    password: NotRequired[str]
    timeout: NotRequired[float]
    server_settings: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Dsn:
    """One database of one server. `host` that starts with `/` is a socket's directory."""

    host: str
    port: int = DEFAULT_PORT
    user: str
    database: str
    password: SecretStr | None = None
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> Self:
        """Read a URL or `keyword=value` pairs; `environment` fills what they leave out.

        Raises `SettingsError`, which never quotes a value.
        """
        environment = environment or {}
        given = {k: environment[n] for n, k in _ENVIRONMENT.items() if environment.get(n)}
        pairs = url_pairs(text) if text.startswith(URL_SCHEMES) else conninfo_pairs(text)
        given.update((keyword, value) for keyword, value in pairs if value)
        _refuse_what_cannot_be(given)
        user = given.get("user") or environment.get("USER") or environment.get("LOGNAME")
        if not user:
            raise SettingsError("the connection string names no user", hint="add user=NAME")
        password = given.get("password")
        return cls(
            host=given.get("host", DEFAULT_HOST),
            port=_port(given.get("port", str(DEFAULT_PORT))),
            user=user,
            database=given.get("dbname", user),
            password=SecretStr(password) if password else None,
            options=tuple(sorted((k, v) for k, v in given.items() if k not in _IDENTITY)),
        )

    def with_database(self, name: str) -> Self:
        """Return the same server and user, another database."""
        return dataclasses.replace(self, database=name)

    def with_option(self, keyword: str, value: str) -> Self:
        """Return the same with one more libpq keyword, or another value of it."""
        options = {**dict(self.options), keyword: value}
        _refuse_what_cannot_be(options)
        return dataclasses.replace(self, options=tuple(sorted(options.items())))

    def conninfo(self) -> str:
        """Return quoted `keyword=value` pairs for `--dbname=`; the password is not in them."""
        pairs = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "dbname": self.database,
            **dict(self.options),
        }
        return " ".join(f"{keyword}={quoted(value)}" for keyword, value in pairs.items())

    @property
    def passfile_text(self) -> SecretStr | None:
        """The password as the one line of a libpq password file that fits every connection."""
        if self.password is None:
            return None
        return passfile_text(self.password)

    def asyncpg_arguments(self) -> AsyncpgArguments:
        """Return what `asyncpg.connect` takes; the password is in it in the clear."""
        options = dict(self.options)
        shared = {keyword: value for keyword, value in options.items() if keyword in _SHARED}
        arguments = AsyncpgArguments(
            dsn="postgresql://"
            + (f"?{urlencode(shared, safe='', quote_via=quote)}" if shared else ""),
            host=self.host,
            port=self.port,
            user=self.user,
            database=self.database,
            server_settings={k: v for k, v in options.items() if k in _SESSION},
        )
        if self.password is not None:
            arguments["password"] = self.password.get_secret_value()
        if "connect_timeout" in options and float(options["connect_timeout"]) > 0:
            arguments["timeout"] = float(options["connect_timeout"])
        return arguments

    def __str__(self) -> str:
        """The URL, without the password."""
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        query = f"?{urlencode(self.options, safe='', quote_via=quote)}" if self.options else ""
        user, database = quote(self.user, safe=""), quote(self.database, safe="")
        return f"postgresql://{user}@{host}:{self.port}/{database}{query}"

    def __repr__(self) -> str:
        return f"Dsn({str(self)!r})"


def passfile_text(password: SecretStr) -> SecretStr:
    """Return a password file's line that offers `password` to every server, database and user.

    PostgreSQL manual, "The Password File": colon and backslash are escaped, one entry a line.
    """
    secret = password.get_secret_value()
    if any(character in secret for character in "\n\r\0"):
        raise SettingsError("a password with a line break cannot be handed to the client tools")
    escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
    return SecretStr(f"*:*:*:*:{escaped}\n")


def _refuse_what_cannot_be(given: Mapping[str, str]) -> None:
    for keyword, value in given.items():
        if keyword == "sslpassword":
            raise SettingsError(
                "sslpassword would stand in the command lines of the client tools",
                hint="use a client key without a passphrase, readable by this user only",
            )
        if keyword not in _IDENTITY and keyword not in _SHARED | _SESSION | _LIBPQ_ONLY:
            # Anything else may be the rest of a password that was not quoted.
            name = keyword if re.fullmatch(r"[a-z_]{1,30}", keyword) else "(not shown)"
            raise SettingsError(f"the connection string has a keyword that is not known: {name}")
        if "\0" in value:
            raise SettingsError(f"{keyword} in the connection string has a zero byte")
        if (keyword, value) in _REQUIRED_BY_LIBPQ_ONLY:
            raise SettingsError(
                f"{keyword}={value} would hold for the client tools but not for our own session",
                hint="drop it; sslmode=verify-full with sslrootcert holds for both",
            )
        if keyword == "connect_timeout" and not value.isdecimal():
            raise SettingsError("connect_timeout in the connection string is not a whole number")
    if "," in given.get("host", "") or "," in given.get("port", ""):
        raise SettingsError("the connection string names several hosts: a backup comes from one")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 65535:
        raise SettingsError("the port in the connection string is not a number from 1 to 65535")
    return int(text)
