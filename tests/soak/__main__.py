"""`make soak`: a year of a daemon, and its figures. Takes the better part of an hour."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.faults.vault import DATABASE, Vault
from tests.lab.servers import ANY_MAJOR, Servers
from tests.soak.soak import Soak, faults_of


def main() -> int:
    """Run it, print the figures, and say what must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--faults", type=int, default=12, help="children of a hundred that meet one"
    )
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="strongroom-soak-") as directory,
        contextlib.ExitStack() as stack,
    ):
        Path(directory).chmod(0o755)
        server = Servers(stack).of_major(ANY_MAJOR)
        with server.fresh_database() as dsn:
            server.sql(DATABASE, database=dsn.database)
            vault = Vault.make(Path(directory) / "vault", server, dsn)
            soak = Soak(vault, days=asked.days, seed=asked.seed, faults=asked.faults)
            figures = soak.run()
    print(figures)
    wrong = faults_of(figures)
    for sentence in wrong:
        print(f"WRONG  {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
