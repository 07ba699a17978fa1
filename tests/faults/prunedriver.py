"""A prune of `PruneLab` as its own process, over a network that may hang: `PRUNE` says which.

Ends with the exit code of what went wrong, as the command line does.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from backup.crypto.sshkey import SigningKey
from backup.errors import StrongroomError
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import PROFILES, Credentials, S3Address, S3Options
from tests import samples


def run() -> None:
    """Prune once."""
    asked = json.loads(os.environ["PRUNE"])
    # The samples make a new key in each process; this one has to believe its parent's.
    key = SigningKey.from_text(asked["signing_key"], samples.SIGNING_KEY.public_key.comment)
    samples.SIGNING_KEY = key
    samples.allowed.__defaults__ = (key, *(samples.allowed.__defaults__ or ())[1:])
    samples.writing_keys.__defaults__ = (key,)
    from tests.lab.prunes import PruneLab

    options = S3Options(
        profile=PROFILES["ceph"],
        endpoint=asked["endpoint"],
        path_style=True,
        ca_file=Path(asked["ca_file"]),
        credentials=Credentials(access_key_id=asked["key"], secret_access_key=asked["secret"]),
        timeout=timedelta(seconds=asked["timeout"]),
    )
    store = S3Store(S3Address.parse(asked["address"]), options)
    try:
        PruneLab(store, Path(asked["state"]), now=datetime.fromisoformat(asked["now"])).prune()
    except StrongroomError as error:
        print(error.message, file=sys.stderr)  # noqa: T201 - read by the test
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
