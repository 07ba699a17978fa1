"""What a site is declared to be: its hosts, and what each of them has to have.

Values only. `deploy/core/parse.py` makes them out of an inventory, with everything checked that
can be checked without a host.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from backup.settings import Settings
from deploy.core.access import AccessRule
from deploy.core.objects import BackupAccess, Database, Role, Undeclared
from deploy.core.types import (
    Address,
    AnyName,
    Declared,
    HostName,
    Network,
    OperatorPath,
    Port,
    SettingName,
    SettingValue,
)

Major: TypeAlias = Literal[15, 16, 17, 18]
POSTGRESQL_PORT: Final = 5432
NODE_EXPORTER_PORT: Final = 9100
POSTGRES_EXPORTER_PORT: Final = 9187
DAEMON_METRICS_PORT: Final = 9188
# Named after the account that Debian's package runs the exporter as: it comes in by `peer`.
MONITORING_ROLE: Final = Role(
    name="prometheus",
    can_login=True,
    connection_limit=5,
    member_of=("pg_monitor",),
    settings={"default_transaction_read_only": "on"},
    purpose="PostgreSQL's exporter for Prometheus; made by strongroom host apply",
)
# Has no password and no database: it comes in by certificate, for the write-ahead log only.
REPLICATION_ROLE: Final = Role(
    name="strongroom_replica",
    can_login=True,
    can_replicate=True,
    connection_limit=10,
    settings={},
    purpose="streams to replicas; made by strongroom host apply",
)


class Opening(Declared):
    """A port that is open to some networks, beside those that follow from what is declared."""

    port: Port
    protocol: Literal["tcp", "udp"] = "tcp"
    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    comment: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ,.:/()-]{0,100}$")] = ""


class Monitoring(Declared):
    """Exporters for Prometheus, open to the networks that scrape them. None means no exporters."""

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]


class Site(Declared):
    """What all hosts share. The directories are on the operator's machine.

    `pki_directory` is what `strongroom host pki init` made; `secrets_directory` has one password
    a file, `passwords/<role>`; both may be read by their owner only. `operator_networks` are
    where these deploys come from: SSH is open to them alone.
    """

    name: AnyName
    pki_directory: OperatorPath
    secrets_directory: OperatorPath
    operator_networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    monitoring: Monitoring | None = None
    automatic_updates: bool = True
    time_servers: tuple[HostName, ...] = ()


class Package(Declared):
    """Which PostgreSQL: the distribution's own, or one of a repository that is signed (`pgdg`).

    `repository` is its address, without the suite, which follows from the host's Debian;
    `signing_key` is a file on the operator's machine: nothing signed by another key is installed.
    """

    major: Major
    source: Literal["distribution", "pgdg"] = "distribution"
    repository: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:/_-]+$")] | None = None
    signing_key: OperatorPath | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = (self.repository is not None, self.signing_key is not None)
        if given != (self.source == "pgdg",) * 2:
            raise ValueError("source pgdg goes with repository and signing_key, and they with it")
        return self


class Machine(Declared):
    """What the tuning formula starts from; what is not said is read off the host."""

    memory_mib: Annotated[int, Field(ge=256)] | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    storage: Literal["ssd", "hdd"] = "ssd"
    max_connections: Annotated[int, Field(ge=10, le=2000)] = 100


class Host(Declared):
    """One machine. `name` is what it is called in the inventory and calls itself.

    `address` is where other hosts find it; `tls_names` are further names and addresses that its
    certificate vouches for.
    """

    name: HostName
    address: Address
    tls_names: tuple[HostName, ...] = ()
    openings: tuple[Opening, ...] = ()

    def certificate_names(self) -> tuple[str, ...]:
        """Return the names that a client may reach it by, the first being its common name."""
        return (self.name, *(name for name in self.tls_names if name != self.name))


class DatabaseServer(Declared):
    """A PostgreSQL server: the host, its package, and everything in it.

    `replication_slots` are those of others, which they make themselves: they are not reported.
    `is_monitored` follows from the site: then its exporter has a role that sees statistics only.
    `has_replicas` follows from the hosts of the inventory: then there is a role that streams.
    """

    host: Host
    package: Package
    machine: Machine = Machine()
    port: Port = POSTGRESQL_PORT
    settings: Annotated[dict[SettingName, SettingValue], Field(default_factory=dict)]
    preload_libraries: tuple[AnyName, ...] = ("pgaudit",)
    extensions_allowed: tuple[AnyName, ...] = ("plpgsql",)
    roles: tuple[Role, ...] = ()
    databases: tuple[Database, ...] = ()
    access_rules: tuple[AccessRule, ...] = ()
    backup: BackupAccess | None = BackupAccess()
    replication_slots: tuple[AnyName, ...] = ()
    undeclared: Undeclared = "report"
    is_monitored: bool = False
    has_replicas: bool = False

    @property
    def cluster(self) -> str:
        """Debian's name of the cluster: `17/main`."""
        return f"{self.package.major}/main"

    @property
    def data_directory(self) -> str:
        """Return where the cluster's data is on the host."""
        return f"/var/lib/postgresql/{self.cluster}"

    @property
    def configuration_directory(self) -> str:
        """Return where the cluster's configuration is on the host."""
        return f"/etc/postgresql/{self.cluster}"

    def all_roles(self) -> tuple[Role, ...]:
        """Return the declared roles, and those that backups, exporter and replicas come in as."""
        found = self.roles if self.backup is None else (*self.roles, self.backup.as_role())
        found = (*found, MONITORING_ROLE) if self.is_monitored else found
        return (*found, REPLICATION_ROLE) if self.has_replicas else found


class Replica(Declared):
    """A streaming replica: a host with a copy of its primary that follows it and can be read.

    `server` is its primary's declaration on this host: what it has, and what it will be once it is
    promoted. What is in it comes from the primary, and backups are taken there.
    """

    primary: HostName
    server: DatabaseServer

    @property
    def host(self) -> Host:
        """Return the machine."""
        return self.server.host

    @property
    def replication_slot(self) -> str:
        """Return the name of its replication slot on the primary."""
        return f"strongroom_{re.sub('[^a-z0-9_]', '_', self.host.name)}"[:63]


class BackupHost(Declared):
    """A backup host. `settings` is the daemon's settings file as a table (docs/settings.md).

    `parsed` is what the daemon will make of it: the very type that it loads.
    """

    host: Host
    settings: dict[str, Any]
    parsed: Settings
    recipients: Annotated[tuple[str, ...], Field(min_length=1)]
    wheels_directory: OperatorPath
    postgresql_majors: Annotated[tuple[Major, ...], Field(min_length=1)]
    credentials: tuple[AnyName, ...] = ()
    user: AnyName = "strongroom"


class Estate(Declared):
    """A whole site: what is shared, the servers, their replicas, the backup hosts.

    `servers` are those that are written to: a replica is not one of them until it is promoted.
    """

    site: Site
    servers: tuple[DatabaseServer, ...] = ()
    replicas: tuple[Replica, ...] = ()
    backup_hosts: tuple[BackupHost, ...] = ()

    def server(self, name: str) -> DatabaseServer | None:
        """Return the server of this name, which is no replica."""
        return next((server for server in self.servers if server.host.name == name), None)

    def replica(self, name: str) -> Replica | None:
        """Return the replica of this name."""
        return next((one for one in self.replicas if one.host.name == name), None)

    def replicas_of(self, primary: str) -> tuple[Replica, ...]:
        """Return the replicas of a server."""
        return tuple(one for one in self.replicas if one.primary == primary)

    def postgresql_hosts(self) -> tuple[DatabaseServer, ...]:
        """Return all that run PostgreSQL: servers, and replicas as what they are copies of."""
        return (*self.servers, *(replica.server for replica in self.replicas))

    def postgresql_host(self, name: str) -> DatabaseServer | None:
        """Return the server or the replica of this name."""
        return next((one for one in self.postgresql_hosts() if one.host.name == name), None)

    def backup_host(self, name: str) -> BackupHost | None:
        """Return the backup host of this name."""
        return next((one for one in self.backup_hosts if one.host.name == name), None)

    def hosts(self) -> tuple[Host, ...]:
        """Return every machine."""
        return (
            *(server.host for server in self.postgresql_hosts()),
            *(one.host for one in self.backup_hosts),
        )
