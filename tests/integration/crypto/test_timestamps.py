"""`strongroom log timestamp` with an authority that `openssl ts` plays."""

from __future__ import annotations

import shutil
import subprocess  # noqa: TID251 - openssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.repository.layout import log_checkpoint_key, log_timestamp_key
from tests.lab.repositories import Host, LabRepository, lab_repository

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

_SETTINGS = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Root
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[one]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[authority]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


class Authority:
    """A root, a certificate that it gave, and replies."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.root = directory / "root.pem"
        (directory / "settings").write_text(_SETTINGS)
        (directory / "serial").write_text("01")
        self.openssl(
            *("req", "-x509", *_KEY, "-keyout", "root.key", "-out", "root.pem", "-days", "2"),
            *("-config", "settings", "-extensions", "root"),
        )
        self.openssl(
            *("req", "-new", *_KEY, "-keyout", "one.key", "-out", "one.csr"),
            *("-config", "settings", "-subj", "/CN=Authority"),
        )
        self.openssl(
            *("x509", "-req", "-in", "one.csr", "-CA", "root.pem", "-CAkey", "root.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", "settings", "-extensions", "one"),
            *("-out", "one.pem"),
        )

    def openssl(self, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        """Run openssl in the authority's directory; raise if it fails."""
        argv = ("openssl", *map(str, arguments))
        return subprocess.run(argv, cwd=self.directory, capture_output=True, check=True, timeout=30)

    def reply(self, query: Path, *more: str) -> Path:
        """Answer a query."""
        path = self.directory / "reply.tsr"
        self.openssl(
            *("ts", "-reply", "-queryfile", query, "-config", "settings"),
            *("-section", "authority", "-inkey", "one.key", "-signer", "one.pem"),
            *("-out", path, *more),
        )
        return path


@pytest.fixture
def repository() -> Iterator[LabRepository]:
    """A new repository: its log has one entry."""
    with lab_repository() as made:
        yield made


@pytest.fixture
def host(repository: LabRepository) -> Host:
    """The machine that writes it."""
    return Host(
        home=repository.state_directory.parent,
        environment={"STRONGROOM_REPOSITORY": str(repository.directory)},
        has_settings=False,
    )


@pytest.mark.parametrize("chain", [(), ("-chain", "root.pem")], ids=["alone", "with its chain"])
def test_a_timestamp_is_carried_by_hand(
    repository: LabRepository, host: Host, tmp_path: Path, chain: tuple[str, ...]
) -> None:
    """Query, reply, import; then `openssl ts -verify` with the two objects as they are stored."""
    authority = Authority(tmp_path / "authority")
    query = tmp_path / "query.tsq"
    assert "1 entries" in host.strongroom("log", "timestamp", "request", "-o", query).stdout
    assert host.strongroom("log", "timestamp", "request", "-o", query).code == 2
    reply = authority.reply(query, *chain)
    done = host.strongroom(
        *("log", "timestamp", "import", reply, "--certificate", authority.root, "--json")
    )
    assert (done.code, done.json["size"]) == (0, 1)
    note = repository.directory / log_checkpoint_key(1)
    stored = repository.directory / log_timestamp_key(1)
    assert stored.read_bytes() == reply.read_bytes()
    authority.openssl("ts", "-verify", "-data", note, "-in", stored, "-CAfile", authority.root)
    said = host.strongroom("log", "verify").stdout
    assert "the first 1 entries existed at" in said
    assert "not verified: add --authority FILE" in said
    verify = ("log", "verify", "--authority")
    assert "(verified)" in host.strongroom(*verify, authority.root).stdout
    other = Authority(tmp_path / "other")
    done = host.strongroom(*verify, other.root)
    assert (done.code, "WRONG  time stamp 1: the timestamp does not hold" in done.stdout) == (
        3,
        True,
    )


def test_a_stored_timestamp_that_is_not_over_its_checkpoint_is_found(
    repository: LabRepository, host: Host, tmp_path: Path
) -> None:
    """One that was moved there from another log, and bytes that are no reply."""
    authority = Authority(tmp_path / "authority")
    (tmp_path / "data").write_bytes(b"another log")
    query = tmp_path / "foreign.tsq"
    authority.openssl("ts", "-query", "-data", tmp_path / "data", "-sha256", "-out", query)
    stored = repository.directory / log_timestamp_key(1)
    shutil.copy(authority.reply(query), stored)
    done = host.strongroom("log", "verify")
    assert (done.code, "time stamp 1 is over another checkpoint" in done.stdout) == (3, True)
    stored.write_bytes(b"no reply")
    done = host.strongroom("log", "verify")
    assert (done.code, "time stamp 1: this is no reply" in done.stdout) == (3, True)


def test_a_wrong_reply_is_refused(repository: LabRepository, host: Host, tmp_path: Path) -> None:
    """Over another log, by somebody else's authority, no reply at all: nothing is stored."""
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    query, foreign = tmp_path / "query.tsq", tmp_path / "foreign.tsq"
    (tmp_path / "data").write_bytes(b"another log")
    ours.openssl("ts", "-query", "-data", tmp_path / "data", "-sha256", "-out", foreign)
    assert host.strongroom("log", "timestamp", "request", "-o", query).code == 0
    take = ("log", "timestamp", "import")
    pinned = ("--certificate", ours.root)
    over = host.strongroom(*take, ours.reply(foreign), *pinned)
    assert (over.code, "over no checkpoint" in over.stderr) == (3, True)
    by = host.strongroom(*take, other.reply(query), *pinned)
    assert (by.code, "does not hold" in by.stderr) == (3, True)
    assert host.strongroom(*take, query, *pinned).code == 3
    assert host.strongroom(*take, tmp_path / "nowhere", *pinned).code == 2
    assert host.strongroom(*take, ours.reply(query), "--certificate", query).code == 2
    assert not (repository.directory / log_timestamp_key(1)).exists()
