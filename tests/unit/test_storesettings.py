"""`[s3]`, `[[copies]]`, addresses of buckets, and where credentials come from."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from backup.errors import SettingsError
from backup.repository.stores.local import LocalStore
from backup.repository.stores.s3options import S3Address
from backup.storeaccess import open_store, s3_credentials
from backup.storesettings import GivenS3


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://firm", "firm", ""),
        ("s3://firm/", "firm", ""),
        ("s3://firm.backups-1/a/b/", "firm.backups-1", "a/b"),
    ],
)
def test_an_address_is_a_bucket_and_a_prefix(text: str, bucket: str, prefix: str) -> None:
    """A slash at the end is nothing."""
    address = S3Address.parse(text)
    assert (address.bucket, address.prefix) == (bucket, prefix)
    assert str(address) == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    ["s3://", "s3:///x", "s3://A", "s3://a b", "s3://ab", "s3://bucket/../x", "s3://bucket//x"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Before anything is asked."""
    with pytest.raises(SettingsError, match="s3://"):
        S3Address.parse(text)


def test_another_scheme_is_refused_and_a_path_is_a_directory(tmp_path: Path) -> None:
    """Nothing is guessed."""
    with pytest.raises(SettingsError, match="not a kind of store"):
        open_store("gs://bucket", GivenS3(), None)
    assert isinstance(open_store(str(tmp_path), GivenS3(), None), LocalStore)


@pytest.mark.parametrize(
    "given",
    [
        {"profile": "ceph"},
        {"profile": "ceph", "endpoint": "s3.example.org"},
        {"lock_for": timedelta(days=1)},
        {"lock": "compliance", "lock_for": timedelta(0)},
        {"lock": "compliance", "lock_at_most": timedelta(hours=23)},
        {"lock": "governance", "lock_for": timedelta(1), "profile": "r2", "endpoint": "https://x"},
        {"bucket": "x"},
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, object]) -> None:
    """A lock that is not one, an endpoint that is none, a typo."""
    with pytest.raises(ValidationError):
        GivenS3.model_validate(given)


def test_the_profile_says_what_is_not_set() -> None:
    """And what is set wins."""
    given = GivenS3(profile="ceph", endpoint="https://x", lock="compliance", lock_for=timedelta(3))
    options = given.options(None)
    assert options.path_style
    assert options.lock is not None
    assert options.lock.duration == timedelta(days=3)
    assert not GivenS3().options(None).path_style
    assert GivenS3(path_style=True).options(None).path_style


def test_credentials_are_files_and_a_copy_may_have_its_own(tmp_path: Path) -> None:
    """One half alone is an error, and the secret is not shown."""
    assert s3_credentials(None) is None
    assert s3_credentials(tmp_path) is None
    (tmp_path / "s3-access-key-id").write_text("AKIA\n")
    with pytest.raises(SettingsError, match="s3-secret-access-key"):
        s3_credentials(tmp_path)
    (tmp_path / "s3-secret-access-key").write_text("canary\n")
    found = s3_credentials(tmp_path, "offsite")
    assert found is not None
    assert (found.access_key_id, found.secret_access_key) == ("AKIA", "canary")
    assert "canary" not in repr(found)
    (tmp_path / "s3-access-key-id-offsite").write_text("OTHER")
    (tmp_path / "s3-secret-access-key-offsite").write_text("other")
    own = s3_credentials(tmp_path, "offsite")
    assert own is not None
    assert own.access_key_id == "OTHER"
    (tmp_path / "s3-secret-access-key").write_text("")
    with pytest.raises(SettingsError, match="empty"):
        s3_credentials(tmp_path)
