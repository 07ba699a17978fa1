"""Our own programs on a host: a virtual environment for each set of wheels, changed at once."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.facts.system import Printed
from deploy.ops import record
from deploy.ops.record import Commands

# The old environment stays: `ln -sfn` back to it is the way back.
_INSTALL: Final = """\
set -eu; cd {place}; rm -rf {name}.new; python3 -m venv {name}.new
{name}.new/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps wheels/*.whl
rm -rf {name}.new/lib/python3*/site-packages/pip {name}.new/bin/pip*; rm -rf {name}
mv {name}.new {name}
grep -rlIF {name}.new {name}/bin {name}/pyvenv.cfg | xargs -r sed -i 's/{name}[.]new/{name}/g'
ln -sfn {name} current.new; mv -fT current.new current
ls -d env-* | grep -v -x {name} | sort | head -n -1 | xargs -r rm -rf"""


@operation()
def environment(place: str, wheels: Sequence[Path]) -> Commands:
    """Keep the wheels of the operator's machine installed, and only those."""
    sums = {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    name = f"env-{hashlib.sha256(listed.encode()).hexdigest()[:16]}"
    quoted = shlex.quote(place)
    if host.get_fact(Printed, script=f"readlink {quoted}/current") == name:
        return
    record.change("strongroom", expected=f"{len(sums)} wheels ({name})", observed="other wheels")
    there = host.get_fact(Printed, script=f"cd {quoted}/wheels && sha256sum *.whl") or ""
    missing = [one for one in wheels if f"{sums[one.name]}  {one.name}" not in there.splitlines()]
    known = " ".join(shlex.quote(one) for one in sums)
    yield StringCommand(
        f"set -eu; mkdir -p {quoted}/wheels; cd {quoted}/wheels;"
        f' for f in *; do case " {known} " in *" $f "*) ;; *) rm -f "$f";; esac; done'
    )
    for wheel in missing:
        target = shlex.quote(f"{place}/wheels/{wheel.name}")
        text = base64.encodebytes(wheel.read_bytes()).decode()
        yield StringCommand(f"base64 -d >{target}", _stdin=text)
    yield StringCommand(_INSTALL.format(place=quoted, name=name))
