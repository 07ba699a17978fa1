"""The machines of the Vagrantfile: same names, same addresses.

A pyinfra inventory is a file of plain data: groups of hosts, each with what the deploys are to know
of it; `group_data/vagrant.py` has what they share. No secret belongs in here.
"""

_SSH = {"ssh_user": "vagrant", "_sudo": True}

database_servers = [
    (
        "db1",
        {"ssh_hostname": "192.168.56.11", "hostname": "db1", "address": "192.168.56.11", **_SSH},
    ),
]

# A copy of db1 that follows it: `vagrant up db2`, and take these marks away.
# replicas = [
#     (
#         "db2",
#         {
#             "ssh_hostname": "192.168.56.12",
#             "hostname": "db2",
#             "address": "192.168.56.12",
#             "primary": "db1",
#             **_SSH,
#         },
#     ),
# ]

backup_hosts = [
    (
        "backup1",
        {
            "ssh_hostname": "192.168.56.21",
            "hostname": "backup1",
            "address": "192.168.56.21",
            **_SSH,
        },
    ),
]
