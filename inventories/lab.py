"""The hosts that the tests boot (tests/lab/hosts.py), on a bridge of their own.

`STRONGROOM_LAB` is the first three numbers of its addresses; the SSH key and the known hosts lie in
`STRONGROOM_LAB_DIRECTORY`. With `STRONGROOM_LAB_REPLICA` there is a replica as well.
"""

import os

_NET = os.environ.get("STRONGROOM_LAB", "10.77.20")
_DIRECTORY = os.environ.get("STRONGROOM_LAB_DIRECTORY", ".")
_SSH = {
    "ssh_user": "admin",
    "ssh_key": f"{_DIRECTORY}/id_ed25519",
    "ssh_known_hosts_file": f"{_DIRECTORY}/known_hosts",
    "ssh_strict_host_key_checking": "yes",
    "_sudo": True,
}

database_servers = [
    ("db1", {"ssh_hostname": f"{_NET}.11", "hostname": "db1", "address": f"{_NET}.11", **_SSH}),
]

if "STRONGROOM_LAB_REPLICA" in os.environ:
    replicas = [
        (
            "db2",
            {
                "ssh_hostname": f"{_NET}.12",
                "hostname": "db2",
                "address": f"{_NET}.12",
                "primary": "db1",
                **_SSH,
            },
        ),
    ]

backup_hosts = [
    (
        "backup1",
        {"ssh_hostname": f"{_NET}.21", "hostname": "backup1", "address": f"{_NET}.21", **_SSH},
    ),
]
