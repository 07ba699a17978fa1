"""Reading an inventory: the file of hosts, and the group data that lies beside it.

By pyinfra's own rules, and without pyinfra: what only reads an inventory needs neither it nor its
way with the process (gevent). A file `group_data/<group>.py` beside the inventory has what the
hosts of that group share; every host is in the groups `all` and the one named after the file.
"""

from __future__ import annotations

import runpy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backup.errors import SettingsError
from deploy.core.model import Estate
from deploy.core.parse import HINT, InventoryHost, parse_estate


def load_estate(path: Path) -> Estate:
    """Return what an inventory file declares. Raises `SettingsError`, naming every mistake."""
    return parse_estate(load_hosts(path))


def load_hosts(path: Path) -> tuple[InventoryHost, ...]:
    """Return the hosts of an inventory file, each with the data that pyinfra would give it."""
    groups: dict[str, list[str]] = defaultdict(list)
    own: dict[str, dict[str, Any]] = {}
    shared: dict[str, dict[str, Any]] = {}
    for group, value in _names(path).items():
        members, data = value if isinstance(value, tuple) else (value, {})
        if not isinstance(members, list) or not isinstance(data, dict):
            continue
        shared[group] = data
        for member in members:
            name, host_data = member if isinstance(member, tuple) else (member, {})
            if not isinstance(name, str) or not isinstance(host_data, dict):
                raise SettingsError(f"inventory {path}: {group} has what is no host", hint=HINT)
            groups[name].append(group)
            own.setdefault(name, {}).update(host_data)
    shared = _group_data(path, shared)
    return tuple(
        InventoryHost(
            name=name,
            groups=frozenset({"all", path.stem, *members}),
            data=_merged(path, name, ["all", path.stem, *members], shared) | own[name],
        )
        for name, members in groups.items()
    )


def _group_data(path: Path, shared: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = dict(shared)
    for file in sorted((path.parent / "group_data").glob("*.py")):
        found[file.stem] = found.get(file.stem, {}) | _names(file)
    return found


def _merged(
    path: Path, host: str, groups: list[str], shared: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for group in groups:
        for key, value in shared.get(group, {}).items():
            # Which of two groups wins is an accident of their order.
            if merged.setdefault(key, value) != value and group != "all":
                raise SettingsError(
                    f"inventory {path}: two groups of host {host} say different things of {key}",
                    hint="say it once, or for the host itself",
                )
    return merged


def _names(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SettingsError(f"inventory {path} does not exist", hint=HINT)
    try:
        found = runpy.run_path(str(path))
    except Exception as error:
        # Whatever a file of the operator's own may raise.
        kind = type(error).__name__
        raise SettingsError(
            f"inventory {path} cannot be read: {kind}: {error}", hint=HINT
        ) from error
    return dict(_public(found))


def _public(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in names.items():
        if not name.startswith("_") and isinstance(value, list | tuple | dict | str | int | bool):
            yield name, value
