"""A period pack: what a pinned key signed and what follows from its log; anything else is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from backup.crypto import merkle
from backup.crypto.sshkey import SigningKey
from backup.errors import IntegrityError
from backup.evidence.bundle import CHECKPOINT, SUMS, SUMS_SIGNATURE, seal_members
from backup.evidence.entry import EntryType
from backup.evidence.log import StoredLog
from backup.evidence.packcheck import check_pack
from backup.evidence.period import Period, collect
from backup.evidence.periodpack import LOG, PACK, encode_pack
from backup.evidence.render.period import PERIOD
from backup.evidence.slot import Policy, Slot
from backup.repository.canonical import decode
from backup.repository.manifest import LogHead
from tests.samples import REPOSITORY_ID, SIGNING_KEY, STRANGER
from tests.samples_bundle import World, at, pins, seal

FIRST, LAST = at("2026-01-14"), at("2026-01-17")
Members = dict[str, bytes]


def days(
    *, key: SigningKey = SIGNING_KEY, left_out: tuple[int, ...] = (), label: str = "portal"
) -> World:
    """Three days on which a backup was due at two; those of `left_out` have no entry."""
    world = World(key=key, now=FIRST - timedelta(hours=1))
    policy = Policy(
        job="backup", database=label, schedule="0 2 * * *", zone="UTC", grace=timedelta(hours=1)
    )
    world.append(EntryType.POLICY_SET, policy.details)
    for day in range(3):
        world.now = FIRST + timedelta(days=day, hours=2)
        details = {"database": label, "backup": f"{world.now:%Y%m%dT%H%M%SZ}-0a0a0a"}
        if day not in left_out:
            slot = Slot(job="backup", due=world.now).details
            world.append(EntryType.BACKUP_STARTED, {**details, **slot})
            world.append(EntryType.BACKUP_FINISHED, {**details, **slot, "manifest_sha256": "0"})
    world.append(EntryType.VERIFY_FINISHED, {"backups": 3, "damages": 0, "unpinned": 0})
    return world


def period_of(log: StoredLog, *, problems: tuple[str, ...] = ()) -> Period:
    """What is told of the three days."""
    size = log.notes[-1][0]
    return collect(
        tuple(log.entries()),
        {},
        repository_id=REPOSITORY_ID,
        generated_by="strongroom test",
        first=FIRST,
        last=LAST,
        database=None,
        log=LogHead(size=size, root=merkle.root(log.leaves[:size]).hex()),
        log_problems=problems,
        now=LAST,
    )


def pack_of(world: World, problems: tuple[str, ...] = ()) -> Members:
    """The pack as the firm makes it."""
    log = world.stored
    return encode_pack(period_of(log, problems=problems), log, seal(world.key))


GOOD = days()
GENUINE = pack_of(GOOD)


def resealed(members: Members, key: SigningKey = SIGNING_KEY) -> Members:
    """The sums made anew by who holds a key."""
    left = {name: data for name, data in members.items() if name not in {SUMS, SUMS_SIGNATURE}}
    return seal_members(left, key)


def wrong(members: Members, earlier: bytes | None = None) -> str:
    """Everything that is wrong, in one text; nothing is an empty one."""
    return "; ".join(check_pack(members, pins(), earlier=earlier).wrong)


def without_line(name: str, number: int) -> Members:
    """A file without one of its lines, all else as it was, signed anew by the firm's key."""
    lines = GENUINE[name].splitlines(keepends=True)
    return resealed({**GENUINE, name: b"".join(lines[:number] + lines[number + 1 :])})


def cut_short() -> Members:
    """The log without its last entry, under the genuine checkpoint of that size."""
    log = GOOD.stored
    shorter = StoredLog(lines=log.lines[:-1], notes=log.notes[:-1])
    return encode_pack(period_of(shorter), shorter, seal())


# What the holder of the firm's key may try, and what both verifiers say of it.
FORGERIES: dict[str, tuple[Callable[[], Members], str]] = {
    "row removed": (lambda: without_line("population.csv", 2), "population.csv"),
    "log truncated": (lambda: without_line(LOG, 8), "cut short|checkpoint is over"),
    "entry missing": (lambda: without_line(LOG, 3), "entry 3|checkpoint is over"),
    "entry changed": (
        lambda: resealed({**GENUINE, LOG: GENUINE[LOG].replace(b"portal", b"ledger", 3)}),
        "entry|under the checkpoint",
    ),
    "slot without an entry": (lambda: pack_of(days(left_out=(1,))), "SLOT_UNACCOUNTED"),
}
# What only somebody sees who has kept a checkpoint: whole in itself, and by the firm's own key.
FORGERIES_LATER: dict[str, tuple[Callable[[], Members], str]] = {
    "log truncated, with its old checkpoint": (cut_short, "cut short"),
    "log written anew": (lambda: pack_of(days(label="ledger")), "written anew"),
}


def test_a_pack_is_good_under_the_pinned_key() -> None:
    """Also held against a checkpoint that was kept."""
    found = check_pack(GENUINE, pins())
    assert found.wrong == ()
    assert found.is_pinned
    assert found.period.unaccounted == 0
    for _, note in GOOD.stored.notes:
        assert wrong(GENUINE, note) == ""
    assert PACK | {SUMS, SUMS_SIGNATURE} == GENUINE.keys()


def test_without_pins_it_is_whole_and_by_nobody_known() -> None:
    """Whole is not good."""
    found = check_pack(GENUINE, None)
    assert (found.wrong, found.is_pinned) == ((), False)


@pytest.mark.parametrize("name", sorted(GENUINE))
def test_a_changed_byte_or_a_missing_file_is_told(name: str) -> None:
    """Whatever it is in."""
    data = bytearray(GENUINE[name])
    data[len(data) // 2] ^= 0x01
    left = {other: data for other, data in GENUINE.items() if other != name}
    for members in ({**GENUINE, name: bytes(data)}, left):
        try:
            assert wrong(members) != ""
        except IntegrityError:
            assert name == PERIOD


@pytest.mark.parametrize("forged", FORGERIES)
def test_who_holds_the_key_cannot_say_something_else(forged: str) -> None:
    """Even with everything signed anew."""
    forge, reason = FORGERIES[forged]
    assert any(words in wrong(forge()) for words in reason.split("|")), wrong(forge())


@pytest.mark.parametrize("forged", FORGERIES_LATER)
def test_a_kept_checkpoint_tells_of_a_log_that_was_made_anew(forged: str) -> None:
    """Nothing in the pack could."""
    forge, reason = FORGERIES_LATER[forged]
    assert wrong(forge()) == ""
    assert reason in wrong(forge(), GENUINE[CHECKPOINT])


def test_a_pack_by_another_key_is_refused() -> None:
    """Whole in itself; so is a checkpoint by a stranger, and one of another log."""
    theirs = pack_of(days(key=STRANGER))
    assert "not among the allowed" in wrong(theirs)
    assert "the checkpoint that was kept" in wrong(GENUINE, theirs[CHECKPOINT])
    unsigned = {name: data for name, data in GENUINE.items() if name != SUMS_SIGNATURE}
    found = check_pack(unsigned, None)
    assert found.signer is None
    assert not found.is_pinned


def test_a_period_that_does_not_follow_from_the_log_is_refused() -> None:
    """A backup that failed and is told of as one that finished; a row that is another's."""
    period = decode(Period, GENUINE[PERIOD], PERIOD)
    better = replace(period, happenings=period.happenings[1:])
    members = encode_pack(better, GOOD.stored, seal())
    assert wrong(members) == "period.json does not say what the log says"
    assert "period.json does not say" not in wrong({**GENUINE, "population.csv": b""})
    assert "coverage.csv does not say" in wrong(resealed({**GENUINE, "coverage.csv": b"none"}))


def test_what_the_firm_itself_says_is_wrong_is_said_again() -> None:
    """Its pack is genuine, and tells that the log was not whole."""
    told = pack_of(GOOD, problems=("the log was cut short: this host saw 9 entries",))
    assert wrong(told) == "the log was cut short: this host saw 9 entries"


def test_what_is_no_pack_is_not_checked() -> None:
    """There would be nothing to return."""
    with pytest.raises(IntegrityError, match=r"holds no period\.json"):
        check_pack({}, pins())
