"""The machines of the Vagrantfile: same names, same addresses.

A pyinfra inventory is a file of plain data: groups of hosts, each with what the deploys are to know
of it. No secret belongs in here. The deploys that read it come with a later version.
"""

database_servers = [
    ("db1", {"ssh_hostname": "192.168.56.11", "ssh_user": "vagrant", "hostname": "db1"}),
    ("db2", {"ssh_hostname": "192.168.56.12", "ssh_user": "vagrant", "hostname": "db2"}),
]

backup_hosts = [
    ("backup1", {"ssh_hostname": "192.168.56.21", "ssh_user": "vagrant", "hostname": "backup1"}),
]
