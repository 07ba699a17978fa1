"""The test hosts are what deploys are written for: Debian with systemd, SSH, sudo and a way out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import OPERATOR, Lab, lab
from tests.lab.packagesources import Package, package_source
from tests.lab.repositories import Ended, ended
from tests.lab.sites import INVENTORY


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    """Hosts of these tests alone, on which nothing was installed."""
    with lab() as made:
        yield made


def test_hosts_boot_and_see_each_other(hosts: Lab) -> None:
    """Two hosts come up whole, under their names, and reach each other by name."""
    hosts.boot(["db1", "backup1"])
    for name in ("db1", "backup1"):
        assert hosts.failed_units(name) == []
        state = hosts.run(name, "systemctl is-system-running", check=False).stdout.strip()
        assert state == "running"
        assert hosts.run(name, "cat /etc/debian_version; hostname").stdout.split()[1] == name
    other = "exec 3<>/dev/tcp/backup1/22; read -r banner <&3; echo $banner"
    assert hosts.run("db1", f"bash -c '{other}'").stdout.startswith("SSH-2.0-")


def test_an_operator_logs_in_and_may_become_root(hosts: Lab) -> None:
    """The deploys work through sudo, as on machines where root has no login."""
    hosts.boot(["db1"])
    assert hosts.run("db1", "id -un; sudo id -un", user=OPERATOR).stdout.split() == [
        OPERATOR,
        "root",
    ]


def test_what_deploys_install_is_at_hand(hosts: Lab) -> None:
    """PostgreSQL's packages lie in the host's cache and are not installed yet."""
    hosts.boot(["db1"])
    assert hosts.run("db1", "command -v psql", check=False).code != 0
    cached = hosts.run("db1", "ls /var/cache/apt/archives").stdout
    assert "postgresql-15_" in cached


# Stands in for a deploy of a whole site: its operations, with a repository that nobody can reach.
DEPLOY = """
from pathlib import Path
from deploy.core.model import Package
from deploy.ops import system
package = Package(major=18, source="pgdg", repository={repository!r}, signing_key={key!r})
system.repository(name="repository", package=package, key=package.signing_key.read_text)
system.packages(name="packages", names=("postgresql-18", "hello-there"))
"""


def test_postgresql_comes_from_a_signed_repository_and_nothing_else_that_is_elsewhere(
    hosts: Lab, tmp_path: Path
) -> None:
    """By its own key only: signed by another one, nothing is installed."""
    hosts.boot(["db1"])
    offered = {
        "postgresql-18": "18.1-1.pgdg12+1",
        "hello-there": "1",  # nobody else has it
        "sudo": "99",  # Debian has its own
    }
    environment = {
        "HOME": str(tmp_path),
        "STRONGROOM_LAB": f"10.77.{hosts.number}",
        "STRONGROOM_LAB_DIRECTORY": str(hosts.directory),
    }
    program = str(Path(sys.executable).with_name("pyinfra"))

    def deployed(key: Path) -> Ended:
        deploy = tmp_path / "deploy.py"
        deploy.write_text(DEPLOY.format(repository=address, key=str(key)))
        words = ("-y", "--limit", "db1", str(INVENTORY), str(deploy))
        return ended((program, *words), environment)

    packages = [Package(name=name, version=version) for name, version in offered.items()]
    with package_source(tmp_path, hosts.gateway, ["bookworm-pgdg"], packages) as source:
        address, key, other = source
        refused = deployed(other)
        assert refused.code != 0
        assert "not signed" in refused.stdout + refused.stderr
        done = deployed(key)
        assert done.code == 0, done.stdout + done.stderr
        again = deployed(key)
    assert re.search(r"Grand total +2 +- +- +2 ", again.stdout + again.stderr)  # no change
    query = "dpkg-query -W -f '${Package} ${Version}\\n' postgresql-18 hello-there sudo"
    installed = dict(line.split() for line in hosts.run("db1", query).stdout.splitlines())
    assert installed["postgresql-18"] == offered["postgresql-18"]
    policy = hosts.run("db1", "apt-cache policy sudo").stdout
    assert f"Candidate: {installed['sudo']}" in policy
    assert installed["sudo"] != "99"
    hosts.wipe("db1")


def test_a_disk_outlives_a_reboot_and_a_power_cut_but_not_a_wipe(hosts: Lab) -> None:
    """Wiped, a host is a bare Debian again under the same name, with another host key."""
    hosts.boot(["db1"])
    boot_id = "cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestampMonotonic"
    hosts.write("db1", "/root/kept", b"\x00kept\n", mode=0o600)
    before = hosts.run("db1", boot_id).stdout
    hosts.reboot("db1")
    assert hosts.run("db1", boot_id).stdout != before
    assert hosts.read("db1", "/root/kept") == b"\x00kept\n"
    hosts.cut_power("db1")
    hosts.boot(["db1"])
    assert hosts.read("db1", "/root/kept") == b"\x00kept\n"
    key = hosts.read("db1", "/etc/ssh/ssh_host_ed25519_key.pub")
    hosts.wipe("db1")
    assert hosts.run("db1", "test -e /root/kept", check=False).code != 0
    assert hosts.read("db1", "/etc/ssh/ssh_host_ed25519_key.pub") != key
