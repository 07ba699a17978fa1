"""Files that are whole or not there, and secret from their first byte.

A file comes over standard input into a new one beside it, which only root can read until it has
its owner and mode, and then takes the place of the old one at once. Nothing is left in `/tmp`.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable
from typing import Final

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.facts.files import Entry, FileEntry
from deploy.ops import record
from deploy.ops.record import Commands

# Arrives whole, is flushed, and is renamed; a run that was killed left at most a file that nothing
# reads and the next run overwrites.
_PLACE: Final = """\
set -eu; umask 077; new={directory}/.{name}.strongroom-new
base64 -d >"$new"; chown {owner}:{group} "$new"; chmod {mode} "$new"; sync "$new"
mv -f "$new" {path}"""


@operation()
def file(
    path: str, content: str, *, owner: str = "root", group: str = "root", mode: str = "0644"
) -> Commands:
    """Keep a file with this content, owner and mode."""
    yield from keep(path, content.encode(), owner=owner, group=group, mode=mode)


@operation()
def secret_file(
    path: str,
    read: Callable[[], bytes],
    *,
    owner: str = "root",
    group: str = "root",
    mode: str = "0600",
) -> Commands:
    """Keep a file whose content is read only now: nothing holds it that could be printed."""
    yield from keep(path, read(), owner=owner, group=group, mode=mode)


@operation()
def directory(
    path: str, *, owner: str = "root", group: str = "root", mode: str = "0755"
) -> Commands:
    """Keep a directory with this owner and mode; its parents are made with 0755."""
    entry = host.get_fact(FileEntry, path=path)
    wanted = _rights(owner, group, mode)
    if entry is None:
        record.change(path, expected=f"a directory, {wanted}", observed="not there")
        quoted = shlex.quote(path)
        yield StringCommand(
            f"mkdir -p {quoted} && chown {owner}:{group} {quoted} && chmod {mode} {quoted}"
        )
    elif not entry.is_directory:
        yield record.failing(path, "is not a directory: move it away")
    else:
        yield from _set_rights(path, entry, owner=owner, group=group, mode=mode)


@operation()
def absent(path: str, *, reason: str) -> Commands:
    """Keep a file away."""
    if host.get_fact(FileEntry, path=path) is not None:
        record.change(path, expected=f"not there: {reason}", observed="there")
        yield StringCommand(f"rm -f {shlex.quote(path)}")


def keep(path: str, content: bytes, *, owner: str, group: str, mode: str) -> Commands:
    """Yield what makes a file as it should be, for operations that do more than that."""
    entry = host.get_fact(FileEntry, path=path)
    wanted = _rights(owner, group, mode)
    if entry is not None and entry.sha256 == hashlib.sha256(content).hexdigest():
        yield from _set_rights(path, entry, owner=owner, group=group, mode=mode)
        return
    observed = "not there" if entry is None else "another content"
    record.change(path, expected=f"as declared, {wanted}", observed=observed)
    yield place(path, content, owner=owner, group=group, mode=mode)


def place(
    path: str, content: bytes, *, owner: str, group: str, mode: str, after: str = ""
) -> StringCommand:
    """Return the command that puts a file in its place; `after` is shell that follows it."""
    parent, _, name = path.rpartition("/")
    script = _PLACE.format(
        directory=shlex.quote(parent),
        name=name,
        owner=owner,
        group=group,
        mode=mode,
        path=shlex.quote(path),
    )
    text = base64.encodebytes(content).decode()
    return StringCommand(f"{script}\n{after}".strip(), _stdin=text or "\n")


def _set_rights(path: str, entry: Entry, *, owner: str, group: str, mode: str) -> Commands:
    if (entry.owner, entry.group, entry.mode) == (owner, group, mode):
        return
    record.change(
        path,
        expected=_rights(owner, group, mode),
        observed=_rights(entry.owner, entry.group, entry.mode),
    )
    quoted = shlex.quote(path)
    yield StringCommand(f"chown {owner}:{group} {quoted} && chmod {mode} {quoted}")


def _rights(owner: str, group: str, mode: str) -> str:
    return f"{owner}:{group} {mode}"
