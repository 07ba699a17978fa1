"""Without keys to a bucket every verb says so, and never looks as if it were broken itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.lab.repositories import Host

SETTINGS = """
repository = "s3://firm/backups"
[databases.portal]
dsn = "dbname=portal"
[s3]
endpoint = "http://127.0.0.1:1"
profile = "minio"
"""


@pytest.mark.parametrize(
    "given", [{}, {"AWS_ACCESS_KEY_ID": "AKIAHALFOFAPAIR"}], ids=["no", "half"]
)
def test_missing_keys_are_named(tmp_path: Path, given: Mapping[str, str]) -> None:
    """With what to do; to a monitor it is not known whether all is well."""
    (tmp_path / "strongroom.toml").write_text(SETTINGS)
    host = Host(home=tmp_path, environment={"AWS_EC2_METADATA_DISABLED": "true", **given})
    done = host.strongroom("list")
    assert done.code == 6, done.stderr
    assert "credentials" in done.stderr
    assert "s3-access-key-id" in done.stderr
    assert "Traceback" not in done.stderr
    done = host.strongroom("status")
    assert done.code == 3, done.stderr
    assert "credentials" in done.stdout
