"""A thief with the daemon's own S3 credentials, and locks, on a real S3 server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup.crypto.recipients import X25519Identity
from backup.errors import LockedError, StoreError
from backup.evidence.entry import EntryType
from backup.journeys.bucketcheck import judge
from backup.journeys.locks import objects_of
from backup.journeys.pins import pin, unpin
from backup.logmemory import open_log
from backup.policies import ROLES, Role, policy
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.pins import read_pins
from backup.repository.retention import BlockedPlan, Policy
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import Lock, S3Address
from backup.repository.stores.s3probe import probe
from tests.lab.buckets import S3Server
from tests.lab.prunes import DAY, PruneLab
from tests.lab.radosgw import new_user
from tests.lab.repositories import Host
from tests.lab.servers import LabServer
from tests.samples import FILES, SIGNING_KEY, allowed

LOCK = Lock(mode="compliance", duration=timedelta(hours=1))
KEY = "chunks/3f/object"
DATA = b"sealed" * 1000


@dataclass(frozen=True, slots=True)
class Users:
    """A bucket with Object Lock, and one user for each role; all rights come from the policies."""

    bucket: str
    of_role: dict[Role, S3Server]

    def store(self, role: Role, lock: Lock = LOCK) -> S3Store:
        """The bucket, with the credentials of a role."""
        return self.of_role[role].store(self.bucket, "vault", lock=lock)


@pytest.fixture(scope="module")
def users(s3_servers: Any) -> Users:
    """A user of each role, of one bucket."""
    return new_users(s3_servers.named("radosgw"))


def new_users(server: S3Server) -> Users:
    """Users, whose rights are what `strongroom store policy` prints."""
    bucket = server.new_bucket(has_lock=True)
    address = S3Address(bucket=bucket, prefix="vault")
    statements, of_role = [], {}
    for role in ROLES:
        name = f"{role}-{bucket}"
        of_role[role] = replace(server, keys=new_user(server, name))
        text = policy(role, address, principal=f"arn:aws:iam:::user/{name}", profile="ceph")
        statements += json.loads(text)["Statement"]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    server.client.put_bucket_policy(Bucket=bucket, Policy=document)
    return Users(bucket, of_role)


def refused(call: Callable[..., object], **arguments: Any) -> bool:
    """The server says no."""
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403, 405}
        return True
    return False


def test_a_writer_writes_and_reads_and_a_reader_reads(users: Users) -> None:
    """What their work takes."""
    users.store("writer").put("chunks/aa/1", DATA, durable=False)
    users.store("writer").put("leases/x", DATA)
    writer = users.store("writer")
    writer.put("chunks/aa/2", DATA)
    writer.delete("leases/x")
    for role in ("writer", "reader", "pruner"):
        store = users.store(role)
        assert "chunks/aa/2" in list(store.list("chunks/"))
        assert store.get("chunks/aa/2") == DATA
        assert "leases/x" not in list(store.list(""))
    with pytest.raises(StoreError, match="403"):
        users.store("reader").put("chunks/aa/3", DATA)


def test_a_thief_with_the_daemons_credentials_destroys_nothing(users: Users) -> None:
    """He deletes, overwrites, shortens and lifts locks: each version that was written is there."""
    users.store("writer").put(KEY, DATA)
    thief: Any = users.of_role["writer"].client
    at = {"Bucket": users.bucket, "Key": f"vault/{KEY}"}
    version = thief.head_object(**at)["VersionId"]
    soon = datetime.now(UTC) + timedelta(seconds=5)
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": soon}
    governance = {"Mode": "GOVERNANCE", "RetainUntilDate": soon}
    assert refused(thief.delete_object, **at)
    assert refused(thief.delete_object, **at, VersionId=version)
    assert refused(thief.delete_object, **at, VersionId=version, BypassGovernanceRetention=True)
    assert refused(thief.put_object_retention, **at, Retention=retention)
    assert refused(thief.put_object_retention, **at, Retention=governance)
    assert refused(thief.delete_bucket, Bucket=users.bucket)
    assert refused(thief.delete_bucket_policy, Bucket=users.bucket)
    assert refused(
        thief.put_bucket_lifecycle_configuration,
        Bucket=users.bucket,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "x",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                }
            ]
        },
    )
    assert refused(
        thief.put_bucket_versioning,
        Bucket=users.bucket,
        VersioningConfiguration={"Status": "Suspended"},
    )
    # Overwriting adds a version: it hides the object and does not destroy it.
    thief.put_object(**at, Body=b"ransom")
    assert users.store("reader").get(KEY) == b"ransom"
    reader: Any = users.of_role["reader"].client
    assert reader.get_object(**at, VersionId=version)["Body"].read() == DATA


def test_not_even_a_pruner_deletes_what_is_locked(users: Users) -> None:
    """It is told until when."""
    users.store("writer").put("chunks/bb/1", DATA)
    with pytest.raises(LockedError, match="lock until") as caught:
        users.store("pruner").delete("chunks/bb/1")
    left = (caught.value.until or datetime.now(UTC)) - datetime.now(UTC)
    assert timedelta(minutes=50) < left < timedelta(minutes=80)
    assert users.store("reader").get("chunks/bb/1") == DATA


def test_doctor_proves_that_a_writers_deletion_is_refused(users: Users) -> None:
    """By trying, with the daemon's own credentials; and says until when a new object is locked."""
    store = users.store("writer")
    found = {check.name: check for check in judge(probe(store, os.urandom), store.options)}
    assert (found["deletion"].status, found["object lock"].status) == ("good", "good")
    assert found["deletion"].observed == "is refused to these credentials"
    assert found["object lock"].observed.startswith("a new object is locked until 20")


def test_a_pruner_deletes_for_good_what_is_not_locked(users: Users) -> None:
    """No version is left to pay for."""
    users.store("writer").put("leases/y", DATA)
    pruner = users.store("pruner")
    pruner.delete("leases/y")
    pruner.delete("leases/y")
    client: Any = users.of_role["pruner"].client
    found = client.list_object_versions(Bucket=users.bucket, Prefix="vault/leases/y")
    assert not found.get("Versions")
    assert not found.get("DeleteMarkers")


def test_a_chunk_that_is_used_again_stays_locked(users: Users) -> None:
    """Its lock is extended when less than the duration is left, and only then."""
    short = Lock(mode="compliance", duration=timedelta(minutes=10))
    users.store("writer", short).put("chunks/cc/1", DATA)
    before = users.store("writer").protection("chunks/cc/1").until
    assert users.store("writer").keep_locked(["chunks/cc/1"]) == 1
    assert users.store("writer").keep_locked(["chunks/cc/1"]) == 0
    after = users.store("writer").protection("chunks/cc/1").until
    assert before is not None
    assert after is not None
    assert after - before > timedelta(minutes=45)


def test_a_thief_reads_nothing_of_a_real_backup_and_destroys_none(
    real_s3: S3Server, any_server: LabServer, any_database: Dsn, tmp_path: Path
) -> None:
    """The writer's policy is enough for backups; what a thief fetches tells no row and no name."""
    any_server.sql(
        "CREATE TABLE hush_hush AS SELECT n, 'canary of row ' || n AS v"
        " FROM generate_series(1, 2000) n",
        any_database.database,
    )
    users = new_users(real_s3)
    server = users.of_role["writer"]
    (tmp_path / "strongroom.toml").write_text(
        f'repository = "s3://{users.bucket}/vault"\n[s3]\nprofile = "ceph"\n'
        f'endpoint = "{server.endpoint}"\nca_file = "{server.ca_file}"\n'
        'lock = "compliance"\n[retention]\nkeep_within = "P3D"\n'
    )
    keys = {
        "AWS_ACCESS_KEY_ID": server.keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.keys.secret_access_key,
    }
    host = Host(home=tmp_path, environment=keys)
    identity, stranger = X25519Identity.generate(), tmp_path / "stranger.txt"
    stranger.write_text(f"{X25519Identity.generate().text}\n")
    for verb in (("init", "--recipient", identity.recipient.text), ("backup",), ("backup",)):
        done = host.strongroom(*verb, DATABASE_URL=str(any_database))
        assert done.code == 0, done.stderr

    thief: Any = server.client
    found = thief.list_object_versions(Bucket=users.bucket)["Versions"]
    assert len([one for one in found if one["Key"].endswith("/manifest.json")]) == 2
    for one in found:
        at = {"Bucket": users.bucket, "Key": one["Key"], "VersionId": one["VersionId"]}
        body = thief.get_object(**at)["Body"].read()
        assert b"canary of row" not in body
        assert b"hush_hush" not in body
        if not one["Key"].startswith("vault/leases/"):
            assert refused(thief.delete_object, **at), one["Key"]
            locked = thief.head_object(**at)["ObjectLockRetainUntilDate"] - datetime.now(UTC)
            assert timedelta(days=2, hours=23) < locked < timedelta(days=4), one["Key"]
    out = ("restore", "latest", "--export", tmp_path / "out")
    assert host.strongroom(*out).code == 7
    assert host.strongroom(*out, "--identity", stranger).code == 7
    assert host.strongroom("verify", "--all").code == 0


def test_a_pin_is_a_legal_hold_that_only_a_keeper_lifts(real_s3: S3Server, tmp_path: Path) -> None:
    """All of a pinned backup is held; chunks that another pin needs stay held when one goes."""
    users = new_users(real_s3)
    for file in FILES:
        users.store("writer").put(file.name, b"as init wrote it")
    lab = PruneLab.make(users.store("writer"), tmp_path / "state")
    content = lab.chance.randbytes(1200)
    old, new = (lab.back_up(lab.now + n * DAY, content + bytes([n]) * 600) for n in (0, 1))
    keeper = Repository(users.store("keeper"))
    log = open_log(users.store("keeper"), keeper.id, SIGNING_KEY, lab.state)
    both = {key: objects_of(keeper, keeper.manifest(key, allowed())) for key in (old, new)}
    shared = {one for one in both[old] if one.startswith("chunks/")} & set(both[new])
    assert shared

    def held() -> set[str]:
        store = users.store("reader")
        return {name for names in both.values() for name in names if store.protection(name).is_held}

    as_writer = Repository(users.store("writer"))
    now = {"who": "ann@host", "allowed": allowed()}
    with pytest.raises(StoreError, match=r"is pinned, but has no legal hold.*403"):
        pin(as_writer, old, lab.log, why="audit", clock=lab.clock, **now)
    assert held() == set()
    assert read_pins(lab.store).keys() == {old}, "our own prune spares it all the same"
    assert not pin(keeper, old, log, why="again", clock=lab.clock, **now)[1]
    assert held() == set(both[old])
    assert pin(keeper, new, log, why="audit", clock=lab.clock, **now)[1]
    assert held() == set(both[old]) | set(both[new])

    with pytest.raises(LockedError, match="a legal hold, which has no end"):
        users.store("pruner").delete(old.manifest)
    for role in ("writer", "reader", "pruner"):
        with pytest.raises(StoreError, match="403"):
            users.store(role).hold([old.manifest], is_held=False)
    keeper.store.delete(f"pins/portal/{old.id}.json")
    lab.policy, lab.store, lab.now = Policy(keep_last=1), users.store("pruner"), lab.now + 3 * DAY
    blocked = lab.try_prune()
    assert isinstance(blocked, BlockedPlan)
    assert f"backup {old.id} is pinned" in blocked.reasons[0]
    # And if the log told of no pin either: the hold is there.
    without = {"backup": old.id.text, "database": old.database, "who": "ann@host"}
    log.append(EntryType.PIN_REMOVED, without, now=lab.now)
    assert lab.prune().spared[old].startswith("held by the store: a legal hold")
    assert pin(keeper, old, log, why="audit", clock=lab.clock, **now)[1]
    assert unpin(keeper, old, log, now=lab.now, **now)
    assert held() == set(both[new])
    keeper.store.delete(f"pins/portal/{new.id}.json")
    assert unpin(keeper, new, log, now=lab.now, **now), "holds that were left without a pin"
    assert held() == set()
    assert not unpin(keeper, new, log, now=lab.now, **now)
