"""The closed list of checks, and the operator's page of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from backup.evidence.checks import LEVELS, UNASKED, completed, required
from backup.evidence.controls import FrameworkName, load_framework
from backup.evidence.verdict import Code, ran

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/verdict.md").read_text(encoding="utf-8")


def test_the_page_lists_every_check_with_its_level() -> None:
    """In the order of the list."""
    rows = re.findall(r"^\| `([a-z-]+)` \| L(\d) \|", PAGE, re.MULTILINE)
    assert [(id_, int(level)) for id_, level in rows] == list(LEVELS.items())


def test_the_page_lists_every_code_with_its_word() -> None:
    """In the order of the enum, under the heading of what it makes of a verdict."""
    fail, inconclusive = PAGE.split("\n## INCONCLUSIVE")
    pattern = re.compile(r"^\| `([A-Z_]+)` \|", re.MULTILINE)
    for text, word in ((fail, "FAIL"), (inconclusive, "INCONCLUSIVE")):
        assert pattern.findall(text) == [code for code in Code if code.word.value == word]


def test_every_code_is_raised_somewhere_or_the_page_says_why_not() -> None:
    """By code that is neither the list itself nor the words for it; both ways."""
    named = {"verdict.py", "words.py", "conclusion.py"}
    sources = [path for path in (ROOT / "backup").rglob("*.py") if path.name not in named]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    judged = (ROOT / "backup/evidence/verdict.py").read_text(encoding="utf-8")
    text += judged[judged.index("def judge(") :]
    unraised = re.findall(r"^\| `([A-Z_]+)` \|[^|]*\([^|]*not raised", PAGE, re.MULTILINE)
    words = set(re.findall(r"\w+", text))
    assert unraised == [code.value for code in Code if code.value not in words]


def test_frameworks_name_checks_that_there_are() -> None:
    """Or those that nothing asks yet, and that are never evidence."""
    assert not UNASKED & LEVELS.keys()
    for name in get_args(FrameworkName):
        for requirement in load_framework(name).requirements:
            assert set(requirement.checks) <= LEVELS.keys() | UNASKED, requirement.control


def test_what_decides_for_itself_is_required_when_it_was_asked_for() -> None:
    """All others always are."""
    assert "restore" in required()
    assert "smoke" not in required()
    assert required("smoke") - required() == {"smoke"}


def test_what_did_not_run_is_listed_too() -> None:
    """With the reason, in the order of the list."""
    found = completed([ran("restore", 3, compared=1)], "the backup is damaged")
    assert [check.id for check in found] == list(LEVELS)
    assert [check.id for check in found if check.status != "not_run"] == ["restore"]
    assert {check.reason for check in found if check.id != "restore"} == {"the backup is damaged"}
