"""The signed record of what was found on hosts: a verification, a review, a recovery.

Strict and canonical JSON like all that is kept as evidence, signed with `ssh-keygen -Y` under the
namespace of restore tests' reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, UtcTime
from deploy.core.checks import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """What was asked of the hosts of a site and what was found."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["host-verification"] = "host-verification"
    generated_by: str
    generated_on: str
    site: str
    hosts: tuple[str, ...]
    inventory_sha256: str
    started: UtcTime
    finished: UtcTime
    verdict: Literal["PASS", "FAIL"]
    passed: int
    failed: int
    checks: tuple[Check, ...]


def verdict(checks: Sequence[Check]) -> Literal["PASS", "FAIL"]:
    """PASS needs checks, and every one of them passed."""
    return "PASS" if checks and all(check.passed for check in checks) else "FAIL"
