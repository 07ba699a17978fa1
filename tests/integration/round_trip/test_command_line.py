"""The command lines that people are told to type, as processes, with their exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.crypto.recipients import HybridIdentity, X25519Identity
from backup.postgres.dsn import Dsn
from tests.lab.likeness import assert_alike, likeness
from tests.lab.repositories import Ended, Host
from tests.lab.servers import LabServer
from tests.lab.stock import run_readme

RESTORED = "restored by hand"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine where nothing was set up."""
    return Host(home=tmp_path)


@pytest.fixture
def source(any_server: LabServer) -> Iterator[Dsn]:
    """A small database with a role that owns it."""
    with any_server.fresh_database("portal") as dsn:
        any_server.sql(
            "CREATE ROLE portal_owner LOGIN PASSWORD 'as it was'; SET ROLE portal_owner;"
            "RESET ROLE; CREATE TABLE client (id int PRIMARY KEY, name text);"
            "INSERT INTO client SELECT n, 'client ' || n FROM generate_series(1, 5000) n;"
            "ALTER TABLE client OWNER TO portal_owner; ALTER DATABASE portal OWNER TO portal_owner",
            dsn.database,
        )
        yield dsn
        any_server.sql(
            f'DROP DATABASE portal; DROP DATABASE IF EXISTS "{RESTORED}"; DROP ROLE portal_owner'
        )


def good(done: Ended) -> str:
    assert done.code == 0, done.stderr
    return done.stdout


def exists(server: LabServer, database: str) -> bool:
    return server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{database}'") == "1"


@pytest.mark.parametrize("kind", [(), ("--pq",)], ids=["x25519", "post-quantum"])
def test_the_way_from_keys_to_a_restored_database(
    any_server: LabServer, source: Dsn, host: Host, tmp_path: Path, kind: tuple[str, ...]
) -> None:
    """keygen, init, backup, list, show, verify, restore, export; either recipient restores."""
    before = likeness(any_server.tools, source)
    identities = [tmp_path / "identity.txt", tmp_path / "other.txt"]
    recipients = [
        good(host.strongroom("keygen", "-o", path, *kind)).removeprefix("Public key: ").strip()
        for path in identities
    ]
    directory = tmp_path / "repository"
    named = ("--repository", directory)
    options = [text for recipient in recipients for text in ("--recipient", recipient)]
    good(host.strongroom("init", *named, *options))
    made = json.loads(
        good(host.strongroom("backup", *named, "--dsn", str(source), "--jobs", "2", "--json"))
    )
    again = good(host.strongroom("backup", DATABASE_URL=str(source)))
    assert "new in the repository" in again
    listed = json.loads(good(host.strongroom("list", "--json")))
    assert [row["status"] for row in listed] == ["signed", "signed"]
    assert listed[0]["backup_id"] == made["backup_id"]
    assert made["backup_id"] in good(host.strongroom("list"))
    shown = json.loads(good(host.strongroom("show", "latest", "--json")))
    assert shown["manifest"]["previous"]["backup_id"] == made["backup_id"]
    assert len(shown["manifest"]["recipients"]) == 2
    assert shown["catalog"] is None
    opened = good(host.strongroom("show", "latest", "--identity", identities[0], "--json"))
    hashes = [one["definition_sha256"] for one in json.loads(opened)["catalog"]["objects"]]
    readable = [one for one in hashes if one is not None]
    assert readable
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in readable)
    good(host.strongroom("verify", "latest"))
    verified = json.loads(
        good(host.strongroom("verify", "--all", "--identity", identities[0], "--json"))
    )
    assert verified["is_good"] is True
    assert verified["result"]["is_decrypted"] is True
    restored = source.with_database(RESTORED)
    for identity in identities:
        restore = ("restore", "latest", "--identity", identity, "--to", str(restored))
        assert "every count as in the dump" in good(host.strongroom(*restore, "--jobs", "2"))
        assert_alike(before, likeness(any_server.tools, restored))
        any_server.sql(f'DROP DATABASE "{RESTORED}"')
    out = tmp_path / "out"
    good(host.strongroom("restore", "latest", "--identity", identities[1], "--export", out))
    done = run_readme(out, any_server.tools, any_server.dsn, "exported")
    assert done.code == 0, done.stderr
    exported = source.with_database("exported")
    assert_alike(before, likeness(any_server.tools, exported))
    any_server.sql("DROP DATABASE exported")


@pytest.fixture
def backed_up(source: Dsn, host: Host, tmp_path: Path) -> tuple[Dsn, Path]:
    """A repository with one backup in it, and the identity that opens it."""
    identity = X25519Identity.generate()
    path = tmp_path / "identity.txt"
    path.write_text(f"{identity.text}\n")
    directory = str(tmp_path / "repository")
    good(host.strongroom("init", "--repository", directory, "--recipient", identity.recipient.text))
    good(host.strongroom("backup", DATABASE_URL=str(source)))
    return source, path


def test_only_what_was_named_is_changed(
    any_server: LabServer, host: Host, backed_up: tuple[Dsn, Path]
) -> None:
    """A database that exists is refused and untouched; a role that exists keeps its password."""
    dsn, identity = backed_up
    any_server.sql("ALTER ROLE portal_owner PASSWORD 'new' CONNECTION LIMIT 5")
    any_server.sql("DELETE FROM client WHERE id > 10", dsn.database)
    verifier = "SELECT rolpassword || rolconnlimit FROM pg_authid WHERE rolname = 'portal_owner'"
    before = any_server.sql(verifier)
    refused = host.strongroom("restore", "latest", "-i", identity, "--to", str(dsn))
    assert refused.code == 2
    assert "exists" in refused.stderr
    assert any_server.sql("SELECT count(*) FROM client", dsn.database) == "10"
    restored = dsn.with_database(RESTORED)
    one = ("restore", "latest", "-i", identity, "--to", str(restored), "--table", "public.client")
    result = json.loads(good(host.strongroom(*one, "--json")))
    assert (result["rows"], result["created_roles"]) == (5000, [])
    assert any_server.sql(verifier) == before


def test_a_missing_role_is_created_with_its_password(
    any_server: LabServer, host: Host, backed_up: tuple[Dsn, Path]
) -> None:
    """The SCRAM verifier is the one of the backup."""
    dsn, identity = backed_up
    verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'portal_owner'"
    before = any_server.sql(verifier)
    any_server.sql(
        "ALTER TABLE client OWNER TO postgres; ALTER DATABASE portal OWNER TO postgres;"
        "DROP ROLE portal_owner",
        dsn.database,
    )
    restore = ("restore", "latest", "-i", identity, "--to", str(dsn.with_database(RESTORED)))
    result = json.loads(good(host.strongroom(*restore, "--json")))
    assert result["created_roles"] == ["portal_owner"]
    assert before.startswith("SCRAM-SHA-256$")
    assert any_server.sql(verifier) == before


def test_wrong_keys_have_their_exit_codes(
    any_server: LabServer, host: Host, backed_up: tuple[Dsn, Path], tmp_path: Path
) -> None:
    """7 for an identity that opens nothing, 11 where nothing says who may sign."""
    dsn, identity = backed_up
    to = ("--to", str(dsn.with_database(RESTORED)))
    stranger = tmp_path / "stranger.txt"
    for other in (X25519Identity.generate(), HybridIdentity.generate()):
        stranger.write_text(f"{other.text}\n")
        assert host.strongroom("restore", "latest", "-i", stranger, *to).code == 7
        assert host.strongroom("verify", "latest", "-i", stranger).code == 7
    assert host.strongroom("restore", "latest", *to).code == 7
    elsewhere = Host(home=tmp_path / "elsewhere")
    named = ("--repository", tmp_path / "repository")
    unset = {"STRONGROOM_CONFIG": str(tmp_path / "strongroom.toml")}
    restore = ("restore", "latest", "-i", identity, *to)
    done = elsewhere.strongroom(*restore, *named, **unset)
    assert done.code == 11
    assert "UNPINNED" in done.stderr
    assert not exists(any_server, RESTORED)
    assert elsewhere.strongroom("verify", "--all", *named, **unset).code == 11
    done = elsewhere.strongroom(*restore, *named, "--accept-unpinned", **unset)
    assert "UNPINNED" in done.stderr
    assert done.code == 0
    assert exists(any_server, RESTORED)


def test_what_is_not_there_has_its_exit_code(
    host: Host, backed_up: tuple[Dsn, Path], tmp_path: Path
) -> None:
    """4 for backups, tables and repositories; 2 for options that do not go together."""
    dsn, identity = backed_up
    to = ("--to", str(dsn.with_database(RESTORED)))
    assert host.strongroom("show", "20200101T000000Z-000000").code == 4
    none = host.strongroom("restore", "latest", "-i", identity, *to, "--table", "public.nothing")
    assert (none.code, "no table public.nothing" in none.stderr) == (4, True)
    assert host.strongroom("list", "--repository", tmp_path / "nowhere").code == 4
    assert host.strongroom("restore", "latest", "-i", identity).code == 2
    both = host.strongroom("restore", "latest", "-i", identity, *to, "--export", tmp_path / "x")
    assert both.code == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    full = host.strongroom("restore", "latest", "-i", identity, "--export", tmp_path / "full")
    assert (full.code, "left as it is" in full.stderr or "left as it was" in full.stderr) == (
        2,
        True,
    )


def test_a_damaged_object_ends_the_restore(
    any_server: LabServer, host: Host, backed_up: tuple[Dsn, Path], tmp_path: Path
) -> None:
    """Exit code 3 with the object's name, from verify too; the database is dropped again."""
    dsn, identity = backed_up
    directory = tmp_path / "repository"
    [chunks] = directory.glob("backups/portal/*/parts/rest.chunks")
    sha256 = chunks.read_text().split("\n")[0].split()[1]
    path = directory / "chunks" / sha256[:2] / sha256
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    to = ("--to", str(dsn.with_database(RESTORED)))
    for arguments in (("restore", "latest", "-i", identity, *to), ("verify", "latest")):
        done = host.strongroom(*arguments)
        assert done.code == 3
        assert sha256 in done.stdout + done.stderr
    assert not exists(any_server, RESTORED)
    out = tmp_path / "out"
    assert host.strongroom("restore", "latest", "-i", identity, "--export", out).code == 3
    assert not (out / "rest.dump").exists()
    assert not (out / "README.txt").exists()


def test_a_restore_that_the_server_refuses_leaves_nothing(
    any_server: LabServer, host: Host, backed_up: tuple[Dsn, Path]
) -> None:
    """A definition that cannot be made again: exit code 5, and no database."""
    dsn, identity = backed_up
    any_server.sql(
        "CREATE FUNCTION only_here() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN"
        " IF current_database() <> 'portal' THEN RAISE 'not in this database'; END IF;"
        " RETURN 1; END$$; CREATE INDEX ON client ((only_here()))",
        dsn.database,
    )
    good(host.strongroom("backup", DATABASE_URL=str(dsn)))
    restored = str(dsn.with_database(RESTORED))
    done = host.strongroom("restore", "latest", "-i", identity, "--to", restored)
    assert done.code == 5
    assert "not in this database" in done.stderr
    assert not exists(any_server, RESTORED)
