"""The options that several verbs share, and the settings that come of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from backup.evidence.slot import Slot
    from backup.settings import Settings

_Function = TypeVar("_Function", bound=Callable[..., Any])

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
any_path = click.Path(path_type=Path)


def settings_options(function: _Function) -> _Function:
    """Add what says where the settings and the repository are."""
    for option in (
        click.option("--config", type=any_path, help="Settings file (TOML)."),
        click.option("--repository", metavar="DIR", help="Where the backups are."),
        click.option(
            "--state-directory", type=any_path, help="Where this host keeps its keys and locks."
        ),
    ):
        function = option(function)
    return function


def json_option(function: _Function) -> _Function:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(
        function
    )


def identity_option(function: _Function) -> _Function:
    """Add `--identity`."""
    return click.option(
        "-i",
        "--identity",
        type=any_path,
        metavar="FILE",
        help="Identity file (AGE-SECRET-KEY-…) that opens the backups.",
    )(function)


def signers_option(function: _Function) -> _Function:
    """Add `--allowed-signers`."""
    return click.option(
        "--allowed-signers",
        type=any_path,
        metavar="FILE",
        help="Whose signatures count, as ssh-keygen reads it; default: this host's own pins.",
    )(function)


def reports_option(function: _Function) -> _Function:
    """Add `--reports-directory`."""
    return click.option(
        "--reports-directory",
        type=any_path,
        help="Where the reports are.  [default: state directory]",
    )(function)


def database_option(function: _Function) -> _Function:
    """Add `--database`."""
    return click.option(
        "--database", metavar="NAME", help="Only backups that are filed under this name."
    )(function)


def slot_option(function: _Function) -> _Function:
    """Add `--slot`, with which the daemon says which slot of the schedule a run answers."""
    return click.option(
        "--slot",
        callback=_parse_slot,
        metavar="JOB@DUE",
        hidden=True,
        help="The slot that this run answers, such as backup@2026-01-14T02:00:00Z.",
    )(function)


def _parse_slot(_context: click.Context, _option: click.Parameter, text: str | None) -> Slot | None:
    from backup.errors import SettingsError
    from backup.evidence.slot import Slot

    try:
        return None if text is None else Slot.parse(text)
    except SettingsError as error:
        raise click.BadParameter(f"{error.message}; {error.hint}") from error


def from_option(function: _Function) -> _Function:
    """Add `--from`."""
    return click.option(
        "--from", "from_copy", metavar="NAME", help="Read this copy of the settings instead."
    )(function)


def load_settings(
    config: Path | None,
    *,
    config_may_be_missing: bool = False,
    **options: Any,  # noqa: ANN401 - options of any verb
) -> Settings:
    """Return the settings in force for a verb's options; None means that one was not given."""
    from backup import settings

    return settings.load(
        environment=os.environ,
        is_root=os.geteuid() == 0,
        config=config,
        config_may_be_missing=config_may_be_missing,
        overrides=options,
    )
