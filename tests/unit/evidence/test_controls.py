"""Requirements of frameworks are computed from the checks that passed, and from nothing else."""

from __future__ import annotations

from typing import get_args

import pytest

from backup.evidence.controls import (
    Framework,
    FrameworkName,
    Requirement,
    evidenced,
    load_framework,
)
from backup.evidence.verdict import Check, Code, Finding, not_run, ran

NAMES: tuple[FrameworkName, ...] = get_args(FrameworkName)
FRAMEWORK = Framework(
    name="Some Standard",
    requirements=(
        Requirement(control="1", title="Both", checks=("restore", "row-counts")),
        Requirement(control="2", title="One", checks=("restore",)),
        Requirement(control="3", title="Nothing that a test could show", checks=()),
    ),
)
RESTORED = ran("restore", 3, compared=1)


@pytest.mark.parametrize("name", NAMES)
def test_every_framework_has_its_file(name: FrameworkName) -> None:
    """With requirements, each once, and each with a title and with checks."""
    framework = load_framework(name)
    controls = [requirement.control for requirement in framework.requirements]
    assert framework.name
    assert controls
    assert len(set(controls)) == len(controls)
    assert all(one.title and one.checks for one in framework.requirements)


def test_a_requirement_needs_all_its_checks() -> None:
    """In the framework's order."""
    found = evidenced([FRAMEWORK], [RESTORED, ran("row-counts", 5, compared=3)])
    assert [(one.framework, one.control, one.checks) for one in found] == [
        ("Some Standard", "1", ("restore", "row-counts")),
        ("Some Standard", "2", ("restore",)),
    ]


@pytest.mark.parametrize(
    "check",
    [
        ran("row-counts", 5, compared=1, findings=[Finding(code=Code.ROWCOUNT_DIFF, what="t")]),
        ran("row-counts", 5, compared=0),
        not_run("row-counts", 5, "no reference"),
        ran("digests", 6, compared=1),
    ],
)
def test_what_did_not_pass_is_no_evidence(check: Check) -> None:
    """Failed, compared nothing, did not run, or another check."""
    found = evidenced([FRAMEWORK], [RESTORED, check])
    assert [one.control for one in found] == ["2"]


def test_nothing_is_evidenced_without_frameworks() -> None:
    """The firm switches them on."""
    assert evidenced([], [RESTORED]) == ()
