"""A store in a directory: an object is a file, visible only when it is whole and durable.

A file is written under `.incoming/`, flushed to the disk and only then linked to its key, so a
power cut leaves an object whole or absent. Objects that need not be durable at once wait in a
batch: their fsyncs run on a thread of their own while the caller goes on, and `sync` waits for
them. Whoever calls `sync` or puts a durable object has the names on the disk as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from backup.errors import FULL_DISK_HINTS, NotFoundError, ObjectExistsError, StoreError
from backup.files import sync_directory
from backup.repository.stores.base import Buffer, is_key, require_key
from backup.repository.stores.incoming import INCOMING, Incoming, sync_file

_BATCH_BYTES = 32 * 2**20
_DIRECTORY_MODE = 0o750
# `backups/<name>`, `chunks/<2 hex>`: others may be about to write there.
_SHARED_LEVELS = 2

# A file under .incoming/ and the key's path that it is to be linked to.
_Batch: TypeAlias = list[tuple[Path, Path]]


class LocalStore:
    """Objects as files below `root`, which is made when the first object is put."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._sync_lock = threading.Lock()
        self._publisher = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._incoming: Incoming | None = None
        self._writers = 0
        self._batch: _Batch = []
        self._batch_bytes = 0
        self._published: list[Future[None]] = []
        self._unsynced: set[Path] = set()
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """The directory's path."""
        return str(self._root)

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Write an object; see `Store.put`."""
        final = self._path(key)
        try:
            if final.exists():
                raise _exists(final)
            with self._writing() as incoming:
                path = incoming.write(data)
                if durable:
                    self._publish([(path, final)])
                    with self._sync_lock:
                        self._sync_directories()
                else:
                    self._append(path, final, len(data))
        except OSError as error:
            raise _store_error(f"writing {final}", error) from error

    def sync(self) -> None:
        """Wait for the batches and the directories; see `Store.sync`."""
        with self._sync_lock:
            with self._lock:
                self._begin_publishing()
                waiting, self._published = self._published, []
            failures = [future.exception() for future in waiting]
            self._failure = next(filter(None, [self._failure, *failures]), None)
            try:
                if self._failure is not None:
                    raise self._failure
                self._sync_directories()
            except OSError as error:
                raise _store_error(f"writing below {self._root}", error) from error
        self._tidy()

    def get(self, key: str) -> bytes:
        """Return an object; see `Store.get`."""
        path = self._path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFoundError(f"{key} is not in {self._root}") from None
        except OSError as error:
            raise _store_error(f"reading {path}", error) from error

    def list(self, prefix: str) -> Iterator[str]:
        """Yield keys; see `Store.list`."""
        directory = prefix.rpartition("/")[0]
        if directory and not is_key(directory):
            return
        try:
            yield from _walk(self._root / directory, f"{directory}/" if directory else "", prefix)
        except OSError as error:
            raise _store_error(f"listing {self._root / directory}", error) from error

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`."""
        path = self._path(key)
        try:
            path.unlink()
            sync_directory(path.parent)
            self._remove_empty(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _store_error(f"deleting {path}", error) from error

    def _remove_empty(self, directory: Path) -> None:
        """Remove what a backup leaves: directories of its own, which no writer makes again."""
        for above in (directory, *directory.parents):
            if len(above.relative_to(self._root).parts) < _SHARED_LEVELS + 1:
                return
            try:
                above.rmdir()
            except OSError:  # not empty, or gone
                return

    def close(self) -> None:
        """Forget what was not published and remove this writer's temporary files."""
        self._publisher.shutdown(wait=True, cancel_futures=True)
        # What fails here is remembered, and the next writer flushes it.
        with self._sync_lock, contextlib.suppress(OSError):
            self._sync_directories()
        with self._lock:
            if self._incoming is not None:
                self._incoming.end(is_clean=self._failure is None)
                self._incoming = None

    def _path(self, key: str) -> Path:
        require_key(key)
        return self._root / key

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Incoming]:
        """Lend this writer's own directory, making it if need be and removing it when idle."""
        with self._lock:
            if self._incoming is None:
                self._make_directory(self._root / INCOMING)
                self._incoming = Incoming(self._root)
            incoming = self._incoming
            self._writers += 1
        try:
            yield incoming
        finally:
            with self._lock:
                self._writers -= 1
            self._tidy()

    def _tidy(self) -> None:
        with self._lock:
            is_idle = not (self._writers or self._batch or self._published or self._unsynced)
            if is_idle and self._incoming is not None and self._failure is None:
                self._incoming.end(is_clean=True)
                self._incoming = None

    def _append(self, path: Path, final: Path, size_bytes: int) -> None:
        with self._lock:
            self._batch.append((path, final))
            self._batch_bytes += size_bytes
            if self._batch_bytes >= _BATCH_BYTES:
                self._begin_publishing()

    def _begin_publishing(self) -> None:
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._published.append(self._publisher.submit(self._publish, batch))

    def _publish(self, batch: _Batch) -> None:
        for path, final in batch:
            try:
                sync_file(path)
                self._make_directory(final.parent)
                # Marked first: whoever sees the link must also see that it is not durable yet.
                self._mark_unsynced(final)
                # link, not rename: it refuses to replace what is there
                os.link(path, final)
            except FileExistsError:
                raise _exists(final) from None
            finally:
                path.unlink()

    def _mark_unsynced(self, final: Path) -> None:
        # Up to the root: another writer may have made these directories and not flushed them.
        depth = len(final.relative_to(self._root).parents)
        with self._lock:
            self._unsynced.update(final.parents[:depth])

    def _make_directory(self, directory: Path) -> None:
        if not directory.is_dir():
            self._make_directory(directory.parent)
            directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            with self._lock:
                self._unsynced.add(directory.parent)

    def _sync_directories(self) -> None:
        """Flush the names of what was linked; the caller holds `_sync_lock`."""
        # Taken out first: what is linked from now on has to be flushed again.
        with self._lock:
            directories, self._unsynced = self._unsynced, set()
        try:
            for directory in directories:
                sync_directory(directory)
        except OSError as error:
            self._failure = error
            raise


def _walk(directory: Path, base: str, prefix: str) -> Iterator[str]:
    """Yield the keys below `directory` in the order of the whole keys.

    A directory is compared as `name/`: so `a-b` comes before `a/c`, as it does for whole keys.
    """
    try:
        with os.scandir(directory) as scan:
            entries = [(f"{e.name}/" if e.is_dir() else e.name) for e in scan]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in sorted(entries):
        key = base + name
        if key == f"{INCOMING}/":
            continue
        if name.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(directory / name, key, prefix)
        elif key.startswith(prefix):
            yield key


def _exists(path: Path) -> ObjectExistsError:
    return ObjectExistsError(f"{path} exists already and was left as it is")


_NOT_PERMITTED = (
    "run as the user that owns the repository, on a file system with hard links (ext4, XFS,"
    " btrfs, ZFS); `strongroom doctor` tells more"
)
_HINTS = FULL_DISK_HINTS | {
    errno.EACCES: "run as the user that owns the repository; `strongroom doctor` tells more",
    errno.EPERM: _NOT_PERMITTED,
    errno.EOPNOTSUPP: _NOT_PERMITTED,
    errno.EROFS: "the file system is mounted read-only; `strongroom doctor` tells more",
}


def _store_error(doing: str, error: OSError) -> StoreError:
    return StoreError(f"{doing}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0))
