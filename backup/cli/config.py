"""`strongroom config`: is it right, what is in force, and files for editors and machines."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import json_option, load_settings, settings_options

_FILES = {
    "unit": ("units", "strongroom-daemon.service"),
    "rules": ("monitoring", "strongroom.rules.yml"),
    "dashboard": ("monitoring", "strongroom.dashboard.json"),
}


@click.group(
    name="config",
    short_help="Check, show and describe the settings.",
    epilog="Example: strongroom config check",
)
def command() -> None:
    """Check and show the settings; print what goes with them: schema, unit, rules, dashboard."""


@command.command(
    short_help="Say what is wrong with settings, schedules and credentials.",
    epilog="Example: strongroom config check --config /etc/strongroom/strongroom.toml",
)
@settings_options
@json_option
def check(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    as_json: bool,
) -> None:
    """Load settings, schedules, connection strings, keys and credentials, and say what is wrong.

    Nothing is connected to; `strongroom doctor` does that. The exit code is 2 if anything is bad.
    """
    import os
    from datetime import UTC, datetime

    from backup.cli.output import print_json
    from scheduler.configcheck import check_settings
    from scheduler.service import named

    settings = named(
        load_settings(config, repository=repository, state_directory=state_directory), os.environ
    )
    checks = check_settings(settings, os.environ, now=datetime.now(UTC))
    is_bad = any(one.status == "bad" for one in checks)
    if as_json:
        print_json({"is_good": not is_bad, "checks": checks})
    else:
        for one in checks:
            click.echo(f"{one.status:8} {one.name}: {one.observed}")
            if one.hint:
                click.echo(f"         hint: {one.hint}")
    if is_bad:
        raise click.exceptions.Exit(2)


@command.command(
    short_help="Print the settings in force, and where each comes from.",
    epilog="Example: strongroom config show",
)
@settings_options
@json_option
def show(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    as_json: bool,
) -> None:
    """Print every setting in force with its source; secrets are shown as `**********`."""
    import os

    from backup.cli.output import print_json, print_table
    from backup.effective import effective

    options = {"repository": repository, "state_directory": state_directory}
    settings = load_settings(config, repository=repository, state_directory=state_directory)
    rows = effective(
        settings,
        environment=os.environ,
        is_root=os.geteuid() == 0,
        config=config,
        options=frozenset(key for key, value in options.items() if value is not None),
    )
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("SETTING", "VALUE", "SOURCE"), ((one.name, one.value, one.source) for one in rows)
        )


@command.command(
    short_help="Print the JSON schema of the settings file, for editors.",
    epilog="Example: strongroom config schema >strongroom.schema.json",
)
def schema() -> None:
    """Print a JSON schema (draft 2020-12) of the settings file: what is not known is an error."""
    from backup.cli.output import print_json
    from backup.effective import schema as of_settings

    print_json(of_settings())


def _file_verb(name: str, what: str) -> None:
    @command.command(
        name=name,
        short_help=f"Print {what}.",
        help=f"Print {what}, as this version ships it.",
        epilog=f"Example: strongroom config {name} >{_FILES[name][1]}",
    )
    def verb() -> None:
        from importlib.resources import files

        directory, file = _FILES[name]
        text = (files("scheduler") / directory / file).read_text(encoding="utf-8")
        click.echo(text, nl=False)


_file_verb("unit", "the systemd unit of the daemon")
_file_verb("rules", "the alert rules for Prometheus")
_file_verb("dashboard", "the dashboard for Grafana")
