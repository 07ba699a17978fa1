"""Looking at everything that a status is made of: settings, repository, evidence log, journal.

Nothing here raises for what it finds: what cannot be looked at is part of what is returned.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from backup import app, logmemory
from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.certificate import expiries
from backup.crypto.merkle import HASH_BYTES
from backup.errors import StrongroomError
from backup.evidence.entry import Entry
from backup.repository.access import Repository
from backup.repository.layout import BackupKey
from backup.repository.manifest import Manifest
from backup.settings import Settings
from backup.version import VERSION
from scheduler.facts import Blindness, DatabaseRecord, DoubtedBackup, Facts, StoredBackup
from scheduler.jobs import jobs_of
from scheduler.journalview import read_journal
from scheduler.keptlog import KeptLog
from scheduler.logged import told_of_database, told_of_repository
from scheduler.logview import READERS, LogReader, LogView
from scheduler.promises import certificates, database_names, due, promise
from scheduler.status import DaemonState, Expiry, NotifierStatus

_NOTHING = LogView(entries=(), size=0, checkpoint_size=0, problems=())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The repository, whose signatures count in it, the backups there are, its log."""

    repository: Repository
    allowed: AllowedSigners | None
    keys: Sequence[BackupKey]
    view: LogView


class _ByDatabase:
    """The backups and the entries of each database: hundreds of databases have each their own."""

    def __init__(self, opened: _Opened) -> None:
        self.keys: dict[str, list[BackupKey]] = {}
        self.entries: dict[str, list[Entry]] = {}
        for key in opened.keys:
            self.keys.setdefault(key.database, []).append(key)
        for entry in opened.view.entries:
            database = entry.details.get("database")
            if isinstance(database, str):
                self.entries.setdefault(database, []).append(entry)


class Looker:
    """Looks again and again; what never changes is read once."""

    def __init__(
        self,
        settings: Settings,
        *,
        configured_notifiers: int,
        repository: Repository | None = None,
        keeps_log: bool = False,
    ) -> None:
        """Look at that repository, or at the one of the settings, opened when it is there.

        With `keeps_log` what is fetched of the log is kept for whoever looks next.
        """
        self._settings = settings
        self._jobs = jobs_of(settings)
        self._configured = configured_notifiers
        self._repository = repository
        self._keeps_log = keeps_log
        self._reader: LogReader | None = None
        self._believed: dict[BackupKey, StoredBackup] = {}

    def look(self, *, now: datetime, own: DaemonState | None = None) -> Facts:
        """Return what is known now; raises nothing for what it finds.

        `own` is what the daemon knows of itself; others take it from the journal.
        """
        settings, jobs = self._settings, self._jobs
        journal = read_journal(
            settings.state_directory, (job.key for job in jobs), now=now, own=own
        )
        blind: list[Blindness] = []
        records: dict[str, DatabaseRecord] = {}
        view = _NOTHING
        try:
            opened = self._open(now)
            view = opened.view
            there = frozenset(opened.keys)
            self._believed = {key: one for key, one in self._believed.items() if key in there}
            for name, record in self._records(opened, now):
                # The log may not have been told of all that was missed yet.
                missed = max(record.missed_slots, journal.missed.get(name, 0))
                records[name] = replace(record, missed_slots=missed)
        except (StrongroomError, OSError) as error:
            blind.append(_blind("repository", "the repository", error))
        if journal.problem is not None:
            hint = "may this user read the state directory? ls -l"
            blind.append(
                Blindness(code="journal", what=f"the journal: {journal.problem}", hint=hint)
            )
        told = told_of_repository(view.entries)
        undelivered = journal.undelivered
        return Facts(
            host=platform.node(),
            version=VERSION,
            repository=settings.repository or "none",
            promises=tuple(
                promise(settings, name, jobs, now)
                for name in (records or database_names(settings, ()))
            ),
            records=records,
            daemon=journal.daemon,
            is_daemon_wanted=bool(jobs),
            failures=journal.failures,
            running=journal.running,
            due=tuple(due(job, now) for job in jobs),
            expiries=tuple(self._expiries(blind)),
            verify=told.verify,
            verify_within=settings.schedules.verify_within if settings.schedules.verify else None,
            prune_blocked=told.prune_blocked,
            notifier=NotifierStatus(
                configured=self._configured,
                failing_since=undelivered.since if undelivered else None,
                error=undelivered.error if undelivered else None,
                is_partial=undelivered is not None and undelivered.is_partial,
            ),
            log_problems=view.problems,
            log_entries=view.size,
            log_checkpoint_entries=view.checkpoint_size,
            repository_free_bytes=_free_bytes(settings),
            blindnesses=tuple(blind),
        )

    def _open(self, now: datetime) -> _Opened:
        if self._repository is None:
            self._repository = app.open_repository(self._settings)
        if self._reader is None:
            memory = logmemory.LogMemory(self._settings.state_directory, self._repository.id)
            self._reader = LogReader(
                self._repository.store,
                self._repository.id,
                KeptLog(memory.path.with_suffix(".lines")),
                keeps=self._keeps_log,
            )
        allowed = app.load_allowed_signers(self._settings, self._repository)
        keys = self._repository.backups()
        if allowed is None:
            problem = "UNPINNED: nothing here says whose evidence log this may be"
            view = replace(_NOTHING, problems=(problem,))
        else:
            view = self._reader.view(
                keys=[signer.public_key for signer in allowed.signers],
                remembered=_remembered(self._settings.state_directory, self._repository.id),
                now=now,
            )
        return _Opened(repository=self._repository, allowed=allowed, keys=keys, view=view)

    def _records(self, opened: _Opened, now: datetime) -> Iterator[tuple[str, DatabaseRecord]]:
        """Yield what is known of each database; manifests of several are fetched at once."""
        of = _ByDatabase(opened)
        names = database_names(self._settings, opened.keys)
        with ThreadPoolExecutor(READERS, thread_name_prefix="look") as pool:
            found = pool.map(lambda name: self._record(name, opened, of, now), names)
            yield from zip(names, found, strict=True)

    def _record(self, name: str, opened: _Opened, of: _ByDatabase, now: datetime) -> DatabaseRecord:
        own = of.keys.get(name, [])
        doubted: DoubtedBackup | None = None
        newest: StoredBackup | None = None
        for key in reversed(own):
            found = self._believe(key, opened)
            if isinstance(found, StoredBackup):
                newest = found
                break
            doubted = doubted or found
        entries = of.entries.get(name, [])
        return told_of_database(name, entries, there=own, newest=newest, doubted=doubted, now=now)

    def _believe(self, key: BackupKey, opened: _Opened) -> StoredBackup | DoubtedBackup:
        """Return the backup as its signed manifest tells, or why that can't be believed."""
        if key in self._believed:
            return self._believed[key]
        why = "nobody here vouches for its signer"
        try:
            signed = opened.repository.manifest(key, opened.allowed)
        except StrongroomError as error:
            why = error.message
        else:
            if signed.signer.principal is not None:
                self._believed[key] = _stored(signed.manifest)
                return self._believed[key]
        return DoubtedBackup(backup_id=key.id.text, started=key.id.started, why=why)

    def _expiries(self, blind: list[Blindness]) -> Iterator[Expiry]:
        """Yield when keys and certificates that are in use here end."""
        try:
            yield from self._signers()
        except (StrongroomError, OSError) as error:
            blind.append(_blind("signers", "allowed signers", error))
        for path in sorted(certificates(self._settings)):
            try:
                for subject, end in expiries(path.read_bytes()):
                    yield Expiry(kind="certificate", name=f"{path}: {subject}", at=end)
            except (StrongroomError, OSError) as error:
                blind.append(_blind("certificate", f"certificate {path}", error))

    def _signers(self) -> Iterator[Expiry]:
        if self._repository is None:
            return
        allowed = app.load_allowed_signers(self._settings, self._repository)
        for signer in allowed.signers if allowed is not None else ():
            if signer.valid_before is not None:
                yield Expiry(kind="signer", name=signer.principal, at=signer.valid_before)


def _stored(manifest: Manifest) -> StoredBackup:
    return StoredBackup(
        backup_id=manifest.backup_id,
        started=manifest.key.id.started,
        duration=manifest.finished - manifest.started,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        new_bytes=manifest.new_bytes,
    )


def _remembered(state_directory: Path, repository_id: str) -> list[bytes]:
    """Return the leaves that this host has seen, without waiting for a run that appends."""
    try:
        data = logmemory.LogMemory(state_directory, repository_id).path.read_bytes()
    except FileNotFoundError:
        return []
    whole = len(data) - len(data) % HASH_BYTES
    return [data[at : at + HASH_BYTES] for at in range(0, whole, HASH_BYTES)]


def _free_bytes(settings: Settings) -> int | None:
    address = settings.repository
    if address is None or "://" in address:
        return None
    try:
        return shutil.disk_usage(Path(address).expanduser()).free
    except OSError:
        return None


def _blind(code: str, what: str, error: StrongroomError | OSError) -> Blindness:
    hint = error.hint if isinstance(error, StrongroomError) else None
    return Blindness(code=code, what=f"{what}: {error}", hint=hint or "strongroom doctor")
