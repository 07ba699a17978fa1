"""The thread that writes the daemon's entries: what it reads of the log for that."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from backup.crypto.sshkey import SigningKey
from backup.evidence.entry import EntryType
from backup.evidence.log import EvidenceLog, read_log
from backup.repository.stores.memory import MemoryStore
from scheduler.jobs import JobKey
from scheduler.plan import Missed
from scheduler.recorder import Recorder
from tests.unit.evidence.test_log import Remembered

DUE = datetime(2026, 3, 1, tzinfo=UTC)
NOW = DUE + timedelta(hours=6)
MANY = 40


class CountingStore(MemoryStore):
    """Counts how often each object is read."""

    def __init__(self) -> None:
        super().__init__("memory:counted")
        self.read: Counter[str] = Counter()

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        self.read[key] += 1
        return super().get(key)


def test_missed_slots_of_many_databases_are_logged_once_and_read_once() -> None:
    """Each is looked for first, and however many there are, an old entry is read once for that."""
    store = CountingStore()
    log = EvidenceLog(store, "0" * 32, SigningKey.generate("daemon@host"), Remembered())
    log.append(EntryType.GENESIS, {"repository": "0" * 32}, now=DUE - timedelta(days=1))
    for _ in range(MANY):
        log.append(EntryType.HEARTBEAT, {}, now=NOW)
    store.read.clear()
    recorder = Recorder(lambda: log)
    for _ in range(2):  # a daemon that was killed does not know what it has logged
        for number in range(MANY):
            missed = Missed(
                key=JobKey(job="backup", database=f"d{number:03}"),
                first=DUE,
                last=DUE + timedelta(hours=3),
                slots=4,
                reason="down",
            )
            recorder.miss(missed, now=NOW, then=lambda: None)
    assert recorder.close(timedelta(seconds=60))
    entries = list(read_log(store).entries())
    told = [one for one in entries if one.type is EntryType.SLOT_MISSED]
    assert len(told) == len({one.details["database"] for one in told}) == MANY
    before = [store.read[f"log/entries/{seq:012}.json"] for seq in range(1, MANY)]
    assert set(before) == {2}, "once to look back, once by this test"
