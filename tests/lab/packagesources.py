"""A repository of Debian packages that is signed, served to test hosts."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess  # noqa: TID251 - gpg, dpkg-deb
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package: what its scripts do, by their names, and who lays its files into a directory."""

    name: str
    version: str
    depends: str = ""
    scripts: Mapping[str, str] = field(default_factory=dict)
    fill: Callable[[Path], None] | None = None


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def package_source(
    directory: Path, address: str, suites: Sequence[str], packages: Sequence[Package]
) -> Iterator[tuple[str, Path, Path]]:
    """Serve packages, the same in every suite; yield the address, the key, and another key."""
    (directory / "www/pool").mkdir(parents=True)
    index = "\n".join(_built(directory, package) for package in packages).encode()
    key, other = (_key(directory / name) for name in ("ours", "other"))
    for suite in suites:
        _publish(directory, suite, index)
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


def _publish(directory: Path, suite: str, index: bytes) -> None:
    place = directory / f"www/dists/{suite}/main/binary-amd64"
    place.mkdir(parents=True)
    (place / "Packages").write_bytes(index)
    sha256 = hashlib.sha256(index).hexdigest()
    release = directory / f"www/dists/{suite}/Release"
    release.write_text(
        f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
        f"Date: {datetime.now(UTC):%a, %d %b %Y %H:%M:%S} UTC\n"
        f"SHA256:\n {sha256} {len(index)} main/binary-amd64/Packages\n"
    )
    _gpg(directory / "ours", "--clearsign", "--output", f"{release.parent}/InRelease", f"{release}")


def _built(directory: Path, package: Package) -> str:
    """Build a package; return what the index says of it."""
    control = f"Package: {package.name}\nVersion: {package.version}\nArchitecture: amd64\n"
    control += "Maintainer: lab <x@x>\nDescription: of the lab\n"
    control += f"Depends: {package.depends}\n" if package.depends else ""
    root = directory / f"build-{package.name}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(control)
    for name, script in package.scripts.items():
        (root / "DEBIAN" / name).write_text(script)
        (root / "DEBIAN" / name).chmod(0o755)
    if package.fill is not None:
        package.fill(root)
    made = directory / f"www/pool/{package.name}.deb"
    _run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(made))
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
