"""Which requirements of a framework a restore test is evidence for. Pure but for the data files.

A requirement lists the checks that it needs; it is evidenced when every one of them passed. What
is here never says that a framework applies to anybody: the firm switches its own on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, TypeAdapter

from backup.evidence.report import Control
from backup.evidence.verdict import Check

FrameworkName: TypeAlias = Literal[
    "iso27001", "soc2", "nist-800-53", "nist-csf", "uk-gdpr", "dora", "cis", "fca"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement, and the ids of all checks that have to pass to be evidence for it."""

    control: str
    title: str
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A framework's requirements that backups have to do with, in its own order."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    requirements: tuple[Requirement, ...]


def load_framework(name: FrameworkName) -> Framework:
    """Return a framework from the data file of its name beside this module."""
    text = (files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    return TypeAdapter(Framework).validate_python(tomllib.loads(text))


def evidenced(frameworks: Sequence[Framework], checks: Sequence[Check]) -> tuple[Control, ...]:
    """Return the requirements whose checks all ran, compared something and passed."""
    passed = {check.id for check in checks if check.status == "passed" and check.compared}
    return tuple(
        Control(
            framework=framework.name,
            control=requirement.control,
            title=requirement.title,
            checks=requirement.checks,
        )
        for framework in frameworks
        for requirement in framework.requirements
        if requirement.checks and passed.issuperset(requirement.checks)
    )
