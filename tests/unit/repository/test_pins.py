"""Pins in a store: what cannot be read is a pin, what is no pin's name is none."""

from __future__ import annotations

from backup.repository.layout import BackupId, BackupKey
from backup.repository.pins import Pin, encode_pin, pin_key, read_pins
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


def test_what_is_no_pin_is_passed_over() -> None:
    """By its name: too short, of no backup, with another ending."""
    store = MemoryStore()
    for name in ("pins/portal", "pins/portal/x.json", "pins/portal/x.txt", "pins/%zz/x.json"):
        store.put(name, b"{}")
    assert read_pins(store) == {}


def test_a_pin_that_is_taken_off_in_this_moment_is_none() -> None:
    """It was listed, and is gone when it is read."""
    store = Unpinned()
    pinned(store)
    assert read_pins(store) == {}
