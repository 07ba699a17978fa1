"""Running a script on a host over SSH, reached as an inventory says (by pyinfra's own keys)."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from backup.errors import PostgresError, SettingsError, StalledError, StrongroomError
from backup.postgres.process import Command, run
from deploy.core.parse import InventoryHost

_LIMIT: Final = timedelta(minutes=5)


class UnreachableError(StrongroomError):
    """A host does not answer, or does not let us in; nothing on it was changed."""

    exit_code = 6
    is_retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A host that scripts run on, as root."""

    name: str
    address: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, script: str, *, timeout: timedelta = _LIMIT) -> bytes:
        """Run a script by bash, as root, to its end, and return what it wrote.

        The script goes through standard input, so that nothing of it is seen in a list of
        processes. Raises `UnreachableError` for any exit code but 0.
        """
        command = Command(label=f"ssh to {self.name}", argv=self.argv, environment=self.environment)
        try:
            return run(command, timeout=timeout, stdin=script.encode()).stdout
        except (PostgresError, StalledError) as error:
            raise UnreachableError(
                error.message,
                hint=f"try it by hand: ssh {self.address}; see ssh_* in the inventory",
            ) from error


def strongroom(
    remote: Remote, words: str, *, ok: tuple[int, ...] = (0,), timeout: timedelta = _LIMIT
) -> tuple[str, int]:
    """Return what `strongroom` prints on a backup host, and its exit code, which is one of `ok`.

    Raises `StrongroomError` for any other, with its last words.
    """
    script = (
        f"exec 3>&1; said=$(strongroom {words} 2>&1 >&3); code=$?\n"
        'printf \'\\n%s %s\' $code "$(printf %s "$said" | tail -n 2 | base64 -w0)"'
    )
    output = remote.run(script, timeout=timeout).decode()
    text, _, end = output.rpartition("\n")
    code, _, said = end.partition(" ")
    if int(code) not in ok:
        verb = words.partition(" ")[0]
        why = "; ".join(base64.b64decode(said).decode(errors="replace").splitlines())
        raise StrongroomError(
            f"strongroom {verb} on {remote.name} ended with {code}" + (f": {why}" if why else ""),
            hint=f"run it there: strongroom {words}",
        )
    return text, int(code)


def remote_of(host: InventoryHost) -> Remote:
    """Return how to run scripts on a host of an inventory."""
    data = host.data
    address = str(data.get("ssh_hostname", host.name))
    agent = os.environ.get("SSH_AUTH_SOCK")
    return Remote(
        name=str(data.get("hostname", host.name)),
        address=address,
        argv=("ssh", *_options(data), "--", address, _as_root(data)),
        environment={} if agent is None else {"SSH_AUTH_SOCK": agent},
    )


def remote_named(hosts: tuple[InventoryHost, ...], name: str) -> Remote:
    """Return how to reach the host that calls itself so. Raises `SettingsError`."""
    for host in hosts:
        if name in {host.data.get("hostname"), host.name}:
            return remote_of(host)
    raise SettingsError(f"host {name} is not in the inventory")


def _options(data: Mapping[str, Any]) -> Iterator[str]:
    for option in ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=15"):
        yield from ("-o", option)
    if user := data.get("ssh_user"):
        yield from ("-l", str(user))
    if port := data.get("ssh_port"):
        yield from ("-p", str(port))
    if key := data.get("ssh_key"):
        yield from ("-i", str(key), "-o", "IdentitiesOnly=yes")
    if known_hosts := data.get("ssh_known_hosts_file"):
        yield from ("-o", f"UserKnownHostsFile={known_hosts}", "-o", "StrictHostKeyChecking=yes")


def _as_root(data: Mapping[str, Any]) -> str:
    is_root = data.get("ssh_user") == "root" and not data.get("_sudo")
    return "exec bash -s" if is_root else "exec sudo -n bash -s"
