"""`python -m benchmarks.prune`: what it takes to plan a prune of a large repository.

Manifests and listing are made up in memory, and the lists of chunks in one file, from which they
are read; signatures and checksums are real. Half of a backup's chunks are those of the one before.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import click

from backup.crypto.allowed_signers import AllowedSigner, AllowedSigners
from backup.crypto.merkle import leaf_hash, root
from backup.crypto.note import Checkpoint, sign_checkpoint
from backup.crypto.sshkey import SigningKey
from backup.errors import NotFoundError
from backup.evidence.entry import EntryType, encode_entry
from backup.evidence.log import origin
from backup.journeys.prune import plan
from backup.journeys.prunelook import PrunePlan, Rules, Sight
from backup.repository.access import Repository
from backup.repository.canonical import encode
from backup.repository.chunking import DEFAULT_CHUNK_SIZES
from backup.repository.layout import (
    REPOSITORY_KEY,
    BackupId,
    BackupKey,
    log_checkpoint_key,
    log_entry_key,
)
from backup.repository.manifest import (
    MANIFEST_NAMESPACE,
    Manifest,
    PartKind,
    RepositoryDescription,
    StoredPart,
    encode_manifest,
    sign_manifest,
)
from backup.repository.retention import Policy
from backup.repository.stores.base import Buffer

_ID = "5a" * 16
_END = datetime(2026, 3, 1, tzinfo=UTC)
_GARBAGE = 1000
_LINE_BYTES = 145


class MadeUpStore:
    """A repository of `backups` hourly backups, each with `new` chunks and as many of the last."""

    address = "made up"

    def __init__(self, backups: int, new: int, lists: IO[bytes]) -> None:
        self._new = new
        self._lists = lists
        for place in range(backups + 1):
            lists.write(self._half_list(place))
        lists.flush()
        self._key = SigningKey.generate("bench@host")
        self._small: dict[str, bytes] = {}
        self._places: dict[str, int] = {}
        self.allowed = AllowedSigners(
            signers=(
                AllowedSigner(
                    principals=("bench@host",),
                    public_key=self._key.public_key,
                    namespaces=(MANIFEST_NAMESPACE,),
                ),
            )
        )
        description = RepositoryDescription(
            format=1, repository_id=_ID, chunk_sizes=DEFAULT_CHUNK_SIZES, created=_END,
            created_by="bench",
        )  # fmt: skip
        self._small[REPOSITORY_KEY] = encode(description)
        for number in range(backups):
            self._add(number, _END - timedelta(hours=backups - number))
        line = encode_entry(0, EntryType.GENESIS, {"repository": _ID}, now=_END, before=b"")
        self._small[log_entry_key(0)] = line
        note = Checkpoint(origin=origin(_ID), size=1, root=root([leaf_hash(line)]))
        self._small[log_checkpoint_key(1)] = sign_checkpoint(note, self._key)
        self.chunks = (backups + 1) * new + _GARBAGE
        digests = [self._digest(number) for number in range(self.chunks)]
        digests.sort()
        self._listing = b"".join(digests)

    def _digest(self, number: int) -> bytes:
        return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=32).digest()

    def _half_list(self, place: int) -> bytes:
        first = place * self._new
        return b"".join(
            b"%064x %b 400000 1000000\n" % (number, self._digest(number).hex().encode())
            for number in range(first, first + self._new)
        )

    def _list(self, place: int) -> bytes:
        """Return the list of a backup."""
        half = self._new * _LINE_BYTES
        return os.pread(self._lists.fileno(), 2 * half, place * half)

    def _add(self, number: int, moment: datetime) -> None:
        key = BackupKey("portal", BackupId.new(moment, number.to_bytes(3, "big")))
        lists = {"schema": b"", "rest": self._list(number), "globals": b""}
        kinds: dict[str, PartKind] = {"schema": "schema", "rest": "rest", "globals": "globals"}
        parts = []
        for name, data in lists.items():
            count = data.count(b"\n")
            parts.append(
                StoredPart(
                    name=name,
                    kind=kinds[name],
                    list_sha256=hashlib.sha256(data).hexdigest(),
                    chunks=count,
                    plain_bytes=count * 10**6,
                    stored_bytes=count * 400_000,
                    new_bytes=0,
                )
            )
        manifest = Manifest(
            format=1, repository_id=_ID, backup_id=key.id.text, database="portal",
            database_name="portal", cluster_id="1", cluster_name="main", server_version="15.1",
            tool_version="pg_dump 15.1", written_by="bench", snapshot_id="1", snapshot_time=moment,
            lsn="0/1", started=moment, finished=moment, parts=tuple(parts), recipients=(), files=(),
            catalog_sha256="0" * 64, has_digests=False, previous=None, log=None, warnings=(),
        )  # fmt: skip
        data = encode_manifest(manifest)
        self._small[key.manifest] = data
        self._small[key.signature] = sign_manifest(data, self._key)
        self._small[key.chunk_list("schema")] = self._small[key.chunk_list("globals")] = b""
        self._places[key.chunk_list("rest")] = number

    def get(self, key: str) -> bytes:
        """Return an object, or make it up."""
        if key in self._places:
            return self._list(self._places[key])
        try:
            return self._small[key]
        except KeyError:
            raise NotFoundError(key) from None

    def list(self, prefix: str) -> Iterator[str]:
        """Yield keys in order."""
        if prefix == "chunks/":
            for start in range(0, len(self._listing), 32):
                digits = self._listing[start : start + 32].hex()
                yield f"chunks/{digits[:2]}/{digits}"
            return
        keys = (*self._small, *self._places) if prefix == "backups/" else self._small
        yield from sorted(key for key in keys if key.startswith(prefix))

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Refuse: a plan writes nothing."""
        raise NotImplementedError(key)

    def delete(self, key: str) -> None:
        """Refuse: a plan deletes nothing."""
        raise NotImplementedError(key)

    def sync(self) -> None:
        """Do nothing."""


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024


@click.command(epilog="Example: python -m benchmarks.prune --backups 1000 --chunks 1000000")
@click.option("--backups", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--chunks", type=click.IntRange(1), default=10_000_000, show_default=True)
def main(backups: int, chunks: int) -> None:
    """Plan one prune of so many backups and chunks; print time and memory."""
    with tempfile.TemporaryFile(prefix="strongroom-bench-") as lists:
        _measure(MadeUpStore(backups, chunks // backups, lists), backups, chunks)


def _measure(store: MadeUpStore, backups: int, chunks: int) -> None:
    listing = time.process_time()
    assert sum(1 for _ in store.list("chunks/")) == store.chunks
    listing = time.process_time() - listing
    policy = Policy(keep_hourly=backups - 10, max_expire=30)
    sight = Sight(
        repository=Repository(store), allowed=store.allowed, claims=(), unfinished=frozenset(),
        jobs=2,
    )  # fmt: skip
    rules = Rules(policy=policy, grace=timedelta(days=3), sha256="0" * 64)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before = _peak_bytes()
    started, started_cpu = time.perf_counter(), time.process_time()
    made = plan(sight, rules, now=_END)
    took, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    assert isinstance(made, PrunePlan), made
    click.echo(
        f"{backups} backups, {store.chunks} chunks, {2 * chunks} lines of lists:"
        f" {took:.1f} s ({cpu:.1f} s of CPU), {listing:.1f} s of which make the listing up;"
        f" {_peak_bytes() / 2**20:.0f} MiB at most, of which {before / 2**20:.0f} MiB are the"
        f" made-up repository; {len(made.backups.expired)} backups go, {len(made.condemn)} objects"
        " are condemned"
    )


if __name__ == "__main__":
    main()
