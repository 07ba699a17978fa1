"""An order between hosts."""

from __future__ import annotations

from pyinfra.api.operation import operation

from deploy.ops.record import Commands


@operation()
def barrier() -> Commands:
    """Do nothing: what all hosts have comes after all that is before it, on every host."""
    yield from ()
