"""Headless Chromium: what a page is when a browser has read it, on a screen and on paper."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from html import unescape
from json import loads
from pathlib import Path
from typing import Any

from tests.lab.repositories import ended

AXE = "axe-core@4.14.1"
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_RULES = '["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]'
_ASK = """
axe.run(document, {{ runOnly: {rules} }}).then(found => {{
  const said = document.createElement("pre");
  said.id = "axe-says";
  said.textContent = JSON.stringify({{
    passes: found.passes.length,
    violations: found.violations.map(one => ({{
      id: one.id, why: one.nodes[0].failureSummary, html: one.nodes.map(node => node.html) }})),
  }});
  document.body.append(said);
}})
"""


class Browser:
    """Chromium, a fresh profile for every page."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, page: bytes) -> str:
        """Return the document as it is when everything in it has been loaded."""
        return self._run(page, "--virtual-time-budget=60000", "--dump-dom")

    def printed(self, page: bytes) -> list[str]:
        """Return the text of each sheet of paper."""
        paper = self._directory / "page.pdf"
        self._run(page, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
        done = ended(("/usr/bin/pdftotext", "-layout", str(paper), "-"), {})
        assert done.code == 0, done.stderr
        return done.stdout.split("\f")[:-1]

    def asked(self, page: bytes, axe: Path) -> dict[str, Any]:
        """Return what axe says of a page: without its policy, which forbids axe to run."""
        text = page.decode()
        bare = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        assert bare != text
        script = f'<script src="{axe.as_uri()}"></script>'
        script += f"<script>{_ASK.format(rules=_RULES)}</script>"
        read = self.read(bare.replace("</body>", f"{script}</body>").encode())
        said = re.search('<pre id="axe-says">(.*?)</pre>', read, re.DOTALL)
        assert said is not None, read[-2000:]
        found: dict[str, Any] = loads(unescape(said[1]))
        return found

    def _run(self, page: bytes, *options: str) -> str:
        path = self._directory / "page.html"
        path.write_bytes(page)
        # Its helpers may write for a moment longer than it lives.
        with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
            argv = ("/usr/bin/chromium", *_FLAGS, f"--user-data-dir={profile}", *options)
            done = ended((*argv, path.as_uri()), {"HOME": profile, "PATH": "/usr/bin:/bin"})
        assert done.code == 0, done.stderr
        return done.stdout


def why_no_browser() -> str | None:
    """Return what is missing to look at pages, or None."""
    for program in ("chromium", "pdftotext", "npm"):
        if shutil.which(program) is None:
            return f"needs {program}"
    return None


def install_axe(directory: Path) -> Path:
    """Install axe-core, and return its script."""
    npm = shutil.which("npm") or "npm"
    options = ("--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=5")
    # With all of the environment: how this machine reaches the registry may be in it.
    done = ended((npm, "install", "--prefix", str(directory), *options, AXE), os.environ)
    assert done.code == 0, done.stderr
    return directory / "node_modules/axe-core/axe.min.js"
