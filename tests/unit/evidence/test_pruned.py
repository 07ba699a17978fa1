"""What the log tells a prune: what is proven and pinned, what was made last and never said."""

from __future__ import annotations

from backup.evidence.entry import Detail, Entry, EntryType
from backup.evidence.pruned import (
    made_in_order,
    never_said,
    pinned_backups,
    planned_backups,
    planned_details,
    proven_backups,
    prune_entries,
)
from backup.repository.layout import BackupId, BackupKey
from tests.samples import KEY, MOMENT

OLDER = BackupKey("portal", BackupId("20260113T020000Z-000000"))
OTHER = BackupKey("por/tal é", KEY.id)


def entry(type_: EntryType, key: BackupKey | None = None, **details: Detail) -> Entry:
    """An entry about a backup."""
    about: dict[str, Detail] = (
        {} if key is None else {"backup": key.id.text, "database": key.database}
    )
    return Entry(seq=0, ts=MOMENT, type=type_, prev="0" * 64, details={**about, **details})


def ended_with(key: BackupKey, verdict: str) -> Entry:
    """The end of a restore test."""
    return entry(EntryType.RESTORE_TEST_FINISHED, key, verdict=verdict)


def test_proven_is_what_passed_last_time_it_was_tested_to_an_end() -> None:
    """An exception that somebody answers for is a PASS; INCONCLUSIVE says nothing either way."""
    assert proven_backups([ended_with(KEY, "PASS")]) == {KEY}
    assert proven_backups([ended_with(KEY, "PASS with 1 exception")]) == {KEY}
    assert proven_backups([ended_with(KEY, "PASS"), ended_with(KEY, "INCONCLUSIVE")]) == {KEY}
    assert proven_backups([ended_with(KEY, "PASS"), ended_with(KEY, "FAIL")]) == frozenset()
    assert proven_backups([ended_with(KEY, "PASSABLE")]) == frozenset()
    assert proven_backups([ended_with(OTHER, "PASS"), ended_with(KEY, "FAIL")]) == {OTHER}
    assert proven_backups([entry(EntryType.BACKUP_FINISHED, KEY)]) == frozenset()
    malformed = entry(EntryType.RESTORE_TEST_FINISHED, backup="x", database="y", verdict="PASS")
    assert proven_backups([malformed]) == frozenset()


def test_pinned_is_what_was_pinned_there_and_not_unpinned_since() -> None:
    """A pin in a copy is the copy's alone; what is no backup's name is passed over."""
    told = [
        entry(EntryType.PIN_SET, KEY),
        entry(EntryType.PIN_SET, OLDER),
        entry(EntryType.PIN_SET, OTHER, copy="offsite"),
        entry(EntryType.PIN_REMOVED, KEY),
        entry(EntryType.PIN_REMOVED, OLDER, copy="offsite"),
        entry(EntryType.BACKUP_FINISHED, KEY),
        entry(EntryType.PIN_SET, backup="x", database="y"),
    ]
    assert pinned_backups(told) == {OLDER}
    assert pinned_backups(told, "offsite") == {OTHER}
    assert pinned_backups([*told, entry(EntryType.PIN_SET, KEY)]) == {OLDER, KEY}


def test_the_order_of_the_log_is_the_order_in_which_backups_were_made() -> None:
    """Not that of their ids; one that was reconciled counts, one that failed does not."""
    made = made_in_order(
        [
            entry(EntryType.BACKUP_FINISHED, KEY),
            entry(EntryType.INVENTORY_RECONCILED, OLDER),
            entry(EntryType.BACKUP_FAILED, OTHER),
        ]
    )
    assert made == {"portal": (KEY, OLDER)}


def test_names_come_back_from_a_planned_entry() -> None:
    """With spaces, slashes and what is no ASCII; what is no name is passed over."""
    planned = entry(EntryType.PRUNE_PLANNED, **planned_details([KEY, OTHER]))
    assert planned_backups(planned) == [KEY, OTHER]
    assert planned_backups(entry(EntryType.PRUNE_PLANNED, backups="x / a/b %/y")) == []
    assert planned_backups(entry(EntryType.PRUNE_PLANNED)) == []


def test_what_a_killed_prune_did_not_say() -> None:
    """It planned two, said one; the other is gone. At the end of a run nothing is open."""
    planned = entry(EntryType.PRUNE_PLANNED, **planned_details([OLDER, KEY]))
    said = entry(EntryType.PRUNE_EXECUTED, OLDER)
    assert never_said([planned, said], []) == (KEY,)
    assert never_said([planned, said], [KEY]) == ()
    assert never_said([planned, said, entry(EntryType.PRUNE_EXECUTED, deleted=1)], []) == ()


def test_a_prune_of_a_copy_is_told_apart_by_type_and_name() -> None:
    """What is gone from a copy is not gone from the repository, nor from another copy."""
    kinds = prune_entries("offsite")
    planned = entry(kinds.planned, **planned_details([KEY]), **kinds.where)
    for copy, gone in (("offsite", (KEY,)), ("other", ()), (None, ())):
        assert never_said([planned], [], copy) == gone
    ended = entry(kinds.executed, **kinds.where)
    assert never_said([planned, ended], [], "offsite") == ()
    at_home = entry(prune_entries(None).planned, **planned_details([KEY]))
    assert never_said([at_home, ended], []) == (KEY,)
