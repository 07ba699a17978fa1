"""A restore test that demands the locked copy says so when another one was read. Real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.repositories import Host, LabRepository, lab_repository
from tests.lab.s3servers import S3Servers
from tests.lab.servers import LabServer

SETTINGS = """
repository = "{home}"
identity = "{identity}"
name = "portal"
schedule = "0 2 * * *"
[retention]
keep_daily = 3
[s3]
endpoint = "{endpoint}"
profile = "ceph"
ca_file = "{ca_file}"
[[copies]]
name = "locked"
repository = "s3://{locked}/copy"
[copies.s3]
endpoint = "{endpoint}"
profile = "ceph"
ca_file = "{ca_file}"
lock = "compliance"
[copies.retention]
keep_within = "P40D"
[[copies]]
name = "open"
repository = "s3://{open}"
[copies.s3]
endpoint = "{endpoint}"
profile = "ceph"
ca_file = "{ca_file}"
require_locked = "P1D"
[[copies]]
name = "here"
repository = "{home}/../{home_name}"
"""


@dataclass(frozen=True, slots=True)
class Copied:
    """A host with a backup; of its copies one is locked, one is not, and one is none."""

    host: Host
    repository: LabRepository


@pytest.fixture(scope="module")
def copied(s3_servers: S3Servers, any_server: LabServer) -> Iterator[Copied]:
    """One backup, copied."""
    server = s3_servers.named("radosgw")
    with lab_repository() as repository, any_server.fresh_database() as dsn:
        any_server.sql("CREATE TABLE people AS SELECT n FROM generate_series(1, 9) n", dsn.database)
        repository.back_up(dsn, name="portal")
        home = repository.directory.parent
        (home / "strongroom.toml").write_text(
            SETTINGS.format(
                home=repository.directory,
                home_name=repository.directory.name,
                identity=repository.identity_file,
                endpoint=server.endpoint,
                ca_file=server.ca_file,
                locked=server.new_bucket(has_lock=True),
                open=server.new_bucket(),
            )
        )
        keys = {
            "AWS_ACCESS_KEY_ID": server.keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": server.keys.secret_access_key,
        }
        host = Host(home=home, environment=keys)
        for name in ("locked", "open"):
            done = host.strongroom("copy", "--to", name)
            assert done.code == 0, done.stderr
        yield Copied(host, repository)


def test_the_locked_copy_passes_as_far_as_its_lock_reaches(copied: Copied) -> None:
    """Its lock follows from its own retention, so thirty days are there and fifty are not."""
    demanded = ("restore-test", "--from", "locked", "--json", "--require-locked")
    done = copied.host.strongroom(*demanded, "P30D")
    assert (done.code, done.json["word"], done.json["codes"]) == (0, "PASS", [])
    done = copied.host.strongroom(*demanded, "P50D")
    assert (done.code, done.json["word"]) == (2, "INCONCLUSIVE")
    assert done.json["codes"] == ["WRONG_COPY"]
    (finding,) = done.json["findings"]
    assert "can be deleted earlier" in finding["observed"]


def test_a_copy_that_is_not_locked_is_not_the_one_that_the_settings_demand(copied: Copied) -> None:
    """Everything was compared and is right, and the word is INCONCLUSIVE all the same."""
    done = copied.host.strongroom("restore-test", "--from", "open", "--json")
    assert (done.code, done.json["codes"]) == (2, ["WRONG_COPY"])
    assert done.json["coverage"]["tables_counted"] == 1
    (finding,) = done.json["findings"]
    assert "is not locked" in finding["observed"]


def test_a_copy_that_is_the_repository_itself_is_none(copied: Copied) -> None:
    """However its path is written."""
    done = copied.host.strongroom("restore-test", "--from", "here", "--json")
    assert (done.code, done.json["codes"]) == (2, ["WRONG_COPY"])
    assert done.json["findings"][0]["observed"].endswith("is the repository itself")
    assert done.json["findings"][0]["what"] == "copy here"
    done = copied.host.strongroom("restore-test", "--require-locked", "P1D", "--json")
    assert done.json["codes"] == ["WRONG_COPY"]
    assert "locks nothing" in done.json["findings"][0]["observed"]
    done = copied.host.strongroom("restore-test", "--require-locked", "soon")
    assert done.code == 3
    assert "P30D" in done.stderr
