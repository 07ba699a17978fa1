"""`doctor`: would the next backup work, and would it be whole?

Each check says what was observed and, where it is not good, what to do. It changes nothing but one
probe object, which it removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import Identity
from backup.errors import StrongroomError
from backup.journeys.check import Check
from backup.postgres import locktable
from backup.postgres.access import Access, read_access
from backup.postgres.database import connect
from backup.postgres.dsn import Dsn
from backup.postgres.tools import find_tools
from backup.repository.access import Repository
from backup.repository.manifest import MANIFEST_NAMESPACE
from backup.repository.stores.base import Store
from backup.repository.stores.s3options import SCHEME
from backup.repository.writing import WritingKeys
from backup.settings import Settings

_CLOCK_TOLERANCE = timedelta(seconds=30)
_PROBE = "leases/doctor-"


def check_repository(
    repository: Repository,
    load_keys: Callable[[], WritingKeys],
    load_signers: Callable[[], AllowedSigners | None],
    identities: Sequence[Identity],
    random: Callable[[int], bytes],
) -> list[Check]:
    """Return whether the store, the keys and the pins do for a backup."""
    checks = [_probed(repository, random), *check_bucket(repository.store, random)]
    try:
        keys = load_keys()
    except StrongroomError as error:
        checks.append(_bad("keys", error))
        return checks
    recipients = ", ".join(recipient.fingerprint for recipient in keys.recipients)
    checks.append(Check(name="keys", status="good", observed=f"encrypts to {recipients}"))
    checks.append(_pinned(keys, load_signers))
    if identities:
        checks.append(_opened(repository, keys, identities))
    return checks


async def check_database(dsn: Dsn, settings: Settings, now: Callable[[], datetime]) -> list[Check]:
    """Return whether the server can be reached, and the role can read all of the database."""
    try:
        async with connect(dsn, application_name="strongroom doctor") as session:
            asked = now()
            access = await read_access(session)
    except StrongroomError as error:
        return [_bad("connection", error)]
    checks = [Check(name="connection", status="good", observed=f"{dsn}: {access.version}")]
    try:
        tools = find_tools(access.major, bin_directories=settings.tool_directories)
        newer = tools.newer_than(access.major)
        checks.append(
            Check(
                name="client tools",
                status="warning" if newer else "good",
                observed=newer or f"{tools.bin} ({tools.version})",
                hint=f"apt install postgresql-client-{access.major}" if newer else None,
            )
        )
    except StrongroomError as error:
        checks.append(_bad("client tools", error))
    return [*checks, *_access_checks(dsn, access), _clock(access.server_time, asked)]


def _access_checks(dsn: Dsn, access: Access) -> list[Check]:
    checks = [
        _require(
            "reads every table",
            access.unreadable == 0,
            f"{access.tables - access.unreadable} of {access.tables} tables",
            f"GRANT pg_read_all_data TO {dsn.user}",
        ),
        _require(
            "sees every row",
            access.hidden == 0,
            f"row security hides rows of {access.hidden} tables",
            f"ALTER ROLE {dsn.user} BYPASSRLS: otherwise the dump fails",
        ),
        _require(
            "reads large objects",
            access.unreadable_large_objects == 0,
            f"{access.unreadable_large_objects} cannot be read",
            f"GRANT SELECT ON LARGE OBJECT … TO {dsn.user}, for each",
        ),
    ]
    if not access.reads_passwords:
        checks.append(
            Check(
                name="reads role passwords",
                status="warning",
                observed="no: roles are stored without them",
                hint="set passwords anew after a restore, or back up as a superuser",
            )
        )
    locks = access.lock_table
    if locks.status != "good":
        checks.append(
            Check(
                name="lock table",
                status=locks.status,
                observed=f"{locks.tables} tables and {locks.sequences} sequences:"
                f" {locks.wanted} locks at once, and the server has {locks.slots} slots",
                hint=f"set {locktable.SETTING} to {locks.needed_per_session} or more and restart"
                " the server: "
                + ("no" if locks.status == "bad" else "maybe no")
                + " backup can be taken before",
            )
        )
    return checks


def _clock(server_time: datetime, here: datetime) -> Check:
    difference = abs(server_time - here)
    return Check(
        name="clocks",
        status="good" if difference <= _CLOCK_TOLERANCE else "warning",
        observed=f"server and this host differ by {difference.total_seconds():.1f} s",
        hint=None if difference <= _CLOCK_TOLERANCE else "set up time synchronisation on both",
    )


def _probed(repository: Repository, random: Callable[[int], bytes]) -> Check:
    key, content = _PROBE + random(8).hex(), random(64)
    store = repository.store
    try:
        store.put(key, content)
        is_same = store.get(key) == content
        store.delete(key)
    except StrongroomError as error:
        return _bad("store", error)
    return _require("store", is_same, f"{store.address}: wrote and read a probe", "try another one")


def check_bucket(store: Store, random: Callable[[int], bytes]) -> list[Check]:
    """Return what the store's facts mean, for a store that is no directory."""
    if not store.address.startswith(SCHEME):
        return []
    # boto3 is loaded already: this is a bucket.
    from backup.journeys.bucketcheck import judge  # noqa: PLC0415
    from backup.repository.stores.s3 import S3Store  # noqa: PLC0415
    from backup.repository.stores.s3probe import probe  # noqa: PLC0415

    if not isinstance(store, S3Store):
        return []
    try:
        return list(judge(probe(store, random), store.options))
    except StrongroomError as error:
        return [_bad("bucket", error)]


def _pinned(keys: WritingKeys, load_signers: Callable[[], AllowedSigners | None]) -> Check:
    try:
        signers = load_signers()
    except StrongroomError as error:
        return _bad("pins", error)
    principal = signers and signers.principal_of(
        keys.signing_key.public_key, namespace=MANIFEST_NAMESPACE
    )
    return _require(
        "pins",
        bool(principal),
        f"this host's signatures count as {principal}" if principal else "own key is not pinned",
        "add the line of this host's signing key to allowed_signers",
    )


def _opened(repository: Repository, keys: WritingKeys, identities: Sequence[Identity]) -> Check:
    try:
        is_same = repository.chunk_key(identities) == keys.chunk_key
    except StrongroomError as error:
        return _bad("identity", error)
    return _require(
        "identity",
        is_same,
        "opens the repository" if is_same else "the repository's chunk key is not this host's",
        "check that --repository and the state directory belong together",
    )


def _require(name: str, is_good: bool, observed: str, hint: str) -> Check:
    return Check(
        name=name,
        status="good" if is_good else "bad",
        observed=observed,
        hint=None if is_good else hint,
    )


def _bad(name: str, error: StrongroomError) -> Check:
    return Check(name=name, status="bad", observed=error.message, hint=error.hint)
