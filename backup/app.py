"""The composition root: settings in, the store, the repository and the keys out."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from backup import files, keyring, lockrules, logmemory, storeaccess
from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import KeyPair, Recipient, parse_identities, parse_recipient
from backup.errors import KeyUnavailableError, SettingsError
from backup.evidence.log import Claim, EvidenceLog
from backup.holders import Holders
from backup.journeys import archives
from backup.journeys.archives import OpenBackup
from backup.journeys.copy import CopyRules
from backup.journeys.create import Source
from backup.journeys.demand import Demand
from backup.journeys.prunelook import Rules, Sight
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.manifest import sha256_hex
from backup.repository.retention import Policy
from backup.repository.stores.base import Store
from backup.repository.stores.copyview import CopyView
from backup.repository.writing import WritingKeys
from backup.settings import Settings, config_path
from backup.storesettings import GivenCopy
from backup.testpolicy import Question, RestoreTestPolicy
from backup.unfinished import unfinished_objects
from backup.version import VERSION

# What only some verbs need is imported when they ask for it: a backup spends a tenth of a second
# less on starting.
if TYPE_CHECKING:
    from backup.journeys.restoreplan import Destination
    from backup.journeys.restoretest import Examiner


def open_store(settings: Settings) -> Store:
    """Return the store that the settings name; it need not hold a repository yet."""
    address = settings.repository
    if address is None:
        raise SettingsError(
            "no repository is named",
            hint="add --repository DIRECTORY, or set `repository` in the settings file",
        )
    return storeaccess.open_store(
        address,
        settings.s3,
        settings.credentials_directory,
        longest=lockrules.longest(settings, None),
    )


def copies(settings: Settings, name: str | None) -> tuple[GivenCopy, ...]:
    """Return the copies of the settings, or the one of that name. Raises `SettingsError`."""
    found = tuple(one for one in settings.copies if name in {None, one.name})
    if not found:
        known = ", ".join(one.name for one in settings.copies) or "none"
        raise SettingsError(
            f"there is no copy {name!r} in the settings" if name else "the settings name no copy",
            hint=f"the settings have: {known}; a copy is a table [[copies]] (docs/settings.md)",
        )
    return found


def open_copy(settings: Settings, copy: GivenCopy) -> Store:
    """Return the store of a copy."""
    return storeaccess.open_store(
        copy.repository,
        copy.s3 or settings.s3,
        settings.credentials_directory,
        suffix=copy.name,
        longest=lockrules.longest(settings, copy),
    )


def copy_rules(settings: Settings, copy: GivenCopy) -> CopyRules:
    """Return what a copy keeps, and how long it locks."""
    own = copy.retention
    return CopyRules(
        retention=None if own is None else own.policy(settings.zone),
        lock_rule=lambda database: lockrules.lock_rule(settings, database, copy),
    )


def open_repository(
    settings: Settings, from_copy: str | None = None, *, is_judged: bool = False
) -> Repository:
    """Return the repository that the settings name, or a copy of it by the copy's name.

    Raises `NotFoundError` if there is none, and `SettingsError` if another repository is in the
    copy's place: nobody is given another's backups, and nothing is deleted of them. With
    `is_judged`, and keys to sign a judgement with, that is for a restore test to say (`demand`).
    """
    if from_copy is None:
        return Repository(open_store(settings))
    (copy,) = copies(settings, from_copy)
    view = CopyView(open_copy(settings, copy), lambda: open_store(settings))
    repository = Repository(view)
    if view.is_of_another and not (is_judged and keys_directory(settings, repository).is_dir()):
        raise SettingsError(
            f"copy {copy.name} is no copy of {settings.repository}: {view.address} holds repository"
            f" {repository.id}, which is another one",
            hint="correct [[copies]] in the settings; to read it as what it is, name it as"
            " `repository`",
        )
    return repository


def keys_directory(settings: Settings, repository: Repository) -> Path:
    """Return where this host keeps its keys for the repository."""
    return keyring.keys_directory(settings.state_directory, repository.id)


def load_allowed_signers(settings: Settings, repository: Repository) -> AllowedSigners | None:
    """Return whose manifests count here; None if nothing is pinned on this host."""
    return keyring.load_allowed_signers(
        keys_directory(settings, repository), settings.allowed_signers
    )


def load_identities(path: Path | None) -> tuple[KeyPair, ...]:
    """Return the identities in a file of age's own format. Raises `KeyUnavailableError`."""
    if path is None:
        raise KeyUnavailableError(
            "decrypting needs an identity", hint="add --identity FILE (AGE-SECRET-KEY-…)"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise KeyUnavailableError(f"reading identity {path}: {reason}") from error
    return parse_identities(text)


def parse_recipients(texts: Sequence[str], files: Sequence[Path]) -> tuple[Recipient, ...]:
    """Return the public keys given as such and in files, each once, in order."""
    lines = list(texts)
    for path in files:
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SettingsError(f"reading recipients from {path}: {reason}") from error
        lines += [line for line in content.splitlines() if line and not line.startswith("#")]
    if not lines:
        raise SettingsError(
            "a repository needs at least one recipient",
            hint="make an identity with `strongroom keygen -o identity.txt`, add --recipient age1…",
        )
    return tuple(parse_recipient(line.strip()) for line in dict.fromkeys(lines))


def remember_repository(config: Path | None, address: str) -> Path | None:
    """Write a settings file that names the repository, unless there is one; return its path.

    It is there whole or not at all, and durable on return. Raises `SettingsError`.
    """
    path = config or config_path(os.environ, is_root=os.geteuid() == 0)
    if path.exists():
        return None
    quoted = address.replace("\\", "\\\\").replace('"', '\\"')
    line = f'repository = "{quoted}"'
    try:
        files.make_directory(path.parent, mode=0o755)
        files.write_new(path, f"{line}\n".encode())
    except OSError as error:
        raise SettingsError(
            f"the repository is ready, and no settings file names it: writing {path}:"
            f" {error.strerror or error}",
            hint=f"write the line `{line}` into it, or add --repository to each command",
        ) from error
    return path


def load_writing_keys(settings: Settings, repository: Repository) -> WritingKeys:
    """Return what this host writes backups with. Raises `KeyUnavailableError`."""
    return keyring.load_writing_keys(
        keys_directory(settings, repository), settings.credentials_directory
    )


def open_log(settings: Settings, repository: Repository) -> EvidenceLog | None:
    """Return the evidence log as this host appends to it; None if it has no key for that."""
    directory = keys_directory(settings, repository)
    if not directory.is_dir():
        return None
    key = keyring.load_signing_key(directory, settings.credentials_directory)
    return logmemory.open_log(repository.store, repository.id, key, settings.state_directory)


def require_log(settings: Settings, repository: Repository, doing: str) -> EvidenceLog:
    """Return the evidence log. Raises `KeyUnavailableError`: what is `doing` must be logged."""
    log = open_log(settings, repository)
    if log is None:
        raise KeyUnavailableError(
            f"{doing} is told to the evidence log, and this host has no key to sign that with"
            f" ({keys_directory(settings, repository)} does not exist)",
            hint="check --state-directory; a host that only prunes needs signing.key and"
            " allowed_signers there",
        )
    return log


def prune_rules(
    settings: Settings, *, max_expire: int | None = None, copy: str | None = None
) -> Rules:
    """Return what stays, as the settings have it; `max_expire` counts for all, in this run.

    Raises `SettingsError` for a copy that has no retention of its own.
    """
    retention, databases = settings.retention, settings.databases
    if copy is not None:
        (given,) = copies(settings, copy)
        if given.retention is None:
            raise SettingsError(
                f"copy {copy} has no retention of its own, so nothing is ever deleted from it",
                hint="set keep_… in a table [copies.retention] (docs/settings.md, Copies)",
            )
        retention, databases = given.retention, {}

    def limited(policy: Policy) -> Policy:
        return policy if max_expire is None else replace(policy, max_expire=max_expire)

    of_database = {
        name: limited(retention.of_database(one.retention, one.zone or settings.zone))
        for name, one in databases.items()
    }
    policy = limited(retention.policy(settings.zone))
    text = repr((policy, sorted(of_database.items()), retention.sweep_grace))
    return Rules(
        policy=policy,
        of_database=of_database,
        grace=retention.sweep_grace,
        sha256=sha256_hex(text.encode()),
    )


def prune_sight(
    settings: Settings, repository: Repository, now: datetime, copy: str | None = None
) -> Sight:
    """Return what a prune looks with on this host."""
    return Sight(
        repository=repository,
        allowed=load_allowed_signers(settings, repository),
        claims=remembered_log(settings, repository),
        unfinished=unfinished_objects(
            settings.state_directory, repository.id, now - settings.retention.sweep_grace
        ),
        holders=Holders(settings.state_directory),
        jobs=settings.jobs,
        copy=copy,
    )


def remembered_log(settings: Settings, repository: Repository) -> tuple[Claim, ...]:
    """Return what this host has seen of the evidence log."""
    head = logmemory.LogMemory(settings.state_directory, repository.id).head()
    return () if head is None else (Claim(who="this host", head=head),)


def reports_directory(settings: Settings) -> Path:
    """Return where this host keeps the reports of restore tests."""
    return settings.reports_directory or settings.state_directory / "reports"


def pinned_signers(settings: Settings, repository_id: str) -> AllowedSigners | None:
    """Return whose signatures count for a repository that need not be here; None: nobody's."""
    return keyring.load_allowed_signers(
        keyring.keys_directory(settings.state_directory, repository_id), settings.allowed_signers
    )


def backup_source(settings: Settings) -> Source:
    """Return what to back up. Raises `SettingsError` if no database is named."""
    if settings.dsn is None:
        raise SettingsError(
            "no database is named",
            hint="set DATABASE_URL=postgresql://user@host/database, or add --dsn; in the settings,"
            " a database's dsn is in its table or in the credential `dsn-<name>`",
        )
    dsn = Dsn.parse(settings.dsn.get_secret_value(), os.environ)
    return Source(
        dsn=dsn,
        name=settings.name or dsn.database,
        jobs=settings.jobs,
        compression_level=settings.compression_level,
        lock_timeout=settings.lock_timeout,
        stall_timeout=settings.stall_timeout,
        digests=settings.digests,
        tool_directories=settings.tool_directories,
    )


def open_backup(
    settings: Settings, selector: str, database: str | None, from_copy: str | None = None
) -> OpenBackup:
    """Return the backup that is named, with the keys to read it."""
    identities = load_identities(settings.identity)
    repository = open_repository(settings, from_copy)
    return archives.open_backup(
        repository,
        repository.find(selector, database),
        load_allowed_signers(settings, repository),
        identities,
    )


def destination(settings: Settings, dsn: str, tables: Sequence[str]) -> Destination:
    """Return where a restore goes."""
    from backup.journeys.restoreplan import Destination  # noqa: PLC0415 - when it is asked for

    return Destination(
        dsn=Dsn.parse(dsn, os.environ),
        jobs=settings.jobs,
        stall_timeout=settings.stall_timeout,
        tool_directories=settings.tool_directories,
        tables=tuple(tables),
    )


def restore_test_policy(settings: Settings) -> RestoreTestPolicy:
    """Return what the settings ask of a restore test."""
    return RestoreTestPolicy(
        rto_target_ms=_milliseconds(settings.rto_target),
        rpo_target_ms=_milliseconds(settings.rpo_target),
        questions=tuple(
            Question(id=one.id, sql=one.sql, expected=one.expected) for one in settings.checks
        ),
        smoke_command=settings.smoke_command,
        check_timeout_ms=settings.check_timeout // timedelta(milliseconds=1),
        waivers=tuple(one.waiver for one in settings.waivers),
        exclusions=tuple(one.exclusion for one in settings.exclusions),
        frameworks=settings.frameworks,
    )


def demand(
    settings: Settings, repository: Repository, from_copy: str | None, locked_for: timedelta | None
) -> Demand:
    """Return what a restore test demands of where it reads; `locked_for` wins over the settings."""
    if from_copy is None:
        return Demand(locked_for=locked_for or settings.s3.require_locked)
    (copy,) = copies(settings, from_copy)
    wrong = None
    if settings.repository is not None and storeaccess.is_same_place(
        (settings.repository, settings.s3), (copy.repository, copy.s3 or settings.s3)
    ):
        wrong = f"{copy.repository} is the repository itself"
    elif isinstance(repository.store, CopyView) and repository.store.is_of_another:
        wrong = f"{copy.repository} holds repository {repository.id}, which is another one"
    return Demand(
        copy=copy.name,
        wrong_place=wrong,
        locked_for=locked_for or (copy.s3 or settings.s3).require_locked,
    )


def examiner(
    settings: Settings,
    repository: Repository,
    asked: Demand | None = None,
    *,
    escrow: str | None = None,
    table_parallel: int | None = None,
    policy_now: Callable[[], RestoreTestPolicy | None] | None = None,
) -> Examiner:
    """Return what a restore test needs: an identity to read with, keys to sign its report with.

    `asked` is what is demanded of where it reads; None: what the settings demand of the repository.
    """
    from backup.journeys.restoretest import Examiner  # noqa: PLC0415 - when it is asked for
    from backup.journeys.scratchlook import Workshop  # noqa: PLC0415
    from backup.journeys.stored import Trust  # noqa: PLC0415

    identities = load_identities(settings.identity)
    keys = load_writing_keys(settings, repository)
    lost = repository.store.lost if isinstance(repository.store, CopyView) else None
    return Examiner(
        repository=repository,
        trust=Trust(
            allowed=load_allowed_signers(settings, repository),
            claims=remembered_log(settings, repository),
            refusal=lost,
            is_log_lost=lost is not None,
        ),
        identities=identities,
        key_source=f"identity file {settings.identity}, of"
        f" {', '.join(one.recipient.fingerprint for one in identities)}",
        keys=keys,
        log=None
        if lost is not None
        else logmemory.open_log(
            repository.store, repository.id, keys.signing_key, settings.state_directory
        ),
        policy=restore_test_policy(settings),
        workshop=Workshop(
            host=platform.node(),
            user=getpass.getuser(),
            operating_system=platform.platform(),
            jobs=settings.jobs,
            table_parallel=table_parallel,
            stall_timeout=settings.stall_timeout,
            tool_directories=settings.tool_directories,
            directory=settings.scratch_directory,
        ),
        escrow=escrow,
        policy_now=policy_now,
        state_directory=settings.state_directory,
        reports_directory=reports_directory(settings),
        version=VERSION,
        demand=asked or demand(settings, repository, None, None),
    )


def _milliseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // timedelta(milliseconds=1)
