"""The closed list of what a restore test asks, each with its level: `docs/verdict.md`.

`schedule` is asked by nothing yet: frameworks name it, and it stays open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from backup.evidence.verdict import Check, not_run

LEVELS: Final[Mapping[str, int]] = {
    "objects": 0,
    "signature": 1,
    "ciphertext": 1,
    "log": 1,
    "clock": 1,
    "decryption": 2,
    "restore": 3,
    "messages": 3,
    "destruction": 3,
    "schema": 4,
    "roles": 4,
    "owners": 4,
    "grants": 4,
    "row-security": 4,
    "extensions": 4,
    "collations": 4,
    "row-counts": 5,
    "digests": 6,
    "sequences": 6,
    "large-objects": 6,
    "matviews": 6,
    "indexes": 7,
    "constraints": 7,
    "amcheck": 7,
    "invariants": 7,
    "smoke": 8,
    "rto": 8,
    "rpo": 8,
    "off-site-copy": 9,
    "locked": 9,
}
UNASKED: Final = frozenset({"schedule"})
# What decides for itself whether it can be asked: by policy, by what is set, by what is installed.
_OPTIONAL: Final = frozenset(
    {"digests", "amcheck", "invariants", "smoke", "rto", "rpo", "off-site-copy", "locked"}
)


def required(*asked: str) -> frozenset[str]:
    """Return the checks that must have run; `asked` are the optional ones that were asked for."""
    return frozenset(LEVELS) - _OPTIONAL | frozenset(asked)


def completed(checks: Iterable[Check], reason: str) -> tuple[Check, ...]:
    """Return one check for each id of the list, in its order: what is not there did not run."""
    by_id = {check.id: check for check in checks}
    return tuple(by_id.get(id_) or not_run(id_, level, reason) for id_, level in LEVELS.items())
