"""`strongroom host`: provision the hosts, and prove that they are as declared.

One small file a verb beside this one (`host_plan.py`), loaded when it is called.
"""

from __future__ import annotations

import importlib

import click

_VERBS: tuple[str, ...] = (
    "plan",
    "apply",
    "pki",
    "wheels",
    "verify",
    "access-review",
    "rotate",
    "recover",
)


class _HostVerbs(click.Group):
    """The verbs in the order in which a host meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"backup.cli.host_{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(
    name="host",
    cls=_HostVerbs,
    short_help="Provision database and backup hosts; prove them.",
    epilog="Example: strongroom host plan inventories/ours.py",
)
def command() -> None:
    """Make hosts what an inventory declares them to be, and prove it (docs/provisioning.md)."""
