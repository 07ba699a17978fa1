"""`strongroom host pki`, with openssl and a real PostgreSQL as the judges."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pytest

from backup.postgres.scratch import scratch_cluster, unprivileged_user
from tests.e2e.documents import ROOT
from tests.lab.repositories import Ended, Host, ended
from tests.lab.servers import Servers

LAB = "inventories/lab.py"
PASSPHRASE = "a canary of a passphrase"
needs_age = pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An operator's machine with everything that the lab needs; tests work on copies."""
    home = tmp_path_factory.mktemp("template")
    operator = machine(home)
    identity = home / "identity.txt"
    good(operator.strongroom("keygen", "-o", identity))
    (home / "recipients.txt").write_text(good(operator.strongroom("keygen", "-y", identity)).stdout)
    good(pki(operator, "init", "-R", str(home / "recipients.txt")))
    good(with_identity(operator, "issue"))
    return home


@pytest.fixture
def operator(tmp_path: Path) -> Host:
    """An operator's machine with nothing."""
    return machine(tmp_path)


@pytest.fixture
def issued(operator: Host, template: Path) -> Path:
    """The directory with everything that the lab needs, on the operator's machine."""
    shutil.copytree(template, operator.home, dirs_exist_ok=True)
    return operator.home / "pki"


def machine(home: Path) -> Host:
    """A machine whose lab directory is its home."""
    environment = {"STRONGROOM_LAB_FILES": str(home)}
    return Host(home=home, environment=environment, has_settings=False)


def pki(operator: Host, verb: str, *arguments: str) -> Ended:
    """Run a verb of `host pki` on the lab's inventory."""
    return operator.strongroom("host", "pki", verb, ROOT / LAB, *arguments)


def good(done: Ended) -> Ended:
    """It ended well."""
    assert done.code == 0, done.stderr
    return done


def with_identity(operator: Host, verb: str, *arguments: str) -> Ended:
    """Run a verb that needs the CA keys."""
    return good(pki(operator, verb, *arguments, "-i", str(operator.home / "identity.txt")))


def openssl(*arguments: str | Path) -> Ended:
    """Run openssl."""
    return ended(("openssl", *map(str, arguments)))


def test_openssl_takes_each_leaf_for_its_own_purpose_only(issued: Path) -> None:
    """A server's is no client's, a client's no server's, and neither signs anything."""
    server, client = (
        issued / "hosts/db1/server.crt",
        issued / "clients/strongroom_backup@backup1.crt",
    )
    for purpose, authority, leaf, is_good in (
        ("sslserver", "server-ca.crt", server, True),
        ("sslclient", "server-ca.crt", server, False),
        ("sslclient", "client-ca.crt", client, True),
        ("sslserver", "client-ca.crt", client, False),
        ("sslserver", "client-ca.crt", server, False),
    ):
        done = openssl(
            *("verify", "-x509_strict", "-purpose", purpose, "-CAfile", issued / authority, leaf)
        )
        assert (done.code == 0) is is_good, (purpose, authority, done.stderr)
    done = openssl(
        *("verify", "-verify_hostname", "db1", "-CAfile", issued / "server-ca.crt", server)
    )
    assert done.code == 0, done.stderr
    assert "CA:FALSE" in openssl("x509", "-in", server, "-noout", "-text").stdout


def test_ca_keys_are_age_files_and_leaf_keys_are_the_owners_alone(operator: Host) -> None:
    """No CA key lies open, the passphrase is in no file of ours, and a guess is refused."""
    right, wrong = operator.home / "passphrase", operator.home / "wrong"
    right.write_text(f"{PASSPHRASE}\n")
    wrong.write_text("guessed\n")
    good(pki(operator, "init", "--passphrase-file", str(right)))
    assert pki(operator, "issue", "--passphrase-file", str(wrong)).code == 7
    good(pki(operator, "issue", "--passphrase-file", str(right)))
    directory = operator.home / "pki"
    for path in directory.rglob("*"):
        if path.is_file():
            assert PASSPHRASE.encode() not in path.read_bytes()
        if path.suffix == ".key":
            assert path.stat().st_mode & 0o777 == 0o600
    for kind in ("server", "client"):
        sealed = directory / f"ca/{kind}-ca.key.age"
        assert sealed.read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")


@needs_age
def test_stock_age_opens_a_ca_key(operator: Host, issued: Path) -> None:
    """Without us the firm still has its CA."""
    identity, sealed = operator.home / "identity.txt", issued / "ca/server-ca.key.age"
    opened = good(ended(("age", "-d", "-i", str(identity), str(sealed))))
    assert "BEGIN PRIVATE KEY" in opened.stdout


def test_what_is_not_due_is_left_alone(operator: Host, issued: Path) -> None:
    """Issuing twice makes nothing new; a leaf that was damaged is made anew, alone."""
    assert with_identity(operator, "issue", "--json").json == []
    (issued / "hosts/db1/server.crt").write_text("damaged\n")
    done = pki(operator, "show", "--json")
    assert done.code == 2
    assert [one["label"] for one in done.json if one["problems"]] == ["server db1"]
    made = with_identity(operator, "issue", "--json").json
    assert [one["label"] for one in made] == ["server db1"]
    assert all(not one["problems"] for one in good(pki(operator, "show", "--json")).json)


def test_authorities_follow_each_other_without_a_gap(operator: Host, issued: Path) -> None:
    """Old leaves are good until the old authority is retired; new ones from the first moment."""
    old = (issued / "hosts/db1/server.crt").read_bytes()
    (operator.home / "old.crt").write_bytes(old)
    assert pki(operator, "init", "-R", str(operator.home / "recipients.txt")).code == 2
    good(pki(operator, "init", "--next", "-R", str(operator.home / "recipients.txt")))
    made = with_identity(operator, "issue", "--json").json
    assert {one["label"] for one in made} == {"server db1", "client strongroom_backup@backup1"}
    trusted = issued / "server-ca.crt"

    def judged() -> list[int]:
        leaves = (operator.home / "old.crt", issued / "hosts/db1/server.crt")
        return [openssl("verify", "-CAfile", trusted, leaf).code for leaf in leaves]

    assert judged() == [0, 0]
    good(pki(operator, "init", "--retire"))
    assert judged() == [2, 0]


def test_a_firms_own_authority_signs_requests(operator: Host) -> None:
    """Requests go out, certificates come back; one that says something else is not taken."""
    home, firm = operator.home, operator.home / "firm"
    firm.mkdir()
    for kind in ("server", "client"):
        done = openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN=Firm {kind} CA", "-days", "800", "-keyout", firm / f"{kind}.key"),
            *("-out", firm / f"{kind}.crt"),
        )
        assert done.code == 0, done.stderr
    good(
        pki(
            *(operator, "init", "--server-ca", str(firm / "server.crt")),
            *("--client-ca", str(firm / "client.crt")),
        )
    )
    requests = good(pki(operator, "issue", "--csr", "--json")).json
    signed = []
    for one in requests:
        kind, out = one["label"].split()[0], home / f"{len(signed)}.crt"
        done = openssl(
            *("x509", "-req", "-in", one["request"], "-CA", firm / f"{kind}.crt"),
            *("-CAkey", firm / f"{kind}.key", "-days", "90", "-copy_extensions", "copyall"),
            *("-out", out),
        )
        assert done.code == 0, done.stderr
        signed.append(out)
    careless = home / "careless.crt"
    done = openssl(
        *("x509", "-req", "-in", requests[0]["request"], "-CA", firm / "server.crt", "-CAkey"),
        *(firm / "server.key", "-days", "90", "-out", careless),
    )
    refused = pki(operator, "issue", "--accept", str(careless))
    assert refused.code == 2
    assert "does not vouch for db1" in refused.stderr
    accepted = [argument for file in signed for argument in ("--accept", str(file))]
    good(pki(operator, "issue", *accepted))
    assert all(not one["problems"] for one in good(pki(operator, "show", "--json")).json)
    assert not list((home / "pki").rglob("*.pending.key"))


def test_postgresql_serves_it_over_tls_1_3_and_asks_for_the_clients(
    issued: Path, shared_directory: Path, servers: Servers
) -> None:
    """The backup role comes in by its certificate; without one, or by the server's, nobody does."""
    tools = servers.of_major(15).tools
    user = unprivileged_user()
    for name in ("hosts/db1/server.crt", "hosts/db1/server.key", "client-ca.crt"):
        target = shared_directory / Path(name).name
        shutil.copyfile(issued / name, target)
        target.chmod(0o600)
        if user is not None:
            shutil.chown(target, user.uid, user.gid)
    hba = shared_directory / "pg_hba.conf"
    # An address of loopback that nobody else has: each of its ports is free, and stays so.
    address, port = f"127.{'.'.join(str(1 + secrets.randbelow(250)) for _ in range(3))}", 5432
    hba.write_text("local all all trust\nhostssl all strongroom_backup 127.0.0.0/8 cert\n")
    hba.chmod(0o644)
    settings = {
        "listen_addresses": address,
        "hba_file": str(hba),
        "ssl": "on",
        "ssl_min_protocol_version": "TLSv1.3",
        "ssl_cert_file": str(shared_directory / "server.crt"),
        "ssl_key_file": str(shared_directory / "server.key"),
        "ssl_ca_file": str(shared_directory / "client-ca.crt"),
    }
    client = issued / "clients/strongroom_backup@backup1"

    def connect(certificate: str, key: str, sql: str, host: str = "db1") -> Ended:
        conninfo = (
            f"host={host} hostaddr={address} port={port} dbname=postgres user=strongroom_backup"
            f" sslmode=verify-full sslrootcert={issued / 'server-ca.crt'}"
            f" sslcert={certificate} sslkey={key}"
        )
        return ended((tools.program("psql"), "-XAtc", sql, conninfo))

    with scratch_cluster(tools, settings=settings) as cluster:
        local = ended(
            (
                tools.program("psql"),
                "-Xc",
                "CREATE ROLE strongroom_backup LOGIN",
                cluster.dsn.conninfo(),
            )
        )
        assert local.code == 0, local.stderr
        served = openssl(
            *("s_client", "-starttls", "postgres", "-connect", f"{address}:{port}", "-tls1_3"),
            *("-CAfile", issued / "server-ca.crt", "-verify_return_error"),
            *("-verify_hostname", "db1"),
        )
        assert "Verification: OK" in served.stdout
        assert "TLSv1.3" in served.stdout
        older = openssl(
            "s_client", "-starttls", "postgres", "-connect", f"{address}:{port}", "-tls1_2"
        )
        assert "alert protocol version" in older.stderr
        sql = "SELECT version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        done = connect(f"{client}.crt", f"{client}.key", sql)
        assert done.stdout.strip() == "TLSv1.3|/CN=strongroom_backup", done.stderr
        without = connect("/nonexistent", "/nonexistent", sql)
        assert "requires a valid client certificate" in without.stderr
        as_server = connect(
            str(issued / "hosts/db1/server.crt"), str(issued / "hosts/db1/server.key"), sql
        )
        assert "alert unknown ca" in as_server.stderr
        elsewhere = connect(f"{client}.crt", f"{client}.key", sql, host="db2")
        assert 'does not match host name "db2"' in elsewhere.stderr
