"""`restore.sh`, which lies in the repository, restores the same with nothing of ours installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backup.crypto.allowed_signers import AllowedSigner, AllowedSigners
from backup.crypto.recipients import X25519Identity
from backup.crypto.sshkey import SigningKey
from backup.journeys.create import Created
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import scratch_cluster
from backup.repository.layout import chunk_object_key
from backup.repository.manifest import MANIFEST_NAMESPACE
from tests.integration.round_trip.conftest import Hard
from tests.lab.likeness import assert_alike, globals_of, likeness
from tests.lab.repositories import Ended, LabRepository
from tests.lab.servers import LabServer
from tests.lab.stock import needs_stock_tools, restore_sh

pytestmark = needs_stock_tools
NEW_NAME = "-x ='new' \\ \"one\"\n😀"


def test_a_fresh_cluster_gets_everything(hard: Hard) -> None:
    """Under its own name, and then under a new one that needs quoting everywhere."""
    tools = hard.server.tools
    with scratch_cluster(tools, superuser=hard.server.dsn.user) as cluster:
        done = restore_sh(hard.repository, hard.made, tools, cluster.dsn)
        assert done.code == 0, done.stderr
        assert "ERROR" not in done.stderr
        dsn = cluster.dsn.with_database(hard.dsn.database)
        assert_alike(hard.likeness, likeness(tools, dsn))
        done = restore_sh(hard.repository, hard.made, tools, cluster.dsn, NEW_NAME)
        assert done.code == 0, done.stderr
        assert_alike(hard.likeness, likeness(tools, cluster.dsn.with_database(NEW_NAME)))


def test_roles_that_exist_keep_what_they_have(hard: Hard) -> None:
    """Password and settings of one that is in use are not those of the backup afterwards."""
    tools = hard.server.tools
    with scratch_cluster(tools, superuser="another") as cluster:
        own = "CREATE ROLE torture_reader LOGIN PASSWORD 'own' CONNECTION LIMIT 3"
        replace(hard.server, dsn=cluster.dsn).sql(own)
        before = [one for one in globals_of(tools, cluster.dsn) if "reader" in one]
        done = restore_sh(hard.repository, hard.made, tools, cluster.dsn, "restored")
        assert done.code == 0, done.stderr
        after = globals_of(tools, cluster.dsn)
        found = likeness(tools, cluster.dsn.with_database("restored"))
        # System objects belong to whoever made the cluster.
        found = replace(found, schema=found.schema.replace("Owner: another", "Owner: postgres"))
        assert_alike(hard.likeness, found, same_globals=False)
    assert [one for one in after if "reader" in one and "GRANT" not in one] == before
    # Granted by `postgres` there, and from 16 on by the superuser that this cluster has here. The
    # reader and pg_read_all_data were both there before: whether it is a member is not changed.
    expected = {
        one.partition(" GRANTED BY ")[0]
        for one in hard.likeness.globals
        if one.startswith("GRANT") and "pg_read_all_data TO torture_reader" not in one
    }
    assert len(expected) >= 4
    assert expected <= {one.partition(" GRANTED BY ")[0] for one in after}
    assert not any("pg_read_all_data TO torture_reader" in one for one in after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of a repository with a small backup, to be damaged."""

    server: LabServer
    repository: LabRepository
    made: Created
    root: Path

    @property
    def backup(self) -> Path:
        """The backup's directory in the copy."""
        return self.root / self.made.manifest.key.prefix

    def restore(self, *arguments: str, **environment: str) -> Ended:
        """Run the script of the copy."""
        return restore_sh(
            self.repository,
            self.made,
            self.server.tools,
            self.server.dsn,
            *(arguments or ("copied",)),
            root=self.root,
            **environment,
        )

    def object_of(self, part: str) -> Path:
        """Return the first object of a part."""
        _, sha256, _, _ = (self.backup / f"parts/{part}.chunks").read_text().split("\n")[0].split()
        return self.root / chunk_object_key(bytes.fromhex(sha256))


@pytest.fixture(scope="module")
def small(any_server: LabServer, repository: LabRepository) -> Iterator[tuple[Dsn, Created]]:
    """A small database and its second backup."""
    with any_server.fresh_database("small") as dsn:
        any_server.sql(
            "CREATE TABLE t AS SELECT n, md5(n::text) AS v FROM generate_series(1, 20000) n",
            dsn.database,
        )
        repository.back_up(dsn)
        yield dsn, repository.back_up(dsn)


@pytest.fixture
def copied(
    any_server: LabServer, repository: LabRepository, small: tuple[Dsn, Created], tmp_path: Path
) -> Iterator[Copy]:
    """A copy for each test; what it restored is dropped."""
    root = Path(shutil.copytree(repository.directory, tmp_path / "copy"))
    yield Copy(server=any_server, repository=repository, made=small[1], root=root)
    any_server.sql("DROP DATABASE IF EXISTS copied")


def databases(copied: Copy) -> str:
    return copied.server.sql("SELECT count(*) FROM pg_database WHERE datname = 'copied'")


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_copy_elsewhere_restores(copied: Copy) -> None:
    """The directory can lie anywhere; without pins it says that nobody vouches."""
    done = copied.restore(ALLOWED_SIGNERS="")
    assert done.code == 0, done.stderr
    assert "UNPINNED" in done.stderr
    assert copied.server.sql("SELECT count(*) FROM t", "copied") == "20000"


def swap_lists(copied: Copy) -> None:
    one, other = copied.backup / "parts/rest.chunks", copied.backup / "parts/schema.chunks"
    first, second = one.read_bytes(), other.read_bytes()
    for path, data in ((one, second), (other, first)):
        path.chmod(0o600)
        path.write_bytes(data)


def take_the_older(copied: Copy) -> None:
    """Put the other backup, which is validly signed, in this one's place."""
    other = next(path for path in copied.backup.parent.iterdir() if path != copied.backup)
    shutil.rmtree(copied.backup)
    shutil.copytree(other, copied.backup)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda copied: flip(copied.backup / "manifest.json"), "manifest"),
        (lambda copied: flip(copied.backup / "catalog.json.age"), "catalog.json.age"),
        (lambda copied: flip(copied.backup / "parts/rest.chunks"), "rest.chunks"),
        (lambda copied: (copied.backup / "parts/rest.chunks").unlink(), "rest.chunks"),
        (lambda copied: flip(copied.object_of("rest")), "is damaged or missing"),
        (lambda copied: flip(copied.object_of("schema")), "is damaged or missing"),
        (lambda copied: flip(copied.object_of("globals")), "is damaged or missing"),
        (lambda copied: copied.object_of("rest").unlink(), "is damaged or missing"),
        (lambda copied: (copied.backup / "manifest.json").unlink(), "is no backup"),
        (swap_lists, "schema.chunks is not the list that was signed"),
        (take_the_older, "belongs to another backup"),
    ],
)
def test_damage_is_refused(copied: Copy, damage: Callable[[Copy], object], words: str) -> None:
    """With exit code 3 or what the tool gave, the reason, and no database left."""
    damage(copied)
    done = copied.restore()
    assert done.code != 0
    assert words in done.stderr
    assert databases(copied) == "0"


def test_a_stranger_s_signature_is_refused(copied: Copy, tmp_path: Path) -> None:
    """A pin for another key: nothing is restored."""
    stranger = AllowedSigner(
        principals=("strongroom@lab",),
        public_key=SigningKey.generate("strongroom@lab").public_key,
        namespaces=(MANIFEST_NAMESPACE,),
    )
    pins = tmp_path / "pins"
    pins.write_text(AllowedSigners(signers=(stranger,)).text)
    done = copied.restore(ALLOWED_SIGNERS=str(pins))
    assert done.code == 3
    assert "signed by nobody in" in done.stderr
    assert databases(copied) == "0"


def test_another_identity_opens_nothing(copied: Copy, tmp_path: Path) -> None:
    """It says so before anything is made."""
    identity = tmp_path / "identity.txt"
    identity.write_text(f"{X25519Identity.generate().text}\n")
    done = restore_sh(
        copied.repository,
        copied.made,
        copied.server.tools,
        copied.server.dsn,
        "copied",
        identity=identity,
    )
    assert done.code == 3
    assert "does not open the backup" in done.stderr
    assert databases(copied) == "0"


def test_a_database_that_exists_is_left_alone(copied: Copy, small: tuple[Dsn, Created]) -> None:
    """Neither filled nor dropped."""
    done = copied.restore("small")
    assert done.code != 0
    assert "already exists" in done.stderr
    assert copied.server.sql("SELECT count(*) FROM t", small[0].database) == "20000"


def test_usage_is_told(copied: Copy) -> None:
    """Too many arguments get the lines that say how it is called."""
    done = copied.restore("copied", "and one more")
    assert done.code == 2
    assert "NEW_DATABASE" in done.stderr
