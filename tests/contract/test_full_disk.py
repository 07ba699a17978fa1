"""A local store on a real file system that is full."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backup.errors import PostgresError, StoreError
from backup.postgres.command import Command
from backup.postgres.process import run
from backup.repository.stores.local import LocalStore

_LIMIT = timedelta(minutes=1)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, in memory."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    options = ("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path))
    try:
        run(Command(label="mount", argv=("/bin/mount", *options)), timeout=_LIMIT)
    except PostgresError as error:
        pytest.skip(f"mounting is not allowed here: {error.message}")
    yield tmp_path
    run(Command(label="umount", argv=("/bin/umount", "-l", str(tmp_path))), timeout=_LIMIT)


@pytest.mark.parametrize("seed", range(10))
def test_a_full_disk_leaves_whole_objects_only(small: Path, seed: int) -> None:
    """The error says so; with space again the same goes through, and no rubbish takes it up."""
    sizes = random.Random(seed)
    store = LocalStore(small / "repository")
    objects = {f"chunks/{n:02}": bytes([n]) * sizes.randint(1, 200_000) for n in range(30)}
    with pytest.raises(StoreError, match="No space left on device") as caught:
        for key, data in objects.items():
            store.put(key, data, durable=sizes.random() < 0.3)
        store.sync()
    assert "free space" in (caught.value.hint or "")
    store.close()
    again = LocalStore(small / "repository")
    found = list(again.list(""))
    assert all(again.get(key) == objects[key] for key in found)
    for key in found:
        again.delete(key)
    again.put("chunks/00", objects["chunks/00"])
    assert [path for path in (small / "repository/.incoming").iterdir() if path.is_dir()] == []
    used = sum(path.stat().st_blocks * 512 for path in small.rglob("*") if path.is_file())
    assert used <= len(objects["chunks/00"]) + 4096
