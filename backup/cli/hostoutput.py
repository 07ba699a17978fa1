"""What the verbs of `strongroom host` share: the inventory, the limits, what they print."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backup.cli.options import any_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from deploy.proving import Proof
    from deploy.provision import Outcome, Record

_Function = TypeVar("_Function", bound=Callable[..., Any])

inventory_argument = click.argument("inventory", type=any_path, metavar="INVENTORY")


def limit_option(function: _Function) -> _Function:
    """Add `--limit`."""
    return click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="HOST|GROUP",
        help="Only these hosts; repeat it for several.",
    )(function)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Have every error end with 1: 2 is the answer that something is not as declared."""
    from backup.errors import SettingsError, StrongroomError

    try:
        yield
    except SettingsError as error:
        raise StrongroomError(error.message, hint=error.hint) from error


def print_outcome(
    outcome: Outcome, *, as_json: bool, has_applied: bool, proofs: Sequence[Proof] = ()
) -> None:
    """Print what was found, host by host, and a last line that says it all."""
    from backup.cli.output import print_json

    if as_json:
        print_json(
            {
                "is_clean": outcome.is_clean,
                "changes": [one.model_dump() for one in outcome.changes],
                "findings": [one.model_dump() for one in outcome.findings],
                "operations": {"changed": outcome.operations, "checked": outcome.checked},
                "seconds": outcome.seconds,
                "proofs": proofs,
            }
        )
        return
    for record in outcome.changes:
        click.echo(_line(record, "changed" if has_applied else "differs"))
    for record in outcome.findings:
        click.echo(_line(record, "undeclared"))
    done = "changed something" if has_applied else "would change something"
    state = "as declared" if outcome.is_clean or has_applied else "not as declared"
    if has_applied and outcome.findings:
        state = "as declared, but for what nobody declared"
    click.echo(f"{state}; {outcome.operations} of {outcome.checked} operations {done}")


def print_proofs(proofs: Sequence[Proof], took: timedelta) -> None:
    """Print what is proven of each database, and how long it took from bare hosts."""
    from backup.cli.output import duration

    words = {
        "new": "backed up, restored for a test: PASS",
        "known": "passed its restore test before",
        "empty": "backed up and restored, but it has no table yet: ",
        "untested": "backed up, NOT restore-tested: no identity on this host",
    }
    for one in proofs:
        word = "proven" if one.state in {"new", "known"} else "unproven"
        said = words[one.state]
        if one.state == "empty":
            said += (
                "the daemon restore-tests the first backup that has one"
                if one.is_awaited
                else "apply again when it has one"
            )
        click.echo(f"{word:10} {one.host}: {one.database}: {one.backup_id}: {said}")
    if proofs and all(one.state == "new" for one in proofs):
        click.echo(f"from the beginning to a proven backup: {duration(took)}")
    elif any(one.state in {"new", "empty"} for one in proofs):
        click.echo(f"from the beginning to a backup that was restored: {duration(took)}")


def _line(record: Record, word: str) -> str:
    wanted = f" (declared: {record.expected})" if record.expected else ""
    return f"{word:10} {record.host}: {record.item}: {record.observed}{wanted}"
