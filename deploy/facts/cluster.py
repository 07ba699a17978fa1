"""A PostgreSQL cluster, asked through its socket as its administrator."""

from __future__ import annotations

import json
from typing import Any

from pyinfra.api.facts import FactBase

from deploy.core import queries
from deploy.core.observed import DatabaseState, ObservedDatabase, ObservedRole, ServerState


def ask(sql: str, *, port: int, database: str) -> str:
    """Return a line of shell that prints the answer, or nothing while no server answers.

    Exit code 2 of psql is that there was no connection: the server is down, or has no such
    database yet. Anything else that fails is an error.
    """
    return (
        "cd /; command -v psql >/dev/null || exit 0;"
        f" runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -p {port} -d {database}"
        f" <<'STRONGROOM'\n{sql};\nSTRONGROOM\ncode=$?; [ $code -eq 0 ] || [ $code -eq 2 ]"
    )


def _answer(output: list[str]) -> Any:  # noqa: ANN401 - JSON is any
    text = "\n".join(output).strip()
    return json.loads(text) if text else None


class ServerStateOf(FactBase[ServerState | None]):
    """The server's settings and files; None while it is down."""

    @staticmethod
    def default() -> ServerState | None:
        """It is down."""
        return None

    def command(self, port: int) -> str:
        """Return what asks."""
        return ask(queries.SERVER, port=port, database="postgres")

    def process(self, output: list[str]) -> ServerState | None:
        """Return the state."""
        answer = _answer(output)
        return None if answer is None else ServerState.model_validate(answer)


class RolesOf(FactBase[tuple[ObservedRole, ...] | None]):
    """Every role; None while the server is down."""

    @staticmethod
    def default() -> tuple[ObservedRole, ...] | None:
        """It is down."""
        return None

    def command(self, port: int) -> str:
        """Return what asks."""
        return ask(queries.ROLES, port=port, database="postgres")

    def process(self, output: list[str]) -> tuple[ObservedRole, ...] | None:
        """Return the roles."""
        answer = _answer(output)
        return None if answer is None else tuple(map(ObservedRole.model_validate, answer))


class DatabasesOf(FactBase[tuple[ObservedDatabase, ...] | None]):
    """Every database; None while the server is down."""

    @staticmethod
    def default() -> tuple[ObservedDatabase, ...] | None:
        """It is down."""
        return None

    def command(self, port: int) -> str:
        """Return what asks."""
        return ask(queries.DATABASES, port=port, database="postgres")

    def process(self, output: list[str]) -> tuple[ObservedDatabase, ...] | None:
        """Return the databases."""
        answer = _answer(output)
        return None if answer is None else tuple(map(ObservedDatabase.model_validate, answer))


class DatabaseStateOf(FactBase[DatabaseState | None]):
    """What is in one database; None while the server is down or the database is not there."""

    @staticmethod
    def default() -> DatabaseState | None:
        """It is down."""
        return None

    def command(self, port: int, database: str, backup_role: str | None) -> str:
        """Return what asks."""
        return ask(queries.database(backup_role), port=port, database=database)

    def process(self, output: list[str]) -> DatabaseState | None:
        """Return the state."""
        answer = _answer(output)
        return None if answer is None else DatabaseState.model_validate(answer)


class TablesOf(FactBase[tuple[str, ...]]):
    """The tables of one database; none while the server is down or the database is not there."""

    @staticmethod
    def default() -> tuple[str, ...]:
        """There is none."""
        return ()

    def command(self, port: int, database: str) -> str:
        """Return what asks."""
        return ask(queries.TABLES, port=port, database=database)

    def process(self, output: list[str]) -> tuple[str, ...]:
        """Return their names."""
        return tuple(_answer(output) or ())


class NewestChange(FactBase[float | None]):
    """When the newest of some files was changed, in seconds since 1970; None if none is there."""

    @staticmethod
    def default() -> float | None:
        """None is there."""
        return None

    def command(self, paths: str) -> str:
        """Return what asks; `paths` are the shell's, quoted."""
        return f'for f in {paths}; do [ -e "$f" ] && stat -c %.9Y "$f"; done | sort -rn | head -n1'

    def process(self, output: list[str]) -> float | None:
        """Return the time."""
        return float(output[0]) if output else None


class ServedSerial(FactBase[str | None]):
    """The serial of the certificate that the server really shows; None while it shows none.

    A key that does not fit is logged at a reload, the old certificate goes on being shown, and
    the reload ends well: only a look at it tells.
    """

    @staticmethod
    def default() -> str | None:
        """It shows none."""
        return None

    def command(self, port: int) -> str:
        """Return what asks."""
        return (
            f"openssl s_client -starttls postgres -connect 127.0.0.1:{port} </dev/null 2>/dev/null"
            " | openssl x509 -noout -serial 2>/dev/null || true"
        )

    def process(self, output: list[str]) -> str | None:
        """Return the serial, in hexadecimal."""
        return output[0].partition("=")[2] if output else None
