"""What a whole estate must agree on: names that exist, rights that can be, hosts that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from deploy.core.access import ALL, REPLICATION
from deploy.core.model import DatabaseServer, Estate
from deploy.core.objects import Database, Role
from deploy.core.types import ADMINISTRATOR, RESERVED_PREFIX

# PostgreSQL 18's roles of its own; those of later majors than a server's are refused by it.
PREDEFINED: Final = frozenset(
    {
        *(
            "pg_checkpoint",
            "pg_create_subscription",
            "pg_database_owner",
            "pg_execute_server_program",
        ),
        *("pg_maintain", "pg_monitor", "pg_read_all_data", "pg_read_all_settings"),
        *("pg_read_all_stats", "pg_read_server_files", "pg_signal_autovacuum_worker"),
        *("pg_signal_backend", "pg_stat_scan_tables", "pg_use_reserved_connections"),
        *("pg_write_all_data", "pg_write_server_files"),
    }
)
# What the deploys set themselves; saying it twice would be saying two things.
OURS: Final = frozenset(
    {
        *("ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_min_protocol_version"),
        *("hba_file", "ident_file", "data_directory", "listen_addresses", "port"),
        *("password_encryption", "shared_preload_libraries", "lo_compat_privileges"),
        *("hot_standby", "primary_conninfo", "primary_slot_name"),
    }
)

# What a server that is replicated cannot be told.
_NOT_REPLICATED: Final = (
    ("wal_level", "minimal", "replicas need more"),
    ("max_wal_senders", "0", "each replica needs one"),
    ("max_replication_slots", "0", "each replica needs one"),
    ("max_slot_wal_keep_size", "-1", "a replica that is away would fill the disk"),
)


def contradictions(estate: Estate) -> tuple[str, ...]:
    """Return one sentence for each thing that does not fit another; none if all is well."""
    found: list[str] = []
    hosts = estate.hosts()
    found += _twice("hosts", (host.name for host in hosts))
    found += _twice("addresses", (str(host.address) for host in hosts))
    for server in estate.servers:
        found += [f"{server.host.name}: {problem}" for problem in _of_server(server)]
    found += _twice("replication slots", (replica.replication_slot for replica in estate.replicas))
    majors = {server.package.major for server in estate.servers}
    for backup_host in estate.backup_hosts:
        if missing := sorted(majors - set(backup_host.postgresql_majors)):
            found.append(
                f"{backup_host.host.name}: postgresql_majors lacks"
                f" {', '.join(map(str, missing))}, which a server has"
            )
    return tuple(found)


def _of_server(server: DatabaseServer) -> Iterator[str]:
    roles = {role.name: role for role in server.all_roles()}
    databases = {database.name for database in server.databases}
    yield from _twice("roles", (role.name for role in server.all_roles()))
    yield from _twice("databases", (database.name for database in server.databases))
    for name in sorted(OURS & set(server.settings)):
        yield f"settings.{name} is set by the deploys themselves, not here"
    if server.has_replicas:
        yield from _not_replicated(server)
    for role in server.all_roles():
        for group in role.member_of:
            if group not in roles and group not in PREDEFINED:
                yield f"role {role.name} is a member of {group}, which is not declared"
    yield from _circles(roles)
    for database in server.databases:
        for problem in _of_database(server, database, set(roles)):
            yield f"database {database.name}: {problem}"
    for number, rule in enumerate(server.access_rules, 1):
        for role_name in rule.roles:
            if role_name not in {*roles, ALL, ADMINISTRATOR}:
                yield f"access rule {number} names role {role_name}, which is not declared"
        for database_name in rule.databases:
            if database_name not in {*databases, ALL, REPLICATION, "postgres"}:
                yield f"access rule {number} names database {database_name}, which is not declared"


def _not_replicated(server: DatabaseServer) -> Iterator[str]:
    for name, wrong, why in _NOT_REPLICATED:
        if server.settings.get(name) == wrong:
            yield f"settings.{name} is {wrong}, and {why}"


def _of_database(server: DatabaseServer, database: Database, roles: set[str]) -> Iterator[str]:
    if database.owner not in roles:
        yield f"its owner {database.owner} is not declared"
    schemas = {schema.name for schema in database.schemas} | {"public"}
    yield from _twice("schemas", (schema.name for schema in database.schemas))
    for schema in database.schemas:
        if schema.owner is not None and schema.owner not in roles:
            yield f"schema {schema.name}: its owner {schema.owner} is not declared"
    for extension in database.extensions:
        if extension not in server.extensions_allowed:
            yield f"extension {extension} is not among extensions_allowed"
    for grant in database.grants:
        if grant.to not in roles and not grant.to.startswith(RESERVED_PREFIX):
            yield f"a grant goes to {grant.to}, which is not declared"
        if grant.schema_name is not None and grant.schema_name not in schemas:
            yield f"a grant is on schema {grant.schema_name}, which is not declared"
        for maker in grant.future_of:
            if maker not in roles:
                yield f"a grant names future_of {maker}, which is not declared"
        if "MAINTAIN" in grant.privileges and server.package.major < 17:
            yield "MAINTAIN is a privilege since PostgreSQL 17"


def _circles(roles: dict[str, Role]) -> Iterator[str]:
    for name, role in roles.items():
        seen: set[str] = set()
        following = list(role.member_of)
        while following:
            group = following.pop()
            if group == name:
                yield f"role {name} is a member of itself, by way of others"
                break
            if group in roles and group not in seen:
                seen.add(group)
                following += roles[group].member_of


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"two {what} are called {name}"
