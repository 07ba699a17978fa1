"""The hosts that the tests boot (tests/lab/hosts.py), on a bridge of their own.

`STRONGROOM_LAB` is the first three numbers of its addresses, `STRONGROOM_LAB_KEY` the SSH key.
"""

import os

_NET = os.environ.get("STRONGROOM_LAB", "10.77.20")
_SSH = {
    "ssh_user": "root",
    "ssh_key": os.environ.get("STRONGROOM_LAB_KEY", ""),
    "ssh_known_hosts_file": os.environ.get("STRONGROOM_LAB_KNOWN_HOSTS", "/dev/null"),
}

database_servers = [
    ("db1", {"ssh_hostname": f"{_NET}.11", "hostname": "db1", "address": f"{_NET}.11", **_SSH}),
]

backup_hosts = [
    (
        "backup1",
        {"ssh_hostname": f"{_NET}.21", "hostname": "backup1", "address": f"{_NET}.21", **_SSH},
    ),
]
