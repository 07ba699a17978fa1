"""The keys of a backup host: who may read them, and that none is ever overwritten."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from backup import keyring
from backup.crypto.recipients import X25519Identity
from backup.errors import KeyUnavailableError, SettingsError
from backup.repository.chunking import ChunkKey
from tests.samples import CHUNK_KEY, FILES, IDENTITY, REPOSITORY_ID, SIGNING_KEY, allowed


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where this host's keys are going to be."""
    return keyring.keys_directory(tmp_path / "state", REPOSITORY_ID)


def save(directory: Path, chunk_key: ChunkKey = CHUNK_KEY) -> None:
    """A set of keys."""
    keyring.save(
        directory,
        chunk_key=chunk_key,
        signing_key=SIGNING_KEY,
        recipients=[IDENTITY.recipient],
        allowed_signers=allowed().text,
        repository_files=FILES,
    )


def test_keys_come_back_as_they_were_saved(directory: Path) -> None:
    """What a backup is written with, and whose signatures count."""
    save(directory)
    keys = keyring.load_writing_keys(directory, None)
    assert keys.chunk_key == CHUNK_KEY
    assert keys.signing_key == SIGNING_KEY
    assert keys.files == FILES
    assert [recipient.text for recipient in keys.recipients] == [IDENTITY.recipient.text]
    assert keyring.load_allowed_signers(directory, None) == allowed()


def test_keys_are_for_this_user_alone(directory: Path) -> None:
    """Files and every directory made for them, whatever the umask."""
    before = os.umask(0)
    try:
        save(directory)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == dict.fromkeys(
        ["chunk.key", "signing.key", "recipients.txt", "allowed_signers", "files.sha256"], 0o600
    )
    for path in (directory, directory.parent, directory.parent.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_keys_are_never_overwritten(directory: Path) -> None:
    """The old ones may be the only ones that know the chunks."""
    save(directory)
    with pytest.raises(SettingsError, match="were left as they are"):
        save(directory, ChunkKey(bytes(32)))
    assert keyring.load_writing_keys(directory, None).chunk_key == CHUNK_KEY
    assert [path.name for path in directory.parent.iterdir()] == [REPOSITORY_ID]


def test_a_save_that_fails_leaves_no_key_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in its place nor under a temporary name."""
    fsync = os.fsync

    def fails_on_files(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_on_files)
    with pytest.raises(SettingsError, match=r"writing keys to .*No space left") as caught:
        save(directory)
    assert "--state-directory" in (caught.value.hint or "")
    for path in directory.parent.rglob("*"):
        assert path.is_dir()


def test_a_store_cannot_choose_where_keys_are_looked_for(tmp_path: Path) -> None:
    """Recipients and signers in a directory of its own choosing would be its own."""
    with pytest.raises(ValueError, match="repository id"):
        keyring.keys_directory(tmp_path, "../../srv/backups/evil")


@pytest.mark.parametrize("name", ["chunk.key", "signing.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_secret_that_others_can_reach_is_not_used(directory: Path, name: str, mode: int) -> None:
    """The hint says how to close it, and that it may be too late."""
    save(directory)
    (directory / name).chmod(mode)
    with pytest.raises(KeyUnavailableError, match=f"{name} can be read by others") as caught:
        keyring.load_writing_keys(directory, None)
    assert f"chmod 600 {directory / name}" in (caught.value.hint or "")


def test_a_credential_of_the_same_name_wins(directory: Path, tmp_path: Path) -> None:
    """LoadCredential= of systemd keeps secrets out of the file system."""
    save(directory)
    other = ChunkKey(bytes(32))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "chunk.key").write_text(other.text)
    (directory / "chunk.key").unlink()
    keys = keyring.load_writing_keys(directory, credentials)
    assert keys.chunk_key == other
    assert keys.signing_key == SIGNING_KEY


def test_a_host_without_keys_is_told_so(directory: Path) -> None:
    """And what may be wrong."""
    with pytest.raises(KeyUnavailableError, match="holds no keys for the repository") as caught:
        keyring.load_writing_keys(directory, None)
    assert "--state-directory" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["chunk.key", "signing.key", "recipients.txt"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    """Each of them."""
    save(directory)
    (directory / name).unlink()
    with pytest.raises(KeyUnavailableError, match=f"reading .*{name}: No such file"):
        keyring.load_writing_keys(directory, None)


def test_recipients_may_have_comments_and_space_around(directory: Path) -> None:
    """As `age -R` reads them."""
    save(directory)
    other = X25519Identity.generate().recipient
    (directory / "recipients.txt").write_text(
        f"# operator\n  {IDENTITY.recipient.text} \n\n  # escrow\n{other.text}\n"
    )
    keys = keyring.load_writing_keys(directory, None)
    assert [one.text for one in keys.recipients] == [IDENTITY.recipient.text, other.text]


def test_no_recipient_is_no_backup(directory: Path) -> None:
    """It could be read by nobody."""
    save(directory)
    (directory / "recipients.txt").write_text("# none\n")
    with pytest.raises(KeyUnavailableError, match="lists no recipient"):
        keyring.load_writing_keys(directory, None)


def test_a_file_that_is_not_text_is_refused(directory: Path) -> None:
    """By its name."""
    save(directory)
    (directory / "recipients.txt").write_bytes(b"\xff")
    with pytest.raises(KeyUnavailableError, match=r"recipients\.txt: not UTF-8"):
        keyring.load_writing_keys(directory, None)


def test_pins_come_from_the_file_named_or_from_this_host(directory: Path, tmp_path: Path) -> None:
    """Without either there are none; a file that was named must be there."""
    assert keyring.load_allowed_signers(directory, None) is None
    named = tmp_path / "allowed_signers"
    with pytest.raises(KeyUnavailableError, match="reading"):
        keyring.load_allowed_signers(directory, named)
    named.write_text(allowed().text)
    assert keyring.load_allowed_signers(directory, named) == allowed()


def test_pins_of_files_are_lines_of_sha256sum(directory: Path) -> None:
    """Anything else is refused, not passed over."""
    save(directory)
    pins = directory / "files.sha256"
    assert pins.read_text() == f"{'4' * 64}  restore.sh\n"
    pins.write_text("restore.sh\n")
    with pytest.raises(KeyUnavailableError, match="not of sha256sum"):
        keyring.load_writing_keys(directory, None)
