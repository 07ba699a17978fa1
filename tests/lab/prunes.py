"""Repositories with years of small backups and a log, to prune: no server, no dumps."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup.errors import StrongroomError
from backup.evidence.entry import EntryType
from backup.evidence.log import Claim, EvidenceLog
from backup.holders import Holders
from backup.journeys.audit import audit
from backup.journeys.progress import Silent
from backup.journeys.prune import Pruned, plan, prune
from backup.journeys.prunelook import PrunePlan, Rules, Sight
from backup.journeys.verify import Verified, verify
from backup.logmemory import LogMemory, open_log
from backup.repository.access import Repository
from backup.repository.canonical import encode
from backup.repository.garbage import condemned_chunks
from backup.repository.known import KnownChunks
from backup.repository.layout import REPOSITORY_KEY, BackupId, BackupKey, parse_chunk_object_key
from backup.repository.manifest import Manifest
from backup.repository.retention import BlockedPlan, Policy
from backup.repository.stores.base import Store
from tests.samples import DESCRIPTION, SIGNING_KEY, Writing, allowed

# Yesterday's noon of the repository's own time.
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
KEEP_TWO = Policy(keep_last=2, minimum_age=timedelta(), max_expire=1000)
GRACE = timedelta(days=3)


@dataclass
class PruneLab:
    """A repository in any store, the host that writes to it, and a clock that tests set."""

    store: Store
    state: Path
    now: datetime = START
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    policy: Policy = KEEP_TWO
    of_database: Mapping[str, Policy] = field(default_factory=dict)
    jobs: int = 2

    @classmethod
    def make(cls, store: Store, state: Path) -> PruneLab:
        """Begin a repository."""
        store.put(REPOSITORY_KEY, encode(DESCRIPTION))
        lab = cls(store, state)
        lab.log.append(EntryType.GENESIS, {"repository": lab.repository.id}, now=START - 900 * DAY)
        return lab

    @property
    def repository(self) -> Repository:
        """The repository as a new run opens it."""
        return Repository(self.store)

    @property
    def log(self) -> EvidenceLog:
        """The log as this host appends to it."""
        return open_log(self.store, DESCRIPTION.repository_id, SIGNING_KEY, self.state)

    def clock(self) -> datetime:
        """The clock of the host."""
        return self.now

    def back_up(
        self, started: datetime, content: bytes | None = None, database: str = "portal"
    ) -> BackupKey:
        """Write one backup that begins at that time; chunks that are known are used again."""
        key = BackupKey(database, BackupId.new(started, self.chance.randbytes(3)))
        manifest, writing = self.begin(key, content or self.chance.randbytes(1500))
        sha256 = writing.writer.finish(manifest)
        self.log.append(
            EntryType.BACKUP_FINISHED,
            {"backup": key.id.text, "database": database, "manifest_sha256": sha256},
            now=started,
        )
        return key

    def begin(
        self, key: BackupKey, content: bytes, known: KnownChunks | None = None
    ) -> tuple[Manifest, Writing]:
        """Write everything of a backup but its manifest."""
        writing = Writing(self.store, key=key, known=self.known() if known is None else known)
        parts = {"schema": content[:400], "rest": content, "globals": b"-- none"}
        stored = writing.store_all(parts)
        moment = key.id.started
        manifest = replace(
            stored, started=moment, finished=moment, snapshot_time=moment, previous=None, log=None
        )
        return manifest, writing

    def known(self) -> KnownChunks:
        """What a run of this moment would use again."""
        known = KnownChunks()
        gone = condemned_chunks(self.store)
        listed = map(parse_chunk_object_key, self.store.list("chunks/"))
        present = {sha256 for sha256 in listed if sha256 is not None} - gone
        for key in self.repository.backups():
            manifest = self.repository.manifest(key, allowed()).manifest
            for part in manifest.parts:
                known.add_present(self.repository.refs(manifest, part), present)
        return known

    def prove(self, key: BackupKey, verdict: str = "PASS") -> None:
        """Log a restore test of a backup."""
        self.log.append(
            EntryType.RESTORE_TEST_FINISHED,
            {"backup": key.id.text, "database": key.database, "verdict": verdict, "level": 6},
            now=self.now,
        )

    @property
    def sight(self) -> Sight:
        """What a prune looks with."""
        head = LogMemory(self.state, DESCRIPTION.repository_id).head()
        return Sight(
            repository=self.repository,
            allowed=allowed(),
            claims=[] if head is None else [Claim(who="this host", head=head)],
            unfinished=frozenset(),
            holders=Holders(self.state),
            jobs=self.jobs,
        )

    @property
    def rules(self) -> Rules:
        """The policy, with a grace period of three days."""
        return Rules(policy=self.policy, of_database=self.of_database, grace=GRACE, sha256="9" * 64)

    def plan(self) -> PrunePlan | BlockedPlan:
        """What a prune would do."""
        return plan(self.sight, self.rules, now=self.now)

    def prune(self) -> Pruned:
        """Prune; it must not be blocked."""
        made = self.try_prune()
        assert isinstance(made, Pruned), made
        return made

    def try_prune(self) -> Pruned | BlockedPlan:
        """Prune, or be blocked."""
        return prune(
            self.sight,
            self.rules,
            self.log,
            clock=self.clock,
            random=self.chance.randbytes,
            progress=Silent(),
        )

    def prune_until_nothing_is_left(self) -> None:
        """Prune today, and again when everything that was condemned is due."""
        for _ in range(3):
            self.prune()
            self.now += GRACE
        assert self.prune().plan.is_nothing

    def verified(self) -> Verified:
        """Every object of every backup, read."""
        backups = self.repository.backups()
        return verify(self.repository, backups, allowed(), jobs=2, progress=Silent())

    def damages(self) -> tuple[str, ...]:
        """What is wrong with the backups: missing objects above all. `files` are none here."""
        return tuple(
            damage.what for damage in self.verified().damages if "restore.sh" not in damage.what
        )

    def garbage(self) -> set[str]:
        """Chunk objects that no backup refers to, and parts of backups that do not exist."""
        repository, used = self.repository, set[str]()
        for key in repository.backups():
            used |= set(self.store.list(key.prefix))
            manifest = repository.manifest(key, allowed()).manifest
            for part in manifest.parts:
                for ref in repository.refs(manifest, part):
                    used.add(f"chunks/{ref.sha256.hex()[:2]}/{ref.sha256.hex()}")
        return {*self.store.list("chunks/"), *self.store.list("backups/")} - used

    def wrong_in_log(self) -> tuple[str, ...]:
        """What the auditor's look finds."""
        return audit(self.repository, allowed(), [], now=self.now).wrong


def ids(keys: Iterable[BackupKey]) -> list[str]:
    """The ids, for messages."""
    return [key.id.text for key in keys]


def raises_nothing_else(error: BaseException) -> bool:
    """Whether an error is one of ours."""
    return isinstance(error, StrongroomError)
