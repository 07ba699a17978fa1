"""What lies in a repository for those who have nothing of ours."""

from __future__ import annotations

from backup.repository import stock


def test_instructions_and_script_are_there() -> None:
    """And name each other."""
    assert b"restore.sh" in stock.instructions()
    assert stock.script().startswith(b"#!")
    assert b"pg_restore" in stock.script()
