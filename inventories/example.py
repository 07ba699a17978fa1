"""An inventory to copy: one database server, one backup host.

Copy it to a file of your own (`inventories/ours.py`), and `group_data/example.py` to
`group_data/ours.py`, which declares what the hosts are to be. `hostname` is what a host calls
itself, `address` is where the other hosts find it. No secret belongs in here: passwords,
identities and private keys never lie in an inventory.
"""

database_servers = [
    (
        "db1.example.org",
        {
            "ssh_hostname": "192.0.2.11",
            "hostname": "db1.example.org",
            "address": "192.0.2.11",
            "tls_names": ["db1"],
        },
    ),
]

# A copy of db1 that follows it and can be read; it has what db1 has. Take the marks away if you
# want one; docs/runbooks/promote-a-replica.md has the day on which db1 is lost.
# replicas = [
#     (
#         "db2.example.org",
#         {
#             "ssh_hostname": "192.0.2.12",
#             "hostname": "db2.example.org",
#             "address": "192.0.2.12",
#             "tls_names": ["db2"],
#             "primary": "db1.example.org",
#         },
#     ),
# ]

backup_hosts = [
    (
        "backup1.example.org",
        {
            "ssh_hostname": "192.0.2.21",
            "hostname": "backup1.example.org",
            "address": "192.0.2.21",
        },
    ),
]
