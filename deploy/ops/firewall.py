"""nftables: rules that are tried before they count, and that are really in the kernel."""

from __future__ import annotations

import base64
import hashlib
import shlex
from typing import Final

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.facts.files import FileEntry, FileText
from deploy.facts.system import Printed
from deploy.ops import files, record
from deploy.ops.record import Commands

# What the kernel made of the file when it was loaded: it writes rules in its own way.
_LOADED: Final = "/var/lib/strongroom-host/nftables.loaded"
_TRY: Final = """\
set -eu; umask 022; new={path}.strongroom-new; base64 -d >"$new"
if ! said=$(nft -c -f "$new" 2>&1); then
  rm -f "$new"; printf 'nft refuses these rules: %s\\n' "$said" >&2; exit 1
fi
chmod 0755 "$new"; sync "$new"; mv -f "$new" {path}"""


@operation()
def rules(path: str, content: str) -> Commands:
    """Keep the file of rules; nft reads it without a complaint, or it is not taken."""
    encoded = content.encode()
    entry = host.get_fact(FileEntry, path=path)
    if entry is not None and entry.sha256 == hashlib.sha256(encoded).hexdigest():
        yield from files.keep(path, encoded, owner="root", group="root", mode="0755")
        return
    record.lines(path, content, host.get_fact(FileText, path=path))
    yield StringCommand(
        _TRY.format(path=shlex.quote(path)), _stdin=base64.encodebytes(encoded).decode()
    )


@operation()
def loaded(path: str, table: str) -> Commands:
    """Have the kernel filter by the file: load it if it is newer, or if someone changed them."""
    listed = f"nft -n -s list table {table}"
    unless = f"[ {_LOADED} -nt {path} ] && {listed} | cmp -s - {_LOADED} && echo same"
    if host.get_fact(Printed, script=unless) == "same":
        return
    record.change("packet filter", expected="as in its file", observed="not so")
    yield StringCommand(
        f"set -eu; mkdir -p /var/lib/strongroom-host; nft -f {shlex.quote(path)};"
        f" {listed} >{_LOADED}.new; mv -f {_LOADED}.new {_LOADED}"
    )
