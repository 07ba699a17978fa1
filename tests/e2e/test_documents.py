"""What documents name is there: linked pages, modules, machines."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from pathlib import Path

import pytest

from tests.e2e.documents import ROOT
from tests.lab.repositories import ended

PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
MACHINE = re.compile(r'"(\w+)" => \{ address: "([0-9.]+)".*autostart: true')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """A page that is linked exists."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_tree_names_modules_that_exist() -> None:
    """`architecture.md` shows the house as it is."""
    tree = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("```")[1]
    modules = {
        path.name
        for place in ("backup", "deploy", "scheduler")
        for path in (ROOT / place).rglob("*.py")
    }
    assert set(re.findall(r"\w+\.py", tree)) <= modules


def test_machines_and_inventory_agree() -> None:
    """The machines that `vagrant up` starts are those of `inventories/vagrant.py`."""
    groups = runpy.run_path(str(ROOT / "inventories/vagrant.py"))
    listed = {
        name: data["ssh_hostname"]
        for group in (groups["database_servers"], groups["backup_hosts"])
        for name, data in group
    }
    assert listed == dict(MACHINE.findall((ROOT / "Vagrantfile").read_text(encoding="utf-8")))


def test_vagrant_accepts_the_machines(tmp_path: Path) -> None:
    """`vagrant validate`, for the provider that Debian has."""
    if shutil.which("vagrant") is None:
        pytest.skip("vagrant is not installed")
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    here = {"HOME": str(tmp_path), "VAGRANT_CWD": str(tmp_path), "PATH": os.environ["PATH"]}
    done = ended(("vagrant", "validate"), here | {"VAGRANT_DEFAULT_PROVIDER": "libvirt"})
    assert done.code == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout
