"""Pins in a store: what cannot be read is a pin, what has no pin's name is told of."""

from __future__ import annotations

from dataclasses import replace

from backup.repository.layout import BackupId, BackupKey
from backup.repository.pins import Pin, encode_pin, look_at_pins, pin_key, read_pins
from backup.repository.stores.memory import MemoryStore
from tests.samples import KEY, MOMENT


def pinned(store: MemoryStore, key: BackupKey = KEY) -> None:
    """Pin a backup."""
    pin = Pin(
        format=1, backup_id=key.id.text, database=key.database, who="eve", when=MOMENT, why="audit"
    )
    store.put(pin_key(key), encode_pin(pin))


class Unpinned(MemoryStore):
    """A store in which somebody takes each pin off between its being listed and being read."""

    def get(self, key: str) -> bytes:
        """Delete it, and look for it then."""
        self.delete(key)
        return super().get(key)


def test_a_pin_says_who_when_and_why() -> None:
    """One that cannot be read keeps its backup all the same."""
    store = MemoryStore()
    pinned(store)
    other = BackupKey("portal", BackupId("20260115T020000Z-3f9c2a"))
    store.put(pin_key(other), b"{")
    assert read_pins(store) == {KEY: "audit (eve, 2026-01-14)", other: "the pin cannot be read"}
    [wrong] = look_at_pins(store).wrong
    assert wrong.startswith(f"the pin of backup {other.id} cannot be read: {pin_key(other)}")


def test_the_pin_of_another_backup_keeps_this_one() -> None:
    """Whoever put it there may have meant either; it is told of."""
    store = MemoryStore()
    pinned(store)
    for other in (
        replace(KEY, database="other"),
        replace(KEY, id=BackupId(f"{KEY.id.text[:-1]}b")),
    ):
        store.put(pin_key(other), store.get(pin_key(KEY)))
    found = look_at_pins(store)
    assert len(found.reasons) == 3
    assert [wrong.endswith("is the pin of another backup") for wrong in found.wrong] == [True] * 2


def test_what_is_no_pin_keeps_nothing_and_is_told_of() -> None:
    """By its name: too short, of no backup, with another ending."""
    store = MemoryStore()
    for name in ("pins/portal", "pins/portal/x.json", "pins/portal/x.txt", "pins/%zz/x.json"):
        store.put(name, b"{}")
    assert read_pins(store) == {}
    assert len(look_at_pins(store).wrong) == 4
    assert "pins/portal is no pin by its name, and may have been one" in look_at_pins(store).wrong


def test_a_pin_that_is_taken_off_in_this_moment_is_none() -> None:
    """It was listed, and is gone when it is read."""
    store = Unpinned()
    pinned(store)
    assert read_pins(store) == {}
