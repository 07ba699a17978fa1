"""What the local store promises beyond the contract: after a crash, on a full disk or a bad one."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup.errors import NotFoundError, ObjectExistsError, StoreError
from backup.repository.stores.local import LocalStore

os_close = os.close


def directories_of_writers(root: Path) -> list[Path]:
    """What lies under .incoming/, without the lock for beginning."""
    return sorted(path for path in (root / ".incoming").iterdir() if path.is_dir())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store is going to be; it does not exist."""
    return tmp_path / "srv" / "repository"


class FailingCall:
    """Stands in for a function of `os`: the n-th call fails, all others are done."""

    def __init__(self, call: Callable[..., object], number: int, code: int) -> None:
        self.call, self.number, self.code, self.calls = call, number, code, 0

    def __call__(self, *arguments: object, **named: object) -> object:
        """Do it, or raise."""
        self.calls += 1
        if self.calls == self.number:
            if self.call is os_close:  # Linux closes even when it reports an error
                os_close(*arguments)  # type: ignore[arg-type] # a descriptor
            raise OSError(self.code, os.strerror(self.code))
        return self.call(*arguments, **named)


def test_files_are_for_owner_and_group_only(root: Path) -> None:
    """Whatever the umask adds to it."""
    before = os.umask(0)
    try:
        LocalStore(root).put("a/b", b"x")
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, root / "a", root / "a/b")}
    assert modes == {root: 0o750, root / "a": 0o750, root / "a/b": 0o640}


def test_nothing_of_a_writer_is_left_when_all_is_durable(root: Path) -> None:
    """Also without `close`: a copy of the directory is a copy of the repository."""
    store = LocalStore(root)
    store.put("a", b"x")
    assert directories_of_writers(root) == []
    store.put("b", b"x", durable=False)
    assert len(directories_of_writers(root)) == 1
    assert not (root / "b").exists()
    store.sync()
    assert directories_of_writers(root) == []
    assert list(store.list("")) == ["a", "b"]


def test_what_was_not_synced_is_forgotten_on_close(root: Path) -> None:
    """Nothing half made stays, and the next writer is not held up."""
    store = LocalStore(root)
    store.put("a", b"x", durable=False)
    store.close()
    assert directories_of_writers(root) == []
    assert list(LocalStore(root).list("")) == []


def test_a_killed_writer_leaves_no_object_and_its_rubbish_is_removed(root: Path) -> None:
    """The next writer does it; a living one's files are kept."""
    living = LocalStore(root)
    living.put("living", b"x", durable=False)
    kept = directories_of_writers(root)
    child = os.fork()
    if child == 0:
        dying = LocalStore(root)
        dying.put("dead", b"x" * 100_000, durable=False)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(directories_of_writers(root)) == 2
    next_one = LocalStore(root)
    next_one.put("next", b"x", durable=False)
    assert set(kept) < set(directories_of_writers(root))
    assert len(directories_of_writers(root)) == 2
    living.sync()
    next_one.sync()
    assert list(next_one.list("")) == ["living", "next"]
    assert directories_of_writers(root) == []


def test_what_a_killed_writer_linked_is_flushed_before_anyone_relies_on_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its names may not be on the disk yet, and the next backup refers to what it finds."""
    child = os.fork()
    if child == 0:
        dying = LocalStore(root)
        dying.put("chunks/3f/object", b"x", durable=False)
        dying._begin_publishing()  # as when a batch is full
        dying._published[0].result()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    flushed = set()
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        flushed.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    store = LocalStore(root)
    assert list(store.list("chunks/")) == ["chunks/3f/object"]
    store.put("backups/manifest.json", b"{}")
    assert {root / "chunks/3f", root / "chunks", root, root / "backups"} <= flushed


def test_every_name_on_the_way_to_an_object_is_flushed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the directory that holds the repository, if that was made as well."""
    flushed: list[Path] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    store = LocalStore(root)
    store.put("chunks/3f/object", b"x")
    content, *directories = flushed
    assert content.parent.parent == root / ".incoming"
    assert {root / "chunks/3f", root / "chunks", root, root.parent, root.parent.parent} <= set(
        directories
    )


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "close", "mkdir"])
def test_any_call_that_fails_leaves_an_object_whole_or_absent(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The n-th call, for every n: an error, never half an object; the next writer succeeds."""
    data = b"x" * 1000
    for number in range(1, 60):
        place = root / str(number)
        failing = FailingCall(getattr(os, call), number, errno.EIO)
        store = LocalStore(place)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                store.put("a/first", data, durable=False)
                store.put("a/second", data, durable=False)
                store.sync()
                store.put("manifest.json", b"{}")
                is_done = True
            except StoreError as error:
                assert "Input/output error" in error.message
                is_done = False
        assert is_done or failing.calls >= number
        found = {key: store.get(key) for key in LocalStore(place).list("")}
        assert found.get("a/first", data) == data
        assert found.get("a/second", data) == data
        if is_done or "manifest.json" in found:
            assert set(found) == {"a/first", "a/second", "manifest.json"}
        store.close()
        later = LocalStore(place)
        for key in ("a/first", "a/second", "manifest.json"):
            if key not in found:
                later.put(key, data, durable=False)
        later.sync()
        assert set(later.list("")) == {"a/first", "a/second", "manifest.json"}
        if failing.calls < number:
            return
    pytest.fail("there is no end to the calls")


def test_once_an_object_was_lost_every_sync_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second try must not let the manifest through."""
    store = LocalStore(root)
    store.put("a", b"x", durable=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FailingCall(os.fsync, 1, errno.EIO))
        with pytest.raises(StoreError):
            store.sync()
    for _ in range(2):
        with pytest.raises(StoreError, match="Input/output error"):
            store.sync()
    with pytest.raises(NotFoundError):
        store.get("a")
    store.close()


def test_a_directory_that_was_not_flushed_stays_for_the_next_writer(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are linked, but their names may be lost."""
    store = LocalStore(root)
    store.put("a", b"x", durable=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FailingCall(os.fsync, 2, errno.EIO))
        with pytest.raises(StoreError):
            store.sync()
    store.close()
    assert len(directories_of_writers(root)) == 1
    LocalStore(root).put("b", b"")
    assert directories_of_writers(root) == []


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "user that owns"),
        (errno.EPERM, "hard links"),
        (errno.EROFS, "read-only"),
        (errno.EIO, None),
    ],
)
def test_errors_say_what_to_do(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int, hint: str | None
) -> None:
    """As far as it is known."""
    monkeypatch.setattr(os, "link", FailingCall(os.link, 1, code))
    with pytest.raises(StoreError, match=os.strerror(code)) as caught:
        LocalStore(root).put("a", b"")
    assert (hint in (caught.value.hint or "")) if hint else caught.value.hint is None


def test_a_directory_in_the_place_of_an_object_is_no_object(root: Path) -> None:
    """And an object below an object can't be put."""
    store = LocalStore(root)
    store.put("a/b", b"")
    with pytest.raises(ObjectExistsError):
        store.put("a", b"")
    with pytest.raises(StoreError):
        store.put("a/b/c", b"")


def test_a_read_that_fails_is_an_error_of_the_store(root: Path) -> None:
    """Not a missing object: that would look like damage, or worse, like nothing to do."""
    LocalStore(root).put("a/b", b"x")
    (root / "loop").symlink_to(root / "loop")
    for key in ("loop", "loop/x"):
        with pytest.raises(StoreError, match="symbolic links"):
            LocalStore(root).get(key)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Without the rights of root, for whom no mode is a barrier."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def closed_root(tmp_path: Path) -> Iterator[Path]:
    """A store whose directories can be read by everyone and written by no one."""
    store = LocalStore(tmp_path / "closed")
    store.put("a/b", b"x")
    (tmp_path / "closed/secret").mkdir(mode=0)
    paths = [tmp_path / "closed", tmp_path / "closed/a", tmp_path / "closed/.incoming"]
    for path in (*tmp_path.parents[:2], tmp_path):
        path.chmod(0o755)
    for path in paths:
        path.chmod(0o555)
    (tmp_path / "closed/a/b").chmod(0o000)
    yield tmp_path / "closed"
    for path in paths:
        path.chmod(0o755)
    (tmp_path / "closed/secret").chmod(0o755)


def test_a_store_of_another_user_is_an_error_with_a_hint(
    closed_root: Path, as_nobody: None
) -> None:
    """Writing, reading, listing and deleting."""
    store = LocalStore(closed_root)
    works: tuple[Callable[[], object], ...] = (
        lambda: store.put("new", b""),
        lambda: store.get("a/b"),
        lambda: store.delete("a/b"),
        lambda: list(store.list("")),
    )
    for work in works:
        with pytest.raises(StoreError, match="Permission denied") as caught:
            work()
        assert "owns the repository" in (caught.value.hint or "")
