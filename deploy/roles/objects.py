"""What is in a server: roles, databases, and who may do what in them."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from deploy.core.model import DatabaseServer, Estate
from deploy.ops import postgres
from deploy.preflight import password_files


@deploy("objects")
def objects(estate: Estate, declared: DatabaseServer) -> None:
    """Put them there, and report or revoke what is there beside them."""
    postgres.roles(name="roles", server=declared, password_files=password_files(estate, declared))
    postgres.databases(name="databases", server=declared)
    for database in declared.databases:
        postgres.database(name=f"database {database.name}", server=declared, declared=database)
