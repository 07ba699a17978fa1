"""A server's settings: what is safe, what fits the machine, what was declared; and as a file.

The declared settings win over the formula's, never over those that keep the server safe.
"""

from __future__ import annotations

from typing import Final

from deploy.core.layout import host_certificates
from deploy.core.model import DatabaseServer
from deploy.core.tuning import Tuned, tune

# A replica that was away for more of the write-ahead log than this has to be made anew.
SLOT_KEEP: Final = "10GB"
FILE_NAME: Final = "50-strongroom.conf"
_HEADER: Final = """\
# Made by `strongroom host apply` out of the inventory: what is changed here is found by
# `strongroom host plan` and undone by the next apply.
"""
# Where a setting may be said to be on in more than one way, or in other units, they are compared
# as the server shows them: see `facts/cluster.py`.
_PRELOAD_SETTINGS: Final = {
    "pgaudit": (
        ("pgaudit.log", "ddl, role", "who changed what, with object names"),
        ("pgaudit.log_catalog", "off", "psql's own look-ups are noise"),
        ("pgaudit.log_parameter", "off", "parameters are personal data"),
    ),
    "auth_delay": (("auth_delay.milliseconds", "500", "guessing passwords takes its time"),),
}


def server_settings(
    server: DatabaseServer, *, memory_mib: int, cpus: int, standby: tuple[Tuned, ...] = ()
) -> tuple[Tuned, ...]:
    """Return every setting of a server with its reason, each once, the strongest saying.

    `standby` are those of a replica (deploy/core/replication.py).
    """
    machine = server.machine
    tuned = tune(
        memory_mib=machine.memory_mib or memory_mib,
        cpus=machine.cpus or cpus,
        storage=machine.storage,
        max_connections=machine.max_connections,
        major=server.package.major,
    )
    declared = tuple(
        Tuned(name=name, value=value, reason="declared in the inventory")
        for name, value in server.settings.items()
    )
    strongest = (*_kept_safe(server), *standby)
    merged = {one.name: one for one in (*_recorded(server), *tuned, *declared, *strongest)}
    return tuple(merged.values())


def render(settings: tuple[Tuned, ...]) -> str:
    """Return the file of settings, each with its reason."""
    lines = (f"# {one.reason}\n{one.name} = {_quoted(one.value)}\n" for one in settings)
    return _HEADER + "".join(lines)


def _quoted(value: str) -> str:
    doubled = value.replace("'", "''").replace("\\", "\\\\")
    return f"'{doubled}'"


def _recorded(server: DatabaseServer) -> tuple[Tuned, ...]:
    """Return what the server writes down; declared settings may say otherwise."""
    given = [
        ("log_connections", "on", "who came in, from where, how"),
        ("log_disconnections", "on", "and for how long"),
        ("log_statement", "ddl", "what changed the schema"),
        ("log_replication_commands", "on", "who copied the cluster"),
        ("log_checkpoints", "on", "how long writing takes"),
        ("log_lock_waits", "on", "who waited for whom"),
        ("log_line_prefix", "%m [%p] %q%u@%d %r %a ", "who, where from, with what"),
        ("log_parameter_max_length", "0", "parameters are personal data"),
        ("log_parameter_max_length_on_error", "0", "parameters are personal data"),
        ("debug_print_parse", "off", "trees hold constants: personal data"),
        ("debug_print_rewritten", "off", "trees hold constants: personal data"),
        ("debug_print_plan", "off", "trees hold constants: personal data"),
        ("authentication_timeout", "15s", "who has not come in by then will not"),
        ("idle_in_transaction_session_timeout", "15min", "forgotten transactions hold up vacuum"),
    ]
    if server.has_replicas:
        given.append(("max_slot_wal_keep_size", SLOT_KEEP, "a replica that is away fills no disk"))
    for library in server.preload_libraries:
        given += _PRELOAD_SETTINGS.get(library, ())
    return tuple(Tuned(name=name, value=value, reason=reason) for name, value, reason in given)


def _kept_safe(server: DatabaseServer) -> tuple[Tuned, ...]:
    """Return what nothing that is declared overrides."""
    addresses = f"127.0.0.1, {server.host.address}"
    compat = server.backup is not None and server.backup.large_objects == "compat"
    given = [
        ("listen_addresses", addresses, "no more than its own address"),
        ("port", str(server.port), "as declared"),
        ("unix_socket_permissions", "0777", "pg_hba.conf decides who gets in"),
        ("password_encryption", "scram-sha-256", "the only kind that pg_hba.conf asks for"),
        ("ssl", "on", "no line of pg_hba.conf admits a connection without"),
        ("ssl_min_protocol_version", "TLSv1.3", "nothing older is needed"),
        ("ssl_prefer_server_ciphers", "on", "the server's order"),
        *(
            (name, value, "placed by strongroom host apply")
            for name, value in host_certificates(server.configuration_directory).items()
        ),
        ("shared_preload_libraries", ", ".join(server.preload_libraries), "as declared"),
        ("lo_compat_privileges", "on" if compat else "off", _LARGE_OBJECTS_REASON[compat]),
    ]
    return tuple(Tuned(name=name, value=value, reason=reason) for name, value, reason in given)


_LARGE_OBJECTS_REASON: Final = {
    False: "every large object has an owner and rights of its own",
    True: "declared: backups read large objects, and every role may write them",
}
