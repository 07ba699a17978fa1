"""Names that are parts of keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from backup.errors import SettingsError
from backup.repository.layout import (
    BackupId,
    BackupKey,
    chunk_object_key,
    copied_log_key,
    database_prefix,
    decode_name,
    encode_name,
    log_entry_key,
    parse_chunk_object_key,
    parse_manifest_key,
    require_repository_id,
)

ID = BackupId("20260114T020000Z-3f9c2a")


def test_objects_of_a_backup_lie_below_its_database_and_id() -> None:
    """The keys are those of docs/format.md."""
    key = BackupKey("app/eu", ID)
    assert key.prefix == "backups/app%2Feu/20260114T020000Z-3f9c2a/"
    assert key.manifest == key.prefix + "manifest.json"
    assert key.signature == key.prefix + "manifest.json.sig"
    assert key.catalog == key.prefix + "catalog.json.age"
    assert key.chunk_list("table-1") == key.prefix + "parts/table-1.chunks"


def test_chunk_objects_are_spread_by_their_first_two_digits() -> None:
    """256 directories keep each of them small."""
    assert chunk_object_key(b"\x3f" * 32) == "chunks/3f/" + "3f" * 32
    assert parse_chunk_object_key("chunks/3f/" + "3f" * 32) == b"\x3f" * 32


@pytest.mark.parametrize(
    "key",
    [
        "chunks/3f/" + "3f" * 31,
        "chunks/3e/" + "3f" * 32,
        "chunks/3F/" + "3F" * 32,
        "chunks/3f/" + "3f" * 32 + ".tmp",
        "chunks/3f/" + "zz" * 32,
        "3f/" + "3f" * 32,
        "chunks/",
    ],
)
def test_what_is_no_chunk_object_is_none(key: str) -> None:
    """A stray file below chunks/ is passed over."""
    assert parse_chunk_object_key(key) is None


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("app", "app"),
        ("app-test_1", "app-test_1"),
        ("App", "App"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a.b", "a%2Eb"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ('q"\n', "q%22%0A"),
        ("ü", "%C3%BC"),
        ("💾", "%F0%9F%92%BE"),
    ],
)
def test_names_are_percent_encoded_byte_by_byte(name: str, segment: str) -> None:
    """Everything but letters, digits, `_` and `-` is `%` and two upper-case hex digits."""
    assert encode_name(name) == segment
    assert decode_name(segment) == name
    assert database_prefix(name) == f"backups/{segment}/"


@pytest.mark.parametrize(
    "segment", ["", "a%2fb", "%41", "a%", "a%2", "%+1", "%FF", "ü", "a b", "%zz", "a.b"]
)
def test_a_segment_in_another_spelling_names_nothing(segment: str) -> None:
    """Each name has one segment."""
    with pytest.raises(ValueError, match=r"."):
        decode_name(segment)


def test_an_empty_name_is_refused() -> None:
    """It would give a key with an empty segment."""
    with pytest.raises(SettingsError, match="empty"):
        encode_name("")


def test_a_name_that_no_file_system_takes_is_refused_before_anything_is_dumped() -> None:
    """A file name has at most 255 bytes; every name PostgreSQL can have fits."""
    assert len(encode_name("💾" * 15)) == 180
    with pytest.raises(SettingsError, match="takes 300 characters") as caught:
        encode_name("é" * 50)
    assert "--name" in (caught.value.hint or "")


def test_a_name_that_is_not_text_is_refused() -> None:
    """A command line may hold any bytes."""
    with pytest.raises(SettingsError, match="not valid UTF-8"):
        encode_name("a\udcff")


def test_an_id_says_when_the_backup_began() -> None:
    """In UTC, to the second, whatever zone the clock was in."""
    moment = datetime(
        2026, 1, 14, 4, 30, 0, 999999, tzinfo=timezone(timedelta(hours=2, minutes=30))
    )
    made = BackupId.new(moment, b"\x3f\x9c\x2a")
    assert made == ID
    assert str(made) == "20260114T020000Z-3f9c2a"
    assert made.started == datetime(2026, 1, 14, 2, tzinfo=UTC)
    assert BackupId("20251231T235959Z-ffffff") < made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "20260114T020000Z-3F9C2A",
        "20260114T020000Z-3f9c2",
        "20260114T020000Z-3f9c2a0",
        "20260114T020000Z-3f9c2a\n",
        "20260230T020000Z-3f9c2a",
        "20260114T020060Z-3f9c2a",
        "20260114T240000Z-3f9c2a",
        "00000114T020000Z-3f9c2a",
        "２０２６０１１４T020000Z-3f9c2a",  # noqa: RUF001 - digits, but not ASCII
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Ids are parsed strictly: one time and suffix, one text."""
    with pytest.raises(SettingsError):
        BackupId(text)


@pytest.mark.parametrize(
    "key",
    [
        "backups/app/20260114T020000Z-3f9c2a/manifest.json.sig",
        "backups/app/20260114T020000Z-3f9c2a/parts/manifest.json",
        "backups/app/20260114T020000Z/manifest.json",
        "backups/a.pp/20260114T020000Z-3f9c2a/manifest.json",
        "other/app/20260114T020000Z-3f9c2a/manifest.json",
        "backups//20260114T020000Z-3f9c2a/manifest.json",
    ],
)
def test_only_a_manifest_is_a_backup(key: str) -> None:
    """Any other object in the place of backups is passed over."""
    assert parse_manifest_key(key) is None


def test_a_manifest_key_says_which_backup() -> None:
    """The name comes back as it was given."""
    key = BackupKey('we"ird/ü', ID)
    assert parse_manifest_key(key.manifest) == key


@pytest.mark.parametrize("text", ["", "ab", "AB" * 16, "../" + "a" * 29, "ab" * 16 + "\n"])
def test_a_repository_id_is_hex_and_nothing_else(text: str) -> None:
    """It names directories on the backup host, so the store must not choose a path with it."""
    with pytest.raises(ValueError, match="32 hex digits"):
        require_repository_id(text)
    assert require_repository_id("ab" * 16) == "ab" * 16


def test_ids_of_one_database_sort_in_the_order_of_its_backups() -> None:
    """Two begun in one second are told apart by more than chance."""
    now = datetime(2026, 1, 14, 2, 0, 0, 900_000, tzinfo=UTC)
    first = BackupId.after(None, now, b"\xff\xff\xff")
    second = BackupId.after(first, now, b"\0\0\0")
    third = BackupId.after(second, now, b"\0\0\0")
    assert [str(first), str(second), str(third)] == [
        "20260114T020000Z-ffffff",
        "20260114T020001Z-000000",
        "20260114T020002Z-000000",
    ]
    assert BackupId.after(first, now + timedelta(minutes=5), b"abc").started.minute == 5


def test_a_backup_from_the_future_does_not_drag_the_next_one_along() -> None:
    """A clock that was a year ahead once is for retention to see, not to be followed."""
    now = datetime(2026, 1, 14, 2, tzinfo=UTC)
    ahead = BackupId.new(now + timedelta(days=365), b"abc")
    assert BackupId.after(ahead, now, b"abc").started == now


def test_where_a_copy_has_the_log() -> None:
    """Beside the place of a log, so that nobody takes it for one to append to."""
    assert copied_log_key(log_entry_key(3)) == "copied-log/entries/000000000003.json"
    assert copied_log_key("log/") == "copied-log/"
