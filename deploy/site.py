"""The whole site, in order: `pyinfra INVENTORY deploy/site.py`, or `strongroom host apply`.

pyinfra runs this file once for every host, and then every operation for all hosts at once. Between
hosts only a barrier, an operation that all of them have, makes an order.
"""

from __future__ import annotations

from pyinfra.context import host

from deploy.core.firewall import render_backup_host, render_server
from deploy.ops.barrier import barrier
from deploy.roles.backup_host import backup_host
from deploy.roles.base import base
from deploy.roles.firewall import firewall
from deploy.roles.monitoring import monitoring
from deploy.roles.objects import objects
from deploy.roles.server import replica, server
from deploy.run import checked_estate, declared_name

estate = checked_estate()
name = declared_name(host)
database_server = estate.server(name)
declared_replica = estate.replica(name)
declared_backup_host = estate.backup_host(name)

base(site=estate.site)
if database_server is not None:
    firewall(rules=render_server(estate, name))
    server(estate=estate, declared=database_server)
barrier(name="every server is up")
if database_server is not None:
    objects(estate=estate, declared=database_server)
    monitoring(estate=estate, host_name=name)
barrier(name="every server is as declared")
if declared_replica is not None:
    firewall(rules=render_server(estate, name))
    replica(estate=estate, declared=declared_replica)
    monitoring(estate=estate, host_name=name)
barrier(name="every replica is there")
if declared_backup_host is not None:
    firewall(rules=render_backup_host(estate, name))
    backup_host(estate=estate, declared=declared_backup_host)
    monitoring(estate=estate, host_name=name)
