"""What a run of pyinfra has in common: the estate, parsed and checked once, before any change."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.context import inventory

from backup.errors import StrongroomError
from deploy import preflight
from deploy.core.model import Estate
from deploy.core.parse import InventoryHost, parse_estate


@cache
def checked_estate() -> Estate:
    """Return what the inventory of this run declares; ends the run if anything is wrong."""
    try:
        estate = parse_estate(
            InventoryHost(name=one.name, groups=frozenset(one.groups), data=_data(one))
            for one in inventory
        )
        preflight.check(estate, now=datetime.now(UTC))
        for server in estate.postgresql_hosts():
            preflight.access_rules(estate, server)
    except StrongroomError as error:
        hint = f" (hint: {error.hint})" if error.hint else ""
        raise DeployError(f"{error.message}{hint}; nothing was changed") from error
    return estate


def declared_name(host: Host) -> str:
    """Return the name that a host is declared under."""
    return str(host.data.hostname)


def _data(host: Host) -> dict[str, Any]:
    return dict(host.data.dict())  # type: ignore[no-untyped-call]
