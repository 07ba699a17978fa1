"""Runbooks for hosts, followed on the operator's machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.e2e.documents import ROOT, script, to_fill_in
from tests.lab.repositories import ended
from tests.lab.sites import Site


def follow(site: Site, runbook: str, inventory: Path, **given: str | Path) -> str:
    """Follow a runbook to the letter and return what was said; it must end with 0."""
    page = ROOT / "docs/runbooks" / f"{runbook}.md"
    around = {
        "INVENTORY": inventory,
        "SECRETS": site.files / "secrets",
        "RECOVERY": site.files / "recipients.txt",
        "RECOVERY_IDENTITY": site.identity,
        "HOST": "db1",
        "ROLE": "portal_report" if runbook == "add-an-application-role" else "portal_app",
        **given,
    }
    assert to_fill_in(page) <= around.keys()
    done = ended(
        ("/bin/bash", "-c", script(page)),
        {
            "HOME": str(site.files),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **{name: str(value) for name, value in around.items()},
            **site.environment,
        },
    )
    assert done.code == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout
