"""The sample of format 1 opens with this version, and with stock tools alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import parse_identities
from backup.errors import IntegrityError
from backup.journeys.progress import Silent
from backup.journeys.verify import verify
from backup.postgres.command import Command
from backup.postgres.process import run
from backup.repository import stock
from backup.repository.access import Repository
from backup.repository.layout import BackupKey, chunk_object_key
from backup.repository.stores.local import LocalStore
from tests.lab.repositories import Host, ended
from tests.lab.servers import LabServer
from tests.lab.stock import needs_stock_tools

HERE = Path(__file__).parent / "format-1"
ROOT = HERE / "repository"
IDENTITY = HERE / "identity.txt"
IDENTITIES = parse_identities(IDENTITY.read_text())
ALLOWED = AllowedSigners.parse((HERE / "allowed_signers").read_text())
EXPECTED = json.loads((HERE / "expected.json").read_text())
SAMPLE = "4f52a3ca92ab182e18439cbffed85c944c152fd52ba5cfe8dac4088ef9183d22"
# What the second backup has, whatever restores it: rows, the changed one, an odd name, an owner.
CONTENT = """
SELECT count(*), count(*) FILTER (WHERE name = 'renamed'), max(id) FROM clients;
SELECT count(*), count(note), md5(string_agg(note, '|' ORDER BY note)) FROM "odd ""name";
SELECT tableowner FROM pg_tables WHERE tablename = 'clients';
SELECT convert_from(lo_get(4711), 'UTF8');
INSERT INTO clients (name) VALUES ('the next') RETURNING id;
"""
ODD = hashlib.md5("naïve|tab\tand\nline".encode(), usedforsecurity=False).hexdigest()
_LIMIT = timedelta(minutes=2)


@pytest.fixture
def repository() -> Repository:
    """The sample."""
    return Repository(LocalStore(ROOT))


def tool(name: str, *arguments: str | Path, stdin: bytes = b"") -> bytes:
    """What a stock tool says; skips the test where it is not installed."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    argv = (program, *map(str, arguments))
    return run(Command(label=name, argv=argv), stdin=stdin, timeout=_LIMIT).stdout


def everything() -> str:
    """The SHA-256 over the name and the content of every file of the sample."""
    digest = hashlib.sha256()
    for path in sorted(path for path in HERE.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {path.relative_to(HERE)}\n".encode())
    return digest.hexdigest()


def latest(repository: Repository) -> BackupKey:
    """The second backup."""
    return repository.find("latest")


def test_no_byte_of_it_changes_unnoticed() -> None:
    """Whoever makes it anew has to say so here (README.md)."""
    assert everything() == SAMPLE


def test_this_version_opens_it(repository: Repository) -> None:
    """Signed, pinned, and every archive byte by byte."""
    assert repository.id == EXPECTED["repository_id"]
    key = repository.chunk_key(IDENTITIES)
    found: dict[str, dict[str, str]] = {}
    for backup in repository.backups("portal/eu"):
        signed = repository.manifest(backup, ALLOWED)
        assert signed.signer.principal == "strongroom@golden"
        for part in signed.manifest.parts:
            digest = hashlib.sha256()
            for ref in repository.refs(signed.manifest, part):
                digest.update(repository.chunk(ref, IDENTITIES, key))
            found.setdefault(backup.id.text, {})[part.name] = digest.hexdigest()
    assert found == EXPECTED["backups"]
    assert len(found) == 2


def test_verify_finds_nothing_wrong(repository: Repository) -> None:
    """With an identity and without."""
    for identities in (IDENTITIES, ()):
        verified = verify(
            repository,
            repository.backups(),
            ALLOWED,
            identities=identities,
            jobs=2,
            progress=Silent(),
        )
        assert verified.is_good
        assert verified.objects > 10


def test_the_second_backup_knows_the_first(repository: Repository) -> None:
    """By id and digest, and shares its chunks."""
    first, second = (repository.manifest(key, ALLOWED) for key in repository.backups())
    assert first.manifest.previous is None
    assert second.manifest.previous is not None
    assert second.manifest.previous.backup_id == first.manifest.backup_id
    assert second.manifest.previous.manifest_sha256 == first.sha256
    assert second.manifest.new_bytes < second.manifest.stored_bytes


def test_the_catalogue_counts_rows_in_the_dumps_own_snapshot(repository: Repository) -> None:
    """401 clients after the second day."""
    catalog = repository.catalog(
        repository.manifest(latest(repository), ALLOWED).manifest, IDENTITIES
    )
    rows = {relation.name: relation.rows for relation in catalog.relations}
    assert rows == {"clients": 401, 'odd "name': 3}
    assert catalog.large_objects == 1


def test_age_and_zstd_open_every_archive(repository: Repository) -> None:
    """As RESTORE.md says: object by object, in the order of the list."""
    key = latest(repository)
    for part, expected in EXPECTED["backups"][key.id.text].items():
        archive = b""
        for line in (ROOT / key.chunk_list(part)).read_text().splitlines():
            _, sha256, object_bytes, plain_bytes = line.split(" ")
            path = ROOT / "chunks" / sha256[:2] / sha256
            assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
            assert path.stat().st_size == int(object_bytes)
            frame = tool("age", "--decrypt", "-i", IDENTITY, path)
            plain = tool("zstd", "-dcq", stdin=frame)
            assert len(plain) == int(plain_bytes)
            archive += plain
        assert hashlib.sha256(archive).hexdigest() == expected
        if part == "globals":
            assert b"CREATE ROLE portal_staff" in archive
        elif part == "schema":
            listing = tool("pg_restore", "--list", stdin=archive)
            assert b"TABLE public clients portal_staff" in listing
        else:
            assert tool("pg_restore", "--file=-", "--data-only", stdin=archive).startswith(b"--")


def test_age_opens_the_catalogue_and_the_chunk_key(repository: Repository) -> None:
    """Both are texts."""
    catalog = json.loads(
        tool("age", "--decrypt", "-i", IDENTITY, ROOT / latest(repository).catalog)
    )
    assert catalog["database"]["name"] == "portal"
    text = tool("age", "--decrypt", "-i", IDENTITY, ROOT / "chunk-key.age").decode()
    assert text == repository.chunk_key(IDENTITIES).text


def test_ssh_keygen_verifies_the_manifest(repository: Repository) -> None:
    """With the pinned line; for one byte less it does not."""
    key = latest(repository)
    arguments = (
        *("-Y", "verify", "-f", HERE / "allowed_signers", "-I", "strongroom@golden"),
        *("-n", "strongroom-manifest@v1", "-s", ROOT / key.signature),
    )
    data = (ROOT / key.manifest).read_bytes()
    assert b'Good "strongroom-manifest@v1" signature' in tool("ssh-keygen", *arguments, stdin=data)
    with pytest.raises(Exception, match=r"(?i)ssh-keygen"):
        tool("ssh-keygen", *arguments, stdin=data[:-1])


def test_any_bit_of_any_object_matters(repository: Repository, tmp_path: Path) -> None:
    """A flipped bit anywhere in what a backup refers to is found and named."""
    key = latest(repository)
    manifest = repository.manifest(key, ALLOWED).manifest
    refs = [ref for part in manifest.parts for ref in repository.refs(manifest, part)]
    names = [key.catalog, *(key.chunk_list(part.name) for part in manifest.parts)]
    names += [chunk_object_key(ref.sha256) for ref in refs[::7]]
    copy = tmp_path / "repository"
    shutil.copytree(ROOT, copy)
    opened = Repository(LocalStore(copy))
    for name in names:
        data = bytearray((copy / name).read_bytes())
        if not data:
            continue
        data[len(data) // 2] ^= 4
        (copy / name).write_bytes(data)
        found = verify(opened, [key], ALLOWED, jobs=1, progress=Silent())
        assert [damage.what for damage in found.damages if name in damage.what], name
        data[len(data) // 2] ^= 4
        (copy / name).write_bytes(data)
    (copy / key.signature).write_bytes((copy / repository.backups()[0].signature).read_bytes())
    with pytest.raises(IntegrityError, match="does not fit"):
        opened.manifest(key, ALLOWED)


def assert_restored(server: LabServer, database: str) -> None:
    """The database has all that the second backup has."""
    found = server.sql(CONTENT, database).split("\n")
    assert found == ["401|1|401", f"3|2|{ODD}", "portal_staff", "a document", "402"]


def test_this_version_restores_it_on_the_newest_server(
    repository: Repository, any_server: LabServer, tmp_path: Path
) -> None:
    """Under the pinned key, with every row counted; the sample stays as it is."""
    copy = tmp_path / "repository"
    shutil.copytree(ROOT, copy)
    host = Host(home=tmp_path, has_settings=False)
    done = host.strongroom(
        *("restore", latest(repository).id.text, "--repository", copy, "-i", IDENTITY, "-y"),
        *("--allowed-signers", HERE / "allowed_signers"),
        *("--to", str(any_server.dsn.with_database("sample_by_us")), "--json"),
    )
    assert done.code == 0, done.stderr
    assert_restored(any_server, "sample_by_us")


@needs_stock_tools
@pytest.mark.parametrize("script", ["own", "newest"])
def test_stock_tools_restore_it_on_the_newest_server(
    repository: Repository, any_server: LabServer, tmp_path: Path, script: str
) -> None:
    """By the script that lies in it, and by the one that this version puts into repositories."""
    copy = tmp_path / "repository"
    shutil.copytree(ROOT, copy)
    if script == "newest":
        (copy / "restore.sh").write_bytes(stock.script())
    database = f"sample_by_its_{script}"
    surroundings = {
        "PATH": f"{any_server.tools.bin}:/usr/bin:/bin",
        "PGHOST": any_server.dsn.host,
        "PGPORT": str(any_server.dsn.port),
        "PGUSER": any_server.dsn.user,
        "ALLOWED_SIGNERS": str(HERE / "allowed_signers"),
    }
    prefix = copy / latest(repository).prefix
    argv = ("bash", str(copy / "restore.sh"), str(IDENTITY), str(prefix), database)
    done = ended(argv, surroundings)
    assert done.code == 0, done.stderr
    assert "UNPINNED" not in done.stderr
    assert_restored(any_server, database)
