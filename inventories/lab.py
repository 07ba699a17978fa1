"""The hosts that the tests boot (tests/lab/hosts.py), on a bridge of their own.

`STRONGROOM_LAB` is the first three numbers of its addresses; the SSH key and the known hosts lie in
`STRONGROOM_LAB_DIRECTORY`. `STRONGROOM_LAB_REPLICA` is the replica, if there is one.
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

# `db2`: a replica of db1. `db1`: the other way round, as it is after db2 was promoted.
_REPLICA = os.environ.get("STRONGROOM_LAB_REPLICA")
_PRIMARY = "db2" if _REPLICA == "db1" else "db1"
_ADDRESSES = {"db1": f"{_NET}.11", "db2": f"{_NET}.12", "backup1": f"{_NET}.21"}


def _host(name: str, **more: str) -> tuple[str, dict[str, object]]:
    address = _ADDRESSES[name]
    return name, {"ssh_hostname": address, "hostname": name, "address": address, **_SSH, **more}


database_servers = [_host(_PRIMARY)]

replicas = [_host(_REPLICA, primary=_PRIMARY)] if _REPLICA else []

backup_hosts = [_host("backup1")]
