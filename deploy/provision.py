"""What hosts differ in from what is declared, and making them so: pyinfra as a child process.

Everything that can be wrong on the operator's side (inventory, access rules, secrets, keys, limits)
is found here first: nothing is started for it. pyinfra has a process of its own, since it changes
the one that it runs in; its output is never parsed but for its JSON and our own records.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from backup.errors import PostgresError, SettingsError, StrongroomError, ToolMissingError
from backup.postgres.process import Command, run
from deploy import preflight
from deploy.core.model import Estate
from deploy.core.observed import Observed
from deploy.core.parse import InventoryHost, parse_estate
from deploy.inventory import load_hosts

RECORD_VARIABLE: Final = "STRONGROOM_DEPLOY_RECORD"
_UNFILLED_VARIABLE: Final = "STRONGROOM_DEPLOY_UNFILLED"  # deploy/roles/objects.py reads it
_SITE: Final = Path(__file__).with_name("site.py")
# Packages are fetched and unpacked in it; a server that restarts writes its checkpoint first.
_LIMIT: Final = timedelta(hours=1)
# What a person's SSH needs, and what an inventory may ask for.
_PASSED_ON: Final = ("SSH_AUTH_SOCK", "SSH_AGENT_PID")
_OUR_VARIABLES: Final = "STRONGROOM_"


class Record(Observed):
    """One thing that was found: not as declared, not declared, or in the way."""

    kind: Literal["change", "finding", "failure"]
    host: str
    operation: str
    item: str
    expected: str
    observed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run found and did. `operations` is how many changed something, of `checked`."""

    records: tuple[Record, ...]
    operations: int
    checked: int
    seconds: float

    @property
    def changes(self) -> tuple[Record, ...]:
        """Return what is (or, after `apply`, was) not as declared."""
        return tuple(record for record in self.records if record.kind == "change")

    @property
    def findings(self) -> tuple[Record, ...]:
        """Return what nobody declared, and was left as it is."""
        return tuple(record for record in self.records if record.kind == "finding")

    @property
    def is_clean(self) -> bool:
        """Whether the hosts are as declared, and nothing beside it."""
        return not self.operations and not self.records


def checked(inventory: Path, limits: Sequence[str], *, now: datetime) -> Estate:
    """Return what is declared, after everything was checked that needs no host.

    Raises `StrongroomError` that names every mistake; nothing was started then.
    """
    if importlib.util.find_spec("pyinfra") is None:
        raise ToolMissingError(
            "pyinfra is not installed beside strongroom", hint="pip install 'strongroom[deploy]'"
        )
    hosts = load_hosts(inventory)
    _check_limits(hosts, limits)
    estate = parse_estate(hosts)
    for server in estate.postgresql_hosts():
        preflight.access_rules(estate, server)
    preflight.check(estate, now=now)
    return estate


def plan(inventory: Path, limits: Sequence[str]) -> Outcome:
    """Return what `apply` would change, without changing anything."""
    document, records, seconds = _pyinfra(inventory, limits, ("--dry",))
    with_change = sum(len(operation["hosts_with_change"]) for operation in document["plan"])
    return Outcome(
        records=records, operations=with_change, checked=len(document["plan"]), seconds=seconds
    )


def apply(inventory: Path, limits: Sequence[str], *, leave_empty: bool = False) -> Outcome:
    """Make the hosts as declared. The first host that fails ends it for all of them.

    With `leave_empty` no database is filled by its `initial_sql`: a restore follows.
    """
    variables = {_UNFILLED_VARIABLE: "1"} if leave_empty else {}
    document, records, seconds = _pyinfra(inventory, limits, ("--yes",), variables)
    totals = document["results"]["totals"]
    return Outcome(
        records=records, operations=totals["success"], checked=totals["hosts"], seconds=seconds
    )


def _check_limits(hosts: Sequence[InventoryHost], limits: Sequence[str]) -> None:
    known = {host.name for host in hosts} | {group for host in hosts for group in host.groups}
    for limit in limits:
        # pyinfra takes a limit that fits nothing for a job that is done.
        if limit not in known:
            raise SettingsError(
                f"--limit {limit} is no host or group of the inventory",
                hint=f"known: {', '.join(sorted(known))}",
            )


def _pyinfra(
    inventory: Path,
    limits: Sequence[str],
    options: tuple[str, ...],
    variables: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], tuple[Record, ...], float]:
    with tempfile.TemporaryDirectory(prefix="strongroom-host-") as directory:
        record_file = Path(directory) / "records"
        record_file.touch(mode=0o600)
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith(_OUR_VARIABLES)
        }
        command = Command(
            label="pyinfra",
            argv=(
                *(sys.executable, "-m", "pyinfra", "--json", "--fail-percent", "0"),
                *options,
                *(word for limit in limits for word in ("--limit", limit)),
                *(str(inventory.resolve()), str(_SITE)),
            ),
            environment={
                **environment,
                **(variables or {}),
                RECORD_VARIABLE: str(record_file),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        started = datetime.now().astimezone()
        try:
            finished = run(command, timeout=_LIMIT)
        except PostgresError as error:
            raise _told(error, _records(record_file)) from error
        records = _records(record_file)
        seconds = (datetime.now().astimezone() - started).total_seconds()
    return _document(finished.stdout), records, seconds


def _document(output: bytes) -> dict[str, Any]:
    try:
        document = json.loads(output)
    except ValueError as error:
        raise StrongroomError("pyinfra ended without saying what it did") from error
    if not isinstance(document, dict):
        raise StrongroomError("pyinfra said something else than what it did")
    return document


def _records(path: Path) -> tuple[Record, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(map(Record.model_validate_json, lines))
    except ValidationError as error:
        raise StrongroomError("a record of the deploy cannot be read") from error


def _told(error: PostgresError, records: tuple[Record, ...]) -> StrongroomError:
    """Return why it failed: our own word for it, or what pyinfra's log says of it."""
    if gone := _UNREACHABLE.findall(error.message):
        return StrongroomError(
            "; ".join(f"{name} cannot be reached: {why}" for name, why in gone)
            + "; nothing was changed, on no host",
            hint="try it by hand with ssh, or leave it out: --limit names the others",
        )
    failures = [
        f"{one.host}: {one.item}: {one.observed}" for one in records if one.kind == "failure"
    ]
    return StrongroomError(
        "; ".join(failures) if failures else _cause(error.message),
        hint="what was done before stays; `strongroom host plan` says what is left",
    )


def _cause(log: str) -> str:
    """Return the end of pyinfra's log without the operations that went well."""
    lines = [line.strip() for line in log.split(";")]
    starts = [number for number, line in enumerate(lines) if line.startswith(_OPERATION)]
    kept = [
        line
        for line in lines[starts[-1] if starts else 0 :]
        if line and not line.startswith("--> Disconnecting") and not line.endswith(_WELL)
    ]
    return "; ".join(line.removeprefix("--> ") for line in kept)


_UNREACHABLE: Final = re.compile(r"\[([^]\s]+)\]\s+Could not connect \((.*?)\)(?=;|$)")
_OPERATION: Final = "--> Starting operation"
_WELL: Final = ("Skipped", "Success", "No changes")
