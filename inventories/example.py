"""An inventory to copy: one database server, one backup host.

Copy it to a file of your own and change names and addresses. No secret belongs in here: passwords,
identities and private keys never lie in an inventory. The deploys that read it come with a later
version.
"""

database_servers = [
    ("db1.example.org", {"ssh_hostname": "192.0.2.11", "hostname": "db1"}),
]

backup_hosts = [
    ("backup1.example.org", {"ssh_hostname": "192.0.2.21", "hostname": "backup1"}),
]
