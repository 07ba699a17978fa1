"""What the verbs of `strongroom host` share: the inventory, the limits, what they print."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backup.cli.options import any_path

if TYPE_CHECKING:
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


def print_outcome(outcome: Outcome, *, as_json: bool, has_applied: bool) -> None:
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


def _line(record: Record, word: str) -> str:
    wanted = f" (declared: {record.expected})" if record.expected else ""
    return f"{word:10} {record.host}: {record.item}: {record.observed}{wanted}"
