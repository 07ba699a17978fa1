"""The command line: one small file a verb, loaded when it is called, so that --help is instant."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from typing import NoReturn

import click

from backup.cli import signals
from backup.cli.verbs import Verbs
from backup.errors import StrongroomError

# In the order in which a newcomer meets them.
_VERBS = (
    "init",
    "keygen",
    "backup",
    "list",
    "show",
    "verify",
    "copy",
    "restore",
    "restore-test",
    "prune",
    "pin",
    "unpin",
    "report",
    "log",
    "inspect",
    "daemon",
    "status",
    "config",
    "doctor",
    "store",
    "host",
    "demo",
)


@click.group(
    cls=Verbs,
    verbs=_VERBS,
    prefix="backup.cli.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""Example: DATABASE_URL=postgresql://backup@db1/app strongroom backup

Exit codes: 0 good, 2 wrong options or settings, 3 stored data is damaged, and more: see
docs/exit-codes.md. Shell completion: eval "$(_STRONGROOM_COMPLETE=bash_source strongroom)".""",
)
@click.version_option(package_name="strongroom", prog_name="strongroom")
@click.option("-v", "--verbose", is_flag=True, help="Log each step to standard error.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="STRONGROOM_LOG_FORMAT",
    help="How to log: sentences, or one JSON object a line.",
)
@click.option("--heartbeat", is_flag=True, hidden=True, help="Tell the daemon what moves.")
def root(verbose: bool, log_format: str, heartbeat: bool) -> None:
    """Encrypted, deduplicated backups of PostgreSQL, and the proof that the data comes back."""
    if heartbeat:
        from backup.cli import output

        output.has_heartbeat = True
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    if log_format == "json":
        from backup.jsonlog import JsonLog

        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLog())


def main() -> NoReturn:
    """Run the command line and exit with the documented code."""
    signals.listen()
    gc.set_threshold(50_000, 20, 20)  # loading makes many objects and no garbage
    _work_in_batches()
    try:
        code = root(standalone_mode=False)
    except StrongroomError as error:
        tell(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _end_interrupted()
    except BrokenPipeError:
        # The reader of our output has gone (`strongroom list | head`): that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception:
        # Libraries turn what comes out of nowhere into an error of their own.
        if signals.are_ignored():
            _end_interrupted()
        raise
    signals.ignore_to_the_end()  # all is done, and the exit code is to say so
    sys.exit(code if isinstance(code, int) else 0)


def _end_interrupted() -> NoReturn:
    signals.ignore()
    click.echo("strongroom: interrupted; nothing half-made was left", err=True)
    signals.ignore_to_the_end()
    sys.exit(130)


def tell(error: StrongroomError) -> None:
    """Print what went wrong, and what to do."""
    click.echo(f"strongroom: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def _work_in_batches() -> None:
    """Have this process, and what it starts, wait for its turn instead of breaking in on others.

    Dumps and the server hand over small pieces through pipes and sockets; woken for each of them,
    they spend a tenth of their time changing places (sched(7), "SCHED_BATCH").
    """
    with contextlib.suppress(OSError):  # a container may forbid it, and nothing depends on it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
