"""`host access-review`, from a server to a record: ask, compare, and note it in the log."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from backup.errors import PostgresError
from deploy.core import queries
from deploy.core.checks_access import RULES, lines_of
from deploy.core.model import DatabaseServer, Estate
from deploy.core.observed import DatabaseState, ObservedDatabase, ObservedRole
from deploy.core.review import AccessReview, Found, SignOff, review
from deploy.remote import Remote

_PGOPTIONS: Final = "-c search_path=pg_catalog -c statement_timeout=60s"


def take(
    estate: Estate,
    server: DatabaseServer,
    inventory: Path,
    remote: Remote,
    *,
    now: datetime,
    version: str,
    operator: str,
    sign_off: SignOff | None,
) -> AccessReview:
    """Return the review of a server as it is now; nothing on it is changed."""
    found = _found(server, remote)
    roles, public_can = review(server, found, now=now)
    return AccessReview(
        generated_by=version,
        generated_on=operator,
        site=estate.site.name,
        host=server.host.name,
        inventory_sha256=hashlib.sha256(inventory.read_bytes()).hexdigest(),
        taken=now,
        roles=roles,
        public_can=public_can,
        questions=sum(len(role.questions) for role in roles),
        sign_off=sign_off,
    )


def note_in_log(remote: Remote, data: bytes, record: AccessReview) -> None:
    """Have a backup host enter the review into its evidence log, by its SHA-256."""
    assert record.sign_off is not None
    words = (
        *("strongroom", "log", "review", "--kind", record.kind, "--host", record.host),
        *("--sha256", hashlib.sha256(data).hexdigest()),
        *("--reviewer", record.sign_off.reviewer, "--decision", record.sign_off.decision),
    )
    remote.run(shlex.join(words))


def _found(server: DatabaseServer, remote: Remote) -> Found:
    roles = ask(remote, server, "postgres", queries.ROLES)
    databases = ask(remote, server, "postgres", queries.DATABASES)
    names = ask(
        *(remote, server, "postgres"),
        "SELECT json_agg(datname ORDER BY datname) FROM pg_database"
        " WHERE datallowconn AND NOT datistemplate",
    )
    backup_role = None if server.backup is None else server.backup.role
    states = {
        name: DatabaseState.model_validate(ask(remote, server, name, queries.database(backup_role)))
        for name in names
    }
    sql = f"SELECT json_agg(item::text) FROM ({RULES}) q (item)"  # noqa: S608 - no input in it
    rules = ask(remote, server, "postgres", sql)
    return Found(
        roles=tuple(map(ObservedRole.model_validate, roles)),
        databases=tuple(map(ObservedDatabase.model_validate, databases)),
        states=states,
        lines=lines_of(rules or ()),
    )


def ask(remote: Remote, server: DatabaseServer, database: str, sql: str) -> Any:  # noqa: ANN401
    """Return the JSON that a statement gives (None for NULL), asked as the administrator there."""
    encoded = base64.b64encode(f"{sql};\n".encode()).decode()
    words: Iterable[str] = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", str(server.port))
    script = (
        f"cd /; echo {encoded} | base64 -d | PGOPTIONS={shlex.quote(_PGOPTIONS)}"
        f" runuser -u postgres -- {shlex.join(words)} -d {shlex.quote(database)} -f -"
    )
    answer = remote.run(script).decode()
    if not answer.strip():
        return None
    try:
        return json.loads(answer)
    except ValueError as error:
        raise PostgresError(f"{remote.name}: psql gave no JSON: {answer[:200]!r}") from error
