"""What is asked of a PostgreSQL server: its settings, its roles, what they may do."""

from __future__ import annotations

from typing import Final

from deploy.core.checks import Probe, Scope, Target
from deploy.core.types import ADMINISTRATOR

_APPLY: Final = "strongroom host apply"
_OURS: Final = "nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
_NOT_OF_AN_EXTENSION: Final = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {0} AND deptype = 'e')"
)


def _setting(  # noqa: PLR0917 - rows of a table
    id_: str, what: str, names: tuple[str, ...], is_bad: str, expected: str, hint: str = _APPLY
) -> Probe:
    """Return a probe of settings; an item is one that `is_bad` holds of."""
    listed = ", ".join(f"'{name}'" for name in names)
    return Probe(
        id=id_,
        what=what,
        language="sql",
        scope="cluster",
        text=f"SELECT name || ' = ' || setting FROM pg_settings WHERE name IN ({listed})"
        f" AND ({is_bad}) ORDER BY name",
        expected=expected,
        hint=hint,
    )


def _query(  # noqa: PLR0917 - rows of a table
    id_: str, what: str, text: str, expected: str, hint: str, scope: Scope = "cluster"
) -> Probe:
    """Return a probe that must find nothing."""
    return Probe(
        id=id_, what=what, language="sql", scope=scope, text=text, expected=expected, hint=hint
    )


def _roles(id_: str, what: str, column: str, attribute: str) -> Probe:
    """Return a probe of a role's attribute: those that have it are those that may."""

    def declared(target: Target) -> frozenset[str]:
        assert target.server is not None
        roles = (role.name for role in target.server.all_roles() if getattr(role, attribute))
        return frozenset({ADMINISTRATOR, *roles})

    return Probe(
        id=id_,
        what=what,
        language="sql",
        scope="cluster",
        text=f"SELECT rolname FROM pg_roles WHERE {column} ORDER BY 1",
        expected="the administrator and the roles that are declared so",
        hint=f"declare it, or take it away; then {_APPLY}",
        required=declared,
    )


def _memberships(target: Target) -> frozenset[str]:
    assert target.server is not None
    return frozenset(
        f"{role.name} in {group}"
        for role in target.server.all_roles()
        for group in role.member_of
        if group.startswith("pg_")
    )


def _declared_roles(target: Target) -> frozenset[str]:
    assert target.server is not None
    return frozenset({ADMINISTRATOR, *(role.name for role in target.server.all_roles())})


def _extensions(target: Target) -> frozenset[str]:
    assert target.server is not None
    return frozenset(target.server.extensions_allowed)


def _limits(target: Target) -> frozenset[str]:
    assert target.server is not None
    limits = {role.name: role.connection_limit for role in target.server.all_roles()}
    return frozenset(f"{name} = {limit}" for name, limit in limits.items())


def _has_pgaudit(target: Target) -> bool:
    return target.server is not None and "pgaudit" in target.server.preload_libraries


def _has_auth_delay(target: Target) -> bool:
    return target.server is not None and "auth_delay" in target.server.preload_libraries


def _has_backup(target: Target) -> bool:
    return target.server is not None and target.server.backup is not None


SETTINGS: Final = (
    _setting(
        *("data-checksums", "data checksums are on", ("data_checksums",), "setting <> 'on'", "on"),
        hint="stop the cluster and run pg_checksums --enable",
    ),
    _setting(
        "log-destination",
        "the log goes to files that others can't read, or to the journal",
        ("log_destination", "log_file_mode"),
        "name = 'log_destination' AND setting !~ '^(stderr|csvlog|jsonlog|syslog)'"
        " OR name = 'log_file_mode' AND setting NOT IN ('0600', '0640')",
        "stderr, csvlog, jsonlog or syslog; files of mode 0600 or 0640",
    ),
    _setting(
        "log-connections",
        "every connection is logged",
        ("log_connections", "log_disconnections"),
        "setting IN ('off', '')",
        "log_connections and log_disconnections are on",
    ),
    _setting(
        "log-ddl",
        "every change of definitions is logged",
        ("log_statement",),
        "setting = 'none'",
        "log_statement is ddl, mod or all",
    ),
    _setting(
        *("log-replication", "commands of replication are logged", ("log_replication_commands",)),
        *("setting <> 'on'", "on"),
    ),
    _setting(
        "log-line-prefix",
        "a line of the log tells when, who, from where",
        ("log_line_prefix",),
        "setting !~ '%[mtn]' OR setting !~ '%u' OR setting !~ '%d' OR setting !~ '%[rh]'"
        " OR setting !~ '%p'",
        "a prefix with time, process, user, database and remote host",
    ),
    _setting(
        "debug-print",
        "no plans with constants in the log",
        ("debug_print_parse", "debug_print_rewritten", "debug_print_plan"),
        "setting <> 'off'",
        "debug_print_* are off",
    ),
    _setting(
        "password-encryption",
        "passwords are kept as SCRAM verifiers",
        ("password_encryption",),
        "setting <> 'scram-sha-256'",
        "scram-sha-256",
    ),
    _setting(
        "listen-addresses",
        "the server listens on addresses that are named",
        ("listen_addresses",),
        "setting ~ '[*]|0[.]0[.]0[.]0|::(,|$| )'",
        "no address that stands for all",
    ),
    _setting(
        "connection-reserve",
        "some connections are kept for the administrator",
        ("superuser_reserved_connections",),
        "setting::int < 3",
        "3 or more",
    ),
    _setting(
        "authentication-timeout",
        "who does not come in soon is put out",
        ("authentication_timeout",),
        "setting::int > 60",
        "60 seconds or less",
    ),
    Probe(
        id="authentication-delay",
        what="a wrong password costs time",
        language="sql",
        scope="cluster",
        text="SELECT 'auth_delay.milliseconds = ' || coalesce(max(setting), 'not set')"
        " FROM pg_settings WHERE name = 'auth_delay.milliseconds'"
        " HAVING coalesce(max(setting), '0')::int NOT BETWEEN 100 AND 10000",
        expected="100 ms to 10 s, where auth_delay is declared",
        hint=_APPLY,
        applies=_has_auth_delay,
    ),
    Probe(
        id="pgaudit",
        what="pgaudit records changes of roles and definitions",
        language="sql",
        scope="cluster",
        text="SELECT 'pgaudit.log = ' || coalesce(current_setting('pgaudit.log', true), 'not set')"
        " WHERE coalesce(current_setting('pgaudit.log', true), '') !~ '(all|role.*ddl|ddl.*role)'"
        " OR current_setting('shared_preload_libraries') !~ 'pgaudit'",
        expected="pgaudit is loaded, pgaudit.log has role and ddl",
        hint=_APPLY,
        applies=_has_pgaudit,
    ),
    _query(
        "running-configuration",
        "the running configuration is that of the files",
        "SELECT name || ' waits for a restart' FROM pg_settings WHERE pending_restart"
        " UNION ALL SELECT coalesce(name, sourcefile) || ': ' || error FROM pg_file_settings"
        " WHERE error IS NOT NULL UNION ALL SELECT f || ' is newer than what is loaded' FROM"
        " unnest(ARRAY[current_setting('config_file'), current_setting('hba_file'),"
        " current_setting('ident_file')]) f WHERE (pg_stat_file(f)).modification"
        " > pg_conf_load_time()",
        "nothing waits to be loaded, nothing is in error",
        f"{_APPLY}; it reloads, or restarts where that is needed",
    ),
    _query(
        "auto-conf",
        "nothing is overridden by ALTER SYSTEM",
        "SELECT name || ' = ' || coalesce(setting, '') FROM pg_file_settings"
        " WHERE sourcefile LIKE '%/postgresql.auto.conf'",
        "postgresql.auto.conf sets nothing",
        "ALTER SYSTEM RESET what is named, and declare it",
    ),
    _query(
        "archiver",
        "archiving works, where it is on",
        "SELECT last_failed_wal || ' failed at ' || last_failed_time FROM pg_stat_archiver"
        " WHERE current_setting('archive_mode') <> 'off' AND last_failed_time"
        " > coalesce(last_archived_time, '-infinity')",
        "the last attempt was a success",
        "read the server's log for the archive command",
    ),
    _query(
        "sessions-encrypted",
        "every session from another host is encrypted",
        "SELECT DISTINCT usename || ' from ' || client_addr FROM pg_stat_activity"
        " JOIN pg_stat_ssl USING (pid) WHERE client_addr IS NOT NULL AND NOT ssl",
        "no session without TLS",
        "pg_terminate_backend what is named; hostssl lines keep it out",
    ),
)

ROLES: Final = (
    _roles("superusers", "superusers are the declared ones", "rolsuper", "is_superuser"),
    _roles("create-role", "roles that make roles", "rolcreaterole", "can_create_roles"),
    _roles("create-database", "roles that make databases", "rolcreatedb", "can_create_databases"),
    _roles(
        "bypass-rls",
        "roles that row security does not bind",
        "rolbypassrls",
        "bypasses_row_security",
    ),
    _roles(
        "replication-roles", "roles that may copy the cluster", "rolreplication", "can_replicate"
    ),
    Probe(
        id="undeclared-roles",
        what="every role is declared",
        language="sql",
        scope="cluster",
        text="SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY 1",
        expected="the declared roles and no others",
        hint=f'declare it, or DROP ROLE; {_APPLY} with undeclared = "revoke" locks it',
        required=_declared_roles,
    ),
    _query(
        "stale-roles",
        "no role that may log in is past its time",
        "SELECT rolname || ' until ' || rolvaliduntil FROM pg_roles WHERE rolcanlogin"
        " AND rolvaliduntil < now()",
        "none",
        "take the role out of the inventory, or extend valid_until after asking who needs it",
    ),
    Probe(
        id="role-limits",
        what="each role's limit of connections is the declared one",
        language="sql",
        scope="cluster",
        text="SELECT rolname || ' = ' || rolconnlimit FROM pg_roles"
        " WHERE rolname !~ '^(pg_.*|postgres)$' ORDER BY 1",
        expected="the limits that are declared",
        hint=_APPLY,
        judge=lambda target, items: tuple(
            item
            for item in items
            if item.rpartition(" = ")[0] in _declared_roles(target) and item not in _limits(target)
        ),
    ),
    _query(
        "verifiers",
        "every password is a SCRAM verifier",
        "SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL"
        " AND rolpassword !~ '^SCRAM-SHA-256'",
        "none that is md5",
        "strongroom host rotate passwords",
    ),
    Probe(
        id="predefined-membership",
        what="members of PostgreSQL's own powerful roles",
        language="sql",
        scope="cluster",
        text="SELECT u.rolname || ' in ' || g.rolname FROM pg_auth_members m JOIN pg_roles g"
        " ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member WHERE g.rolname LIKE 'pg\\_%'"
        " AND u.rolname NOT LIKE 'pg\\_%' ORDER BY 1",
        expected="the memberships that are declared",
        hint=f"REVOKE what is named, or declare it; then {_APPLY}",
        required=_memberships,
    ),
    _query(
        "public-connect",
        "nobody connects by being PUBLIC",
        "SELECT datname || ': ' || privilege_type FROM pg_database, aclexplode(coalesce(datacl,"
        " acldefault('d', datdba))) a WHERE a.grantee = 0 AND NOT datistemplate"
        " AND datname <> 'postgres' ORDER BY 1",
        "PUBLIC has no right on a database",
        "REVOKE ALL ON DATABASE … FROM PUBLIC",
    ),
    _query(
        "passwords-in-catalogues",
        "no subscription holds a password",
        "SELECT 'subscription ' || subname FROM pg_subscription WHERE subconninfo ~* 'password'",
        "none",
        "use a passfile, or a certificate",
    ),
)

DATABASES: Final = (
    Probe(
        id="extensions",
        what="extensions are on the list",
        language="sql",
        scope="database",
        text="SELECT extname FROM pg_extension ORDER BY 1",
        expected="extensions_allowed, or fewer",
        hint="DROP EXTENSION what is named, or add it to extensions_allowed after a look at it",
        allowed=_extensions,
    ),
    _query(
        "security-definer",
        "functions with their owner's rights fix their search_path",
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n"
        f" ON n.oid = pronamespace WHERE prosecdef AND {_OURS} AND"
        f" {_NOT_OF_AN_EXTENSION.format('p.oid')} AND NOT EXISTS (SELECT FROM unnest(proconfig) c"
        " WHERE c LIKE 'search_path=%')",
        "SET search_path on each",
        "ALTER FUNCTION … SET search_path = pg_catalog, pg_temp",
        "database",
    ),
    _query(
        "untrusted-languages",
        "no language that reaches the host",
        "SELECT lanname FROM pg_language WHERE lanispl AND NOT lanpltrusted",
        "none",
        "DROP EXTENSION what is named",
        "database",
    ),
    _query(
        "rls-forced",
        "row security binds the table's owner too",
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        f" WHERE relrowsecurity AND NOT relforcerowsecurity AND {_OURS} AND EXISTS (SELECT FROM"
        " pg_roles r WHERE r.oid = relowner AND rolcanlogin)",
        "FORCE ROW LEVEL SECURITY where the owner may log in",
        "ALTER TABLE … FORCE ROW LEVEL SECURITY, or an owner without login",
        "database",
    ),
    _query(
        "public-create",
        "PUBLIC creates nothing in any schema",
        "SELECT nspname FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))"
        f" a WHERE a.grantee = 0 AND privilege_type = 'CREATE' AND {_OURS}",
        "none",
        "REVOKE CREATE ON SCHEMA … FROM PUBLIC",
        "database",
    ),
    _query(
        "passwords-in-mappings",
        "no user mapping holds a password",
        "SELECT usename || ' on ' || srvname FROM pg_user_mappings, unnest(umoptions) o"
        " WHERE o ~* '^password'",
        "none",
        "use a passfile, or a certificate",
        "database",
    ),
    Probe(
        id="backup-reads-everything",
        what="the backup role reads every table, sequence and large object",
        language="sql",
        scope="database",
        text="SELECT 'database' WHERE NOT has_database_privilege('@backup_role@',"
        " current_database(), 'CONNECT')"
        " UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE"
        f" {_OURS} AND NOT has_schema_privilege('@backup_role@', oid, 'USAGE')"
        " UNION ALL SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n"
        f" ON n.oid = relnamespace WHERE {_OURS} AND relkind IN ('r', 'p', 'm') AND"
        " NOT has_table_privilege('@backup_role@', c.oid, 'SELECT')"
        " UNION ALL SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n"
        f" ON n.oid = relnamespace WHERE {_OURS} AND CASE WHEN relkind = 'S' THEN"
        " NOT has_sequence_privilege('@backup_role@', c.oid, 'SELECT') ELSE false END"
        " UNION ALL SELECT c.oid::regclass || ': row security' FROM pg_class c"
        " WHERE relrowsecurity AND NOT (SELECT rolbypassrls FROM pg_roles WHERE rolname ="
        " '@backup_role@') UNION ALL SELECT 'large object ' || l.oid FROM pg_largeobject_metadata l"
        " WHERE current_setting('lo_compat_privileges') = 'off' AND NOT EXISTS (SELECT FROM"
        " aclexplode(lomacl) a WHERE a.grantee = (SELECT oid FROM pg_roles"
        " WHERE rolname = '@backup_role@') AND privilege_type = 'SELECT')",
        expected="nothing that @backup_role@ can't read",
        hint=f"{_APPLY}; for large objects see backup.large_objects in docs/provisioning.md",
        applies=_has_backup,
    ),
)
SERVER_PROBES: Final = (*SETTINGS, *ROLES, *DATABASES)
