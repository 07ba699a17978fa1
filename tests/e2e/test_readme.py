"""The README's commands, as a newcomer types them, and the help that each verb gives."""

from __future__ import annotations

import pytest

from backup.cli import root
from tests.e2e import documents
from tests.e2e.conftest import DATABASE, Situation, rows

README = documents.ROOT / "README.md"
VERBS = tuple(root.list_commands(None))  # type: ignore[attr-defined, arg-type] # a group needs no context here


def test_five_minutes(newcomer: Situation) -> None:
    """From nothing to a restored database with the README's own lines."""
    restored = f"{DATABASE}_restored"
    try:
        done = newcomer.follow(README)
        assert rows(newcomer.server, restored) == rows(newcomer.server)
    finally:
        newcomer.server.sql(f"DROP DATABASE IF EXISTS {restored}")
    assert "every count as in the dump" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_in_an_example(newcomer: Situation, verb: str) -> None:
    """Every verb shows a line to copy."""
    done = newcomer.bash(f"strongroom {verb} --help")
    assert done.code == 0
    example = done.stdout.rpartition("\n\n")[2]
    assert example.strip().startswith("Example: ")
    assert f"strongroom {verb}" in example


def test_completion(newcomer: Situation) -> None:
    """Bash completes verbs and options as the help says."""
    done = newcomer.bash('eval "$(_STRONGROOM_COMPLETE=bash_source strongroom)"; complete -p')
    assert "strongroom" in done.stdout
    completed = newcomer.bash(
        'COMP_WORDS="strongroom res" COMP_CWORD=1 _STRONGROOM_COMPLETE=bash_complete strongroom'
    )
    assert completed.stdout == "plain,restore\nplain,restore-test\n"
