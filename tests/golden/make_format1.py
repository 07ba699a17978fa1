"""Makes `tests/golden/format-1`: `python -m tests.golden.make_format1`. Run by hand only.

Two backups of a small database on PostgreSQL 15, the second after a change, taken by the journey
that takes every backup. Once format 1 is released the sample is never made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup import keyring
from backup.crypto.recipients import X25519Identity, parse_identities
from backup.journeys.create import Source, create
from backup.journeys.initialize import initialize
from backup.journeys.progress import Silent
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.chunking import KIB, ChunkSizes
from backup.repository.stores.local import LocalStore
from tests.lab.servers import Servers

HERE = Path(__file__).parent / "format-1"
NAME = "portal/eu"
FIRST = """
CREATE ROLE portal_staff NOLOGIN;
CREATE TABLE clients (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
INSERT INTO clients (name) SELECT 'client ' || md5(n::text) FROM generate_series(1, 400) n;
CREATE TABLE "odd ""name" (note text);
INSERT INTO "odd ""name" VALUES ('naïve'), (NULL), (E'tab\\tand\\nline');
ALTER TABLE clients OWNER TO portal_staff;
SELECT lo_from_bytea(4711, 'a document');
"""
SECOND = """
UPDATE clients SET name = 'renamed' WHERE id = 200;
INSERT INTO clients (name) VALUES ('a new client');
"""


def main() -> None:
    """Write the sample anew, with the identity that is there."""
    HERE.mkdir(exist_ok=True)
    identity_file = HERE / "identity.txt"
    if not identity_file.exists():
        identity_file.write_text(
            f"# test data: opens nothing but this sample\n{X25519Identity.generate().text}\n"
        )
    shutil.rmtree(HERE / "repository", ignore_errors=True)
    with contextlib.ExitStack() as stack:
        server = Servers(stack).of_major(15)
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = stack.enter_context(server.fresh_database("portal"))
        store = LocalStore(HERE / "repository")
        stack.callback(store.close)
        made = initialize(
            store,
            [pair.recipient for pair in parse_identities(identity_file.read_text())],
            sizes=ChunkSizes(minimum=1 * KIB, average=2 * KIB, maximum=4 * KIB),
            state_directory=state,
            principal="strongroom@golden",
            now=datetime(2026, 1, 14, 1, tzinfo=UTC),
            random=os.urandom,
            version="strongroom golden",
        )
        shutil.copy(made.keys_directory / keyring.ALLOWED_SIGNERS_FILE, HERE / "allowed_signers")
        server.sql(FIRST, "portal")
        take(store, dsn, state, datetime(2026, 1, 14, 2, tzinfo=UTC))
        server.sql(SECOND, "portal")
        take(store, dsn, state, datetime(2026, 1, 15, 2, tzinfo=UTC))
        server.sql("DROP OWNED BY portal_staff", "portal")
        server.sql("DROP ROLE portal_staff")
    shutil.rmtree(HERE / "repository/.incoming")
    write_expected(Repository(store))


def take(store: LocalStore, dsn: Dsn, state: Path, now: datetime) -> None:
    """One backup."""
    repository = Repository(store)
    keys = keyring.keys_directory(state, repository.id)
    asyncio.run(
        create(
            Source(
                dsn=dsn,
                name=NAME,
                jobs=2,
                compression_level=1,
                lock_timeout=timedelta(minutes=1),
                stall_timeout=timedelta(minutes=1),
            ),
            repository,
            keyring.load_writing_keys(keys, None),
            keyring.load_allowed_signers(keys, None),
            state_directory=state,
            clock=lambda: now,
            random=os.urandom,
            version="strongroom golden",
            progress=Silent(),
        )
    )


def write_expected(repository: Repository) -> None:
    """Write down the SHA-256 of every archive, for readers of other make."""
    identities = parse_identities((HERE / "identity.txt").read_text())
    key = repository.chunk_key(identities)
    expected: dict[str, dict[str, str]] = {}
    for backup in repository.backups():
        manifest = repository.manifest(backup, None).manifest
        for part in manifest.parts:
            digest = hashlib.sha256()
            for ref in repository.refs(manifest, part):
                digest.update(repository.chunk(ref, identities, key))
            expected.setdefault(backup.id.text, {})[part.name] = digest.hexdigest()
    text = json.dumps({"repository_id": repository.id, "backups": expected}, indent=2)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
