"""An entry of the evidence log: what was done, when, and the SHA-256 of the entry before.

An entry is an object of its own, canonical JSON, created only where none is: two writers cannot
fork the log silently. It lies open in the store: no names of tables, no messages, no secrets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, TypeAlias

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, UtcTime, decode, encode
from backup.repository.layout import log_entry_key

Detail: TypeAlias = str | int | bool | None

NOTHING_BEFORE = "0" * 64


class EntryType(StrEnum):
    """What can be logged; `docs/format.md` lists the details of each."""

    GENESIS = "genesis"
    POLICY_SET = "policy.set"
    DAEMON_STARTED = "daemon.started"
    DAEMON_STOPPED = "daemon.stopped"
    HEARTBEAT = "heartbeat"
    SLOT_MISSED = "slot.missed"
    BACKUP_STARTED = "backup.started"
    BACKUP_FINISHED = "backup.finished"
    BACKUP_FAILED = "backup.failed"
    RESTORE_TEST_STARTED = "restore_test.started"
    RESTORE_TEST_FINISHED = "restore_test.finished"
    RESTORE_TEST_ABORTED = "restore_test.aborted"
    VERIFY_FINISHED = "verify.finished"
    PRUNE_PLANNED = "prune.planned"
    PRUNE_EXECUTED = "prune.executed"
    PRUNE_BLOCKED = "prune.blocked"
    COPY_FINISHED = "copy.finished"
    COPY_PRUNE_PLANNED = "copy.prune_planned"
    COPY_PRUNE_EXECUTED = "copy.prune_executed"
    COPY_PRUNE_BLOCKED = "copy.prune_blocked"
    INVENTORY_RECONCILED = "inventory.reconciled"
    KEY_ADDED = "key.added"
    KEY_RETIRED = "key.retired"
    PIN_SET = "pin.set"
    PIN_REMOVED = "pin.removed"
    EXCEPTION_GRANTED = "exception.granted"
    REVIEW_SIGNED = "review.signed"
    REPORT_PUBLISHED = "report.published"
    PERIOD_PUBLISHED = "period.published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. `seq` counts from 0 and is its place in the tree; `prev` chains it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    seq: int
    ts: UtcTime
    type: EntryType
    prev: str
    details: dict[str, Detail]


def encode_entry(
    seq: int, type_: EntryType, details: Mapping[str, Detail], *, now: datetime, before: bytes
) -> bytes:
    """Return the bytes of entry `seq`; `before` are those of the entry before, if there is one."""
    return encode(
        Entry(
            seq=seq,
            ts=now,
            type=type_,
            prev=hashlib.sha256(before).hexdigest() if seq else NOTHING_BEFORE,
            details=dict(details),
        )
    )


def decode_entry(data: bytes, seq: int) -> Entry:
    """Return the entry stored under number `seq`. Raises `IntegrityError`."""
    return decode(Entry, data, log_entry_key(seq))
