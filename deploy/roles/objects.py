"""What is in a server: roles, databases, and who may do what in them."""

from __future__ import annotations

import os
from typing import Final

from pyinfra.api.deploy import deploy

from deploy.core.model import DatabaseServer, Estate
from deploy.ops import postgres, standby
from deploy.preflight import password_files

UNFILLED: Final = "STRONGROOM_DEPLOY_UNFILLED"


@deploy("objects")
def objects(estate: Estate, declared: DatabaseServer) -> None:
    """Put them there, and report or revoke what is there beside them."""
    postgres.roles(name="roles", server=declared, password_files=password_files(estate, declared))
    names = tuple(replica.replication_slot for replica in estate.replicas_of(declared.host.name))
    standby.slots(name="replication slots", server=declared, names=names)
    postgres.databases(name="databases", server=declared)
    for database in declared.databases:
        postgres.database(name=f"database {database.name}", server=declared, declared=database)
        # What is to be restored into has to be empty.
        if database.initial_sql is not None and UNFILLED not in os.environ:
            postgres.filled(
                name=f"content of database {database.name}", server=declared, declared=database
            )
            postgres.database(
                name=f"rights in database {database.name}", server=declared, declared=database
            )
