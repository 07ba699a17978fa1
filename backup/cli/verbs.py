"""A group whose verbs are files of their own, loaded when they are called: --help stays instant."""

from __future__ import annotations

import importlib
from typing import Any

import click


class Verbs(click.Group):
    """Verbs in the order that is given; verb `a-b` is `command` of the module `<prefix>a_b`."""

    def __init__(self, *arguments: Any, verbs: tuple[str, ...], prefix: str, **named: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*arguments, **named)
        self._verbs = verbs
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs; nothing is loaded."""
        del ctx
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb; None if there is none of that name."""
        del ctx
        if cmd_name not in self._verbs:
            return None
        module = importlib.import_module(f"{self._prefix}{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command
