"""`host verify` on a host as it was made, and on one where everything is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup.crypto.age import unseal
from backup.crypto.recipients import parse_identities
from backup.evidence.report import REPORT_NAMESPACE
from tests.lab.hostfaults import BACKUP_HOST_FAULTS, FAULTS, plant, plant_on_backup_host
from tests.lab.repositories import ended
from tests.lab.sites import PASSWORDS, Site, passes_every_check


def test_a_host_as_it_was_made_passes_every_check(site: Site, tmp_path: Path) -> None:
    """And the report says so, signed; an auditor checks the signature with ssh-keygen."""
    passes_every_check(site, "db1")
    key = site.files / "audit.key"
    done = site.host_verb(
        *("verify", "--host", "db1", "--signing-key", key, "-o", tmp_path, "--json"),
    )
    assert done.code == 0, done.stderr
    report = Path(done.json["report"])
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"auditor {key.with_suffix('.key.pub').read_text()}")
    checked = ended(
        (
            *(
                "/bin/bash",
                "-c",
                'ssh-keygen -Y verify -f "$1" -I auditor -n "$2" -s "$3.sig" <"$3"',
            ),
            *("bash", str(signers), REPORT_NAMESPACE, str(report)),
        )
    )
    assert checked.code == 0, checked.stderr
    text = report.read_text()
    assert '"verdict":"PASS"' in text
    assert not any(password in text for password in PASSWORDS.values())


def test_a_server_that_is_down_fails_and_is_not_green(fresh_db1: Site) -> None:
    """What cannot be asked has failed; the rest is still judged."""
    fresh_db1.hosts.run("db1", "systemctl stop postgresql@15-main")
    found = {one["id"]: one for one in fresh_db1.json("verify", "--host", "db1")["checks"]}
    assert not found["unit"]["passed"]
    assert not found["superusers"]["passed"]
    assert "could not be observed" in found["superusers"]["observed"]
    assert found["postgres-locked"]["passed"]


def test_every_check_fails_on_what_it_is_for(site: Site) -> None:
    """Ninety faults are planted at once: each is found by its check, under its own name."""
    try:
        plant_everywhere(site)
        done = site.host_verb("verify", "--json")
    finally:
        site.put_back(["db1", "backup1"])
    assert done.code == 3
    for host, faults in (("db1", FAULTS), ("backup1", BACKUP_HOST_FAULTS)):
        found = {one["id"]: one for one in done.json["checks"] if one["host"] == host}
        assert found.keys() == {fault.check for fault in faults}
        missed = [
            (fault.check, found[fault.check]["observed"])
            for fault in faults
            if found[fault.check]["passed"] or fault.observed not in found[fault.check]["observed"]
        ]
        assert missed == []
        assert all(one["hint"] for one in found.values())


def plant_everywhere(site: Site) -> None:
    """Make everything wrong on both hosts."""
    identities = parse_identities(site.identity.read_text())
    ca_key = bytes(unseal((site.pki / "ca/server-ca.key.age").read_bytes(), identities))
    wrong = site.pki / "clients/strongroom_backup@backup1.crt"
    plant(
        *(site.hosts, "db1"),
        ca_key=ca_key,
        certificate=wrong.read_bytes(),
        key=wrong.with_suffix(".key").read_bytes(),
    )
    plant_on_backup_host(site.hosts, "backup1", ca_key=ca_key)


def test_a_host_that_does_not_answer_fails_every_check(site: Site) -> None:
    """The reason is SSH's own; nothing is taken for granted."""
    site.hosts.power_off("backup1")
    try:
        done = site.host_verb("verify", "--host", "backup1", "--json")
    finally:
        site.hosts.boot(["backup1"])
    assert done.code == 3
    assert all("ssh to backup1" in one["observed"] for one in done.json["checks"])


@pytest.mark.parametrize("arguments", [("--host", "db9"), ("-o", "somewhere")])
def test_a_wrong_option_asks_nothing(site: Site, arguments: tuple[str, ...]) -> None:
    """Exit code 2, before any host is called."""
    assert site.host_verb("verify", *arguments).code == 2
