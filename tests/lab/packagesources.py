"""A repository of Debian packages that is signed, served to test hosts."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess  # noqa: TID251 - gpg, dpkg-deb
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def package_source(
    directory: Path, address: str, suite: str, packages: Mapping[str, str]
) -> Iterator[tuple[str, Path, Path]]:
    """Serve empty packages (names to versions); yield the address, the key, and another key."""
    place = directory / f"www/dists/{suite}/main/binary-amd64"
    place.mkdir(parents=True)
    stanzas = [_package(directory, name, version) for name, version in packages.items()]
    index = "\n".join(stanzas).encode()
    (place / "Packages").write_bytes(index)
    sha256 = hashlib.sha256(index).hexdigest()
    release = directory / f"www/dists/{suite}/Release"
    release.write_text(
        f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
        "Date: Wed, 25 Nov 2026 00:00:00 UTC\n"
        f"SHA256:\n {sha256} {len(index)} main/binary-amd64/Packages\n"
    )
    key, other = (_key(directory / name) for name in ("ours", "other"))
    _gpg(directory / "ours", "--clearsign", "--output", f"{release.parent}/InRelease", f"{release}")
    handler = partial(_Quiet, directory=str(directory / "www"))
    for name in ("ours", "other"):
        _run("gpgconf", "--homedir", str(directory / name), "--kill", "gpg-agent")
    with ThreadingHTTPServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}", key, other
        finally:
            server.shutdown()
            thread.join()


def _package(directory: Path, name: str, version: str) -> str:
    """Build a package without a file; return what the index says of it."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: lab <x@x>\n"
    control += "Description: empty\n"
    root = directory / f"build-{name}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(control)
    pool = directory / "www/pool"
    pool.mkdir(exist_ok=True)
    made = pool / f"{name}.deb"
    _run("dpkg-deb", "--root-owner-group", "--build", str(root), str(made))
    content = made.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: pool/{made.name}\nSize: {len(content)}\nSHA256: {sha256}\n"


def _key(home: Path) -> Path:
    home.mkdir(mode=0o700)
    _gpg(home, "--passphrase", "", "--quick-generate-key", "lab", "ed25519", "sign", "never")
    public = home / "key.asc"
    _gpg(home, "--armor", "--output", str(public), "--export")
    return public


def _gpg(home: Path, *arguments: str) -> None:
    _run("gpg", "--batch", "--quiet", "--homedir", str(home), *arguments)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
