"""A host's packet filter: whatever is not declared is dropped, in one table of our own."""

from __future__ import annotations

from typing import Final

from pyinfra.api.deploy import deploy

from deploy.core.firewall import TABLE
from deploy.ops import firewall as packet_filter
from deploy.ops import system

_FILE: Final = "/etc/nftables.conf"


@deploy("firewall")
def firewall(rules: str) -> None:
    """Keep the rules in the file that is loaded at boot, and in the kernel."""
    packet_filter.rules(name="packet filter", path=_FILE, content=rules)
    system.unit(name="packet filter at boot", unit_name="nftables.service", is_running=False)
    packet_filter.loaded(name="packet filter in force", path=_FILE, table=TABLE)
