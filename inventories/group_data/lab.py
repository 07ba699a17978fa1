"""What the hosts of inventories/lab.py are to be: an application's database, and its backups.

docs/provisioning.md explains every table. Whatever is not known is refused, before any host is
touched.
"""

import os

_NET = os.environ.get("STRONGROOM_LAB", "10.77.20")
_DIRECTORY = os.environ.get("STRONGROOM_LAB_FILES", "~/strongroom")
_RECIPIENT = os.environ.get(
    "STRONGROOM_LAB_RECIPIENT",
    "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
)

site = {
    "name": "lab",
    # On the operator's machine; both are readable by their owner only.
    "pki_directory": f"{_DIRECTORY}/pki",
    "secrets_directory": f"{_DIRECTORY}/secrets",
    # Where SSH and these deploys come from.
    "operator_networks": [f"{_NET}.1/32"],
    "monitoring": {"networks": [f"{_NET}.1/32"]},
}

database_server = {
    "package": {"major": 15},
    "machine": {"max_connections": 100},
    "settings": {"statement_timeout": "10min"},
    "preload_libraries": ["pgaudit", "auth_delay"],
    "extensions_allowed": ["plpgsql", "pgcrypto"],
    "roles": [
        {"name": "portal_owner", "purpose": "owns the portal's tables"},
        {
            "name": "portal_migrate",
            "can_login": True,
            "has_password": True,
            "member_of": ["portal_owner"],
            "purpose": "changes the portal's tables when a version is released",
        },
        {
            "name": "portal_app",
            "can_login": True,
            "has_password": True,
            "connection_limit": 40,
            "settings": {"idle_in_transaction_session_timeout": "1min"},
            "purpose": "the portal itself",
        },
    ],
    "databases": [
        {
            "name": "portal",
            "owner": "portal_owner",
            "extensions": ["pgcrypto"],
            "schemas": [{"name": "portal"}],
            "grants": [
                {"on": "database", "to": "portal_app", "privileges": ["CONNECT"]},
                {"on": "database", "to": "portal_migrate", "privileges": ["CONNECT"]},
                {
                    "on": "schema",
                    "schema_name": "portal",
                    "to": "portal_app",
                    "privileges": ["USAGE"],
                },
                {
                    "on": "tables",
                    "schema_name": "portal",
                    "to": "portal_app",
                    "privileges": ["SELECT", "INSERT", "UPDATE", "DELETE"],
                    "future_of": ["portal_owner", "portal_migrate"],
                },
                {
                    "on": "sequences",
                    "schema_name": "portal",
                    "to": "portal_app",
                    "privileges": ["USAGE", "SELECT"],
                    "future_of": ["portal_owner", "portal_migrate"],
                },
            ],
        },
    ],
    "access_rules": [
        {
            "databases": ["portal"],
            "roles": ["portal_app", "portal_migrate"],
            "address": f"{_NET}.13/32",
            "method": "scram-sha-256",
            "comment": "the portal's application server",
        },
    ],
    # The portal keeps documents as large objects, which backups read one by one.
    "backup": {"large_objects": "grant"},
    "undeclared": "report",
}

backup_host = {
    # `strongroom keygen` makes them; the identities stay off this host.
    "recipients": [_RECIPIENT],
    "wheels_directory": f"{_DIRECTORY}/wheels",
    "postgresql_majors": [15],
    # Files of the secrets directory's `credentials/`. This one is the identity that restore tests
    # open backups with: a key of its own, and one that a firm may keep on a host of its own.
    "credentials": ["restore-test-identity"],
    # The daemon's own settings file (docs/settings.md). A database that a server above declares
    # needs no connection string: it is reached over TLS by the certificate of this host.
    "settings": {
        "repository": "/srv/strongroom",
        "identity": "/etc/strongroom/credentials/restore-test-identity",
        "zone": "Europe/London",
        "rpo_target": "PT2H",
        "rto_target": "PT1H",
        # Tests take every backup themselves: nothing is due while they run, but once a year.
        "databases": {"portal": {"schedule": "7 0 1 1 *"}},
        "retention": {"keep_daily": 14, "keep_weekly": 8, "keep_monthly": 12},
        "schedules": {
            "prune": "30 3 1 1 *",
            "verify": "0 4 1 1 *",
            "restore_test_first": True,
            "restore_test_latest": "0 5 1 1 *",
            "restore_test_random": "0 5 1 1 *",
            "report": "0 6 1 1 *",
        },
    },
}
