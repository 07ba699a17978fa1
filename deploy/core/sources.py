"""Where apt gets PostgreSQL from, if not from the distribution: pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from deploy.core.model import Estate, Package

KEY_FILE: Final = "/etc/apt/keyrings/strongroom-postgresql.asc"
SOURCES_FILE: Final = "/etc/apt/sources.list.d/strongroom-postgresql.sources"
PREFERENCES_FILE: Final = "/etc/apt/preferences.d/strongroom-postgresql"
_HEADER: Final = "# Made by `strongroom host apply`.\n"


def package_of(estate: Estate, host_name: str) -> Package | None:
    """Return the package that names the repository of a host; None: the distribution has all.

    A backup host has the tools of the servers' majors, from where the servers have them.
    """
    server = estate.postgresql_host(host_name)
    packages = [one.package for one in estate.servers] if server is None else [server.package]
    return next((one for one in packages if one.source == "pgdg"), None)


def sources_text(package: Package, codename: str) -> str:
    """Return apt's file of sources: this repository, believed by this key only."""
    return (
        f"{_HEADER}Types: deb\nURIs: {package.repository}\nSuites: {codename}-pgdg\n"
        f"Components: main\nSigned-By: {KEY_FILE}\n"
    )


def preferences_text(package: Package) -> str:
    """Return apt's preferences: PostgreSQL from there, and else only what nobody else has."""
    place = urlsplit(package.repository or "").hostname
    return _HEADER + "\n".join(
        f'Package: {names}\nPin: origin "{place}"\nPin-Priority: {priority}\n'
        for names, priority in (("*", 100), ("postgresql* libpq*", 700))
    )
