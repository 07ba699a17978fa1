"""Hosts on which everything is wrong that `host verify` looks for.

Each fault names the check that has to find it, and a text that has to be in what was observed.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.hosts import Lab

CONF = "/etc/postgresql/15/main"
DATA = "/var/lib/postgresql/15/main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is planted, and who has to find it."""

    check: str
    observed: str


SQL = """
SET password_encryption = 'md5';
CREATE ROLE rogue LOGIN SUPERUSER CREATEROLE CREATEDB REPLICATION BYPASSRLS
  PASSWORD 'guessed' VALID UNTIL '2020-01-01';
GRANT pg_read_server_files TO rogue;
ALTER ROLE portal_app CONNECTION LIMIT 5 PASSWORD 'guessed';
GRANT CONNECT ON DATABASE portal TO PUBLIC;
GRANT CREATE ON SCHEMA portal TO PUBLIC;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION postgres_fdw;
CREATE LANGUAGE rogue_language HANDLER plpgsql_call_handler;
CREATE FUNCTION portal.definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
CREATE TABLE portal.secrets (id int);
ALTER TABLE portal.secrets OWNER TO portal_migrate;
ALTER TABLE portal.secrets ENABLE ROW LEVEL SECURITY;
SELECT lo_create(4711);
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
CREATE USER MAPPING FOR rogue SERVER elsewhere OPTIONS (user 'x', password 'y');
CREATE SUBSCRIPTION leaky CONNECTION 'host=nowhere password=y' PUBLICATION p
  WITH (connect = false);
ALTER SYSTEM SET work_mem = '5MB';
SELECT pg_create_physical_replication_slot('forgotten');
"""
SETTINGS = """
log_file_mode = 0644
log_connections = off
log_statement = none
log_replication_commands = off
log_line_prefix = '%m '
debug_print_plan = on
password_encryption = md5
listen_addresses = '*'
superuser_reserved_connections = 2
authentication_timeout = 120
auth_delay.milliseconds = 0
pgaudit.log = none
archive_mode = on
archive_command = 'false'
ssl_min_protocol_version = 'TLSv1.2'
"""
ACCESS = """
local all all trust
host all all 0.0.0.0/0 md5
hostssl portal portal_app 10.0.0.0/24 scram-sha-256
"""
EVERYWHERE = """
set -e
echo 'APT::Periodic::Unattended-Upgrade "0";' >/etc/apt/apt.conf.d/99-fault
systemctl -q disable nftables
systemctl -q disable --now prometheus-node-exporter
echo 'PGPASSWORD=guessed' >>/etc/environment
echo "ALTER ROLE rogue PASSWORD 'guessed'" >/root/.psql_history
echo 'PermitRootLogin yes' >/etc/ssh/sshd_config.d/00-fault.conf
sysctl -qw net.ipv4.conf.all.accept_redirects=1
printf '#!/bin/sh\\nexit 1\\n' >/usr/local/bin/systemd-detect-virt
chmod 755 /usr/local/bin/systemd-detect-virt
nft insert rule inet strongroom input tcp dport 4444 accept
systemd-run -q --unit=stray python3 -m http.server 4444
"""
MACHINE = """
set -e
sed -i '/^Package: postgresql-15$/,/^$/s/^Version: .*/Version: 15.1-0local/' /var/lib/dpkg/status
systemctl -q disable postgresql
systemctl -q stop prometheus-postgres-exporter
rm /etc/systemd/system/postgresql@.service.d/*.conf
systemctl daemon-reload
usermod -p '$6$x$y' postgres
echo 'postgres ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/postgres
"""
BACKUP_HOST = """
set -e
echo 'strongroom ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/strongroom
systemctl -q disable --now strongroom-daemon
mkdir /etc/systemd/system/strongroom-daemon.service.d
printf '[Service]\\nProtectSystem=no\\nPrivateUsers=no\\nSystemCallFilter=\\n' \\
  >/etc/systemd/system/strongroom-daemon.service.d/fault.conf
systemctl daemon-reload
echo AGE-SECRET-KEY-1QQQQ >/root/identity.txt
chmod 644 /etc/strongroom/tls/*.key
"""
RESTART = f"""
set -e
pg_ctlcluster 15 main stop
runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_checksums --disable -D {DATA} >/dev/null
pg_ctlcluster 15 main start
systemd-run -q --unit=plain --uid=postgres env PGPASSWORD=guessed psql \\
  'host=ADDRESS user=portal_app dbname=portal sslmode=disable' -c 'SELECT pg_sleep(600)'
runuser -u postgres -- psql -XAtqc 'SELECT pg_switch_wal()' >/dev/null
for i in $(seq 100); do
  [ "$(runuser -u postgres -- psql -XAtqc 'SELECT failed_count > 0 FROM pg_stat_archiver')" = f ] ||
    break; sleep 0.1
done
echo 'nonsense' >>{CONF}/pg_hba.conf
chmod 755 {DATA}
chmod 666 {CONF}/environment
chmod 644 {CONF}/pg_hba.conf
chmod 640 {CONF}/tls/server.key
chmod 1777 /run/postgresql
chmod 644 /var/log/postgresql/*
touch {CONF}/postgresql.conf
"""
FAULTS_EVERYWHERE = (
    Fault(check="no-pgpassword", observed="/etc/environment"),
    Fault(check="no-passwords-in-files", observed="/root/.psql_history"),
    Fault(check="ssh-by-key", observed="permitrootlogin yes"),
    Fault(check="sudoers", observed="may use sudo"),
    Fault(check="sysctl", observed="accept_redirects = 1"),
    Fault(check="time-synchronized", observed="not synchronized"),
    Fault(check="automatic-updates", observed="off"),
    Fault(check="packet-filter", observed="not loaded at boot"),
    Fault(check="ports", observed="port 4444 answers"),
    Fault(check="ca-key-absent", observed="/etc/ssl/private/ours.key"),
    Fault(check="exporters", observed="prometheus-node-exporter is not enabled"),
)
BACKUP_HOST_FAULTS = (
    *FAULTS_EVERYWHERE,
    Fault(check="daemon", observed="not enabled, not running"),
    Fault(check="daemon-exposure", observed="exposure 3."),
    Fault(check="no-identity", observed="/root/identity.txt"),
    Fault(check="mode-secrets", observed="strongroom_backup.key is -rw-r--r--"),
)
FAULTS = (
    *FAULTS_EVERYWHERE,
    Fault(check="exporter-sees-server", observed="pg_up is not 1"),
    Fault(check="package-origin", observed="no repository has it"),
    Fault(check="latest-minor", observed="15.1-0local where 15."),
    Fault(check="unit", observed="not enabled"),
    Fault(check="server-exposure", observed="exposure 9."),
    Fault(check="mode-data", observed="drwxr-xr-x"),
    Fault(check="mode-configuration", observed="environment is -rw-rw-rw-"),
    Fault(check="mode-access", observed="pg_hba.conf is -rw-r--r--"),
    Fault(check="mode-keys", observed="server.key is -rw-r-----"),
    Fault(check="mode-socket", observed="drwxrwsrwt"),
    Fault(check="mode-log", observed="-rw-r--r--"),
    Fault(check="postgres-locked", observed="has a password"),
    Fault(check="data-checksums", observed="off"),
    Fault(check="log-destination", observed="log_file_mode = 0644"),
    Fault(check="log-connections", observed="log_connections = off"),
    Fault(check="log-ddl", observed="none"),
    Fault(check="log-replication", observed="off"),
    Fault(check="log-line-prefix", observed="%m"),
    Fault(check="debug-print", observed="debug_print_plan = on"),
    Fault(check="password-encryption", observed="md5"),
    Fault(check="listen-addresses", observed="*"),
    Fault(check="connection-reserve", observed="2"),
    Fault(check="authentication-timeout", observed="120"),
    Fault(check="authentication-delay", observed="auth_delay.milliseconds = 0"),
    Fault(check="pgaudit", observed="none"),
    Fault(check="running-configuration", observed="postgresql.conf is newer"),
    Fault(check="auto-conf", observed="work_mem = 5MB"),
    Fault(check="archiver", observed="failed at"),
    Fault(check="sessions-encrypted", observed="portal_app from"),
    Fault(check="superusers", observed="rogue"),
    Fault(check="create-role", observed="rogue"),
    Fault(check="create-database", observed="rogue"),
    Fault(check="bypass-rls", observed="rogue"),
    Fault(check="replication-roles", observed="rogue"),
    Fault(check="undeclared-roles", observed="rogue"),
    Fault(check="replication-slots", observed="forgotten is used by nobody"),
    Fault(check="stale-roles", observed="rogue until 2020-01-01"),
    Fault(check="role-limits", observed="portal_app = 5"),
    Fault(check="verifiers", observed="rogue"),
    Fault(check="predefined-membership", observed="rogue in pg_read_server_files"),
    Fault(check="public-connect", observed="portal: CONNECT"),
    Fault(check="passwords-in-catalogues", observed="subscription leaky"),
    Fault(check="extensions:portal", observed="pg_trgm"),
    Fault(check="security-definer:portal", observed="portal.definer()"),
    Fault(check="untrusted-languages:portal", observed="rogue_language"),
    Fault(check="rls-forced:portal", observed="portal.secrets"),
    Fault(check="public-create:portal", observed="portal"),
    Fault(check="passwords-in-mappings:portal", observed="rogue on elsewhere"),
    Fault(check="backup-reads-everything:portal", observed="large object 4711"),
    Fault(check="hba-parsed", observed="invalid connection type"),
    Fault(check="hba-methods", observed="trust"),
    Fault(check="hba-plain", observed="host all all 0.0.0.0"),
    Fault(check="hba-wide", observed="0.0.0.0"),
    Fault(check="hba-all-all", observed="host all all"),
    Fault(check="hba-superuser", observed="postgres: line"),
    Fault(check="hba-final-reject", observed="no reject ends the host lines"),
    Fault(check="hba-shadowed", observed="portal_app"),
    Fault(check="hba-declared", observed="undeclared: host all all 0.0.0.0/0 md5"),
    Fault(check="tls-minimum", observed="TLS 1.2 is spoken"),
    Fault(check="served-certificate", observed="its common name is strongroom_backup"),
    Fault(check="served-serial", observed="serial="),
    Fault(check="plaintext-refused", observed="password"),
    Fault(check="remote-superuser-refused", observed="password"),
)


def plant(hosts: Lab, name: str, *, ca_key: bytes, certificate: bytes, key: bytes) -> None:
    """Plant them all: on a host that `host apply` made, with a CA's key and a pair that is wrong.

    What the server does not survive comes last, after it has started with the rest.
    """
    hosts.run(name, "runuser -u postgres -- psql -Xq -v ON_ERROR_STOP=1 portal", stdin=SQL.encode())
    hosts.write(name, f"{CONF}/conf.d/99-fault.conf", SETTINGS.encode())
    hosts.run(name, f"cat >{CONF}/pg_hba.conf", stdin=ACCESS.encode())
    hosts.run(name, f"cat >{CONF}/tls/server.crt", stdin=certificate)
    hosts.run(name, f"cat >{CONF}/tls/server.key", stdin=key)
    hosts.write(name, "/etc/ssl/private/ours.key", ca_key, mode=0o600)
    hosts.run(name, "bash -s", stdin=(EVERYWHERE + MACHINE).encode())
    address = hosts.address_of(name)
    hosts.run(name, "bash -s", stdin=RESTART.replace("ADDRESS", address).encode())


def plant_on_backup_host(hosts: Lab, name: str, *, ca_key: bytes) -> None:
    """Plant what can be wrong with a backup host."""
    hosts.write(name, "/etc/ssl/private/ours.key", ca_key, mode=0o600)
    hosts.run(name, "bash -s", stdin=(EVERYWHERE + BACKUP_HOST).encode())
