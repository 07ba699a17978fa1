"""`strongroom host`: provision the hosts, and prove that they are as declared.

One small file a verb beside this one (`host_plan.py`), loaded when it is called.
"""

from __future__ import annotations

import click

from backup.cli.verbs import Verbs

# In the order in which a host meets them.
_VERBS = (
    "plan",
    "apply",
    "pki",
    "wheels",
    "verify",
    "access-review",
    "rotate",
    "recover",
    "promote",
)


@click.group(
    name="host",
    cls=Verbs,
    verbs=_VERBS,
    prefix="backup.cli.host_",
    short_help="Provision database and backup hosts; prove them.",
    epilog="Example: strongroom host plan inventories/ours.py",
)
def command() -> None:
    """Make hosts what an inventory declares them to be, and prove it (docs/provisioning.md)."""
