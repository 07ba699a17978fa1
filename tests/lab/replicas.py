"""A site whose database host has a replica, for tests that may break it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab.hostrunbooks import follow
from tests.lab.sites import INVENTORY, Site, spoilt

CONF = "/etc/postgresql/15/main"
DATA = "/var/lib/postgresql/15/main"
_ASK = "cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d portal -f -"


@dataclass
class Replicated:
    """The site with db2 as a replica of db1. `is_changed` says that it is to be made again."""

    site: Site
    inventory: Path
    is_changed: bool = True
    is_pristine: bool = True

    def following(self) -> Site:
        """Return the site, with a replica that follows."""
        if self.is_changed:
            self._make()
            self.is_changed = False
        return self.site

    def put_back(self) -> None:
        """Make every host and file what it was before."""
        if not self.is_pristine:
            self.site.put_back(["db1", "backup1"])
            self.site.hosts.remove("db2")
            self.is_pristine = True

    def _make(self) -> None:
        self.put_back()
        self.is_pristine = False
        _write_inventory(self.inventory)
        self.site.hosts.boot(["db2"])
        follow(
            *(self.site, "add-a-replica", self.inventory),
            PRIMARY="db1",
            REPLICA="db2",
            RECOVERY_IDENTITY=self.site.identity,
        )


def _write_inventory(path: Path) -> None:
    lines = INVENTORY.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(
        "".join('_REPLICA = "db2"\n' if one.startswith("_REPLICA =") else one for one in lines)
    )


@contextlib.contextmanager
def replicated_site(site: Site, directory: Path) -> Iterator[Replicated]:
    """Yield the site with a replica, which is made when it is first asked for."""
    inventory = spoilt("", directory)
    made = Replicated(site=replace(site, inventory=inventory), inventory=inventory)
    try:
        yield made
    finally:
        made.put_back()


def ask(site: Site, name: str, *sql: str, check: bool = True) -> str:
    """What the server of a host answers its administrator, in the database `portal`."""
    return site.hosts.run(name, _ASK, stdin=" ".join(sql).encode(), check=check).stdout.strip()
