"""What the environment says of the settings: where the file is, and secrets outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from backup.errors import SettingsError

CONFIG_VARIABLE = "STRONGROOM_CONFIG"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
DSN_CREDENTIAL = "dsn-"
_FILE_NAME = "strongroom.toml"


def config_path(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """Return where the settings file is looked for."""
    if named := environment.get(CONFIG_VARIABLE):
        return Path(named)
    if is_root:
        return Path("/etc/strongroom") / _FILE_NAME
    base = environment.get("XDG_CONFIG_HOME") or f"{_home(environment)}/.config"
    return Path(base) / "strongroom" / _FILE_NAME


def default_state_directory(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """Return where this host keeps its keys, locks and journals if nobody says otherwise."""
    if given := environment.get("STATE_DIRECTORY"):  # systemd's StateDirectory=
        return Path(given.split(":")[0])
    if is_root:
        return Path("/var/lib/strongroom")
    base = environment.get("XDG_STATE_HOME") or f"{_home(environment)}/.local/state"
    return Path(base) / "strongroom"


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or str(Path.home())


def fallback_dsn(environment: Mapping[str, str]) -> str | None:
    """Return `DATABASE_URL`, or a DSN from the `POSTGRES_*` of the official container image."""
    if url := environment.get("DATABASE_URL"):
        return url
    host, user = environment.get("POSTGRES_HOST"), environment.get("POSTGRES_USER")
    database = environment.get("POSTGRES_DB") or user
    if not (host and user and database):
        return None
    password = environment.get("POSTGRES_PASSWORD")
    secret = f":{quote(password, safe='')}" if password else ""
    port = environment.get("POSTGRES_PORT", "5432")
    place = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"postgresql://{quote(user, safe='')}{secret}@{place}:{port}/{quote(database, safe='')}"


def database_credentials(environment: Mapping[str, str]) -> dict[str, SecretStr]:
    """Return the connection strings in the credentials directory, by encoded name."""
    directory = environment.get(CREDENTIALS_VARIABLE)
    secrets = {}
    for path in sorted(Path(directory).glob(f"{DSN_CREDENTIAL}*")) if directory else ():
        text = path.read_text(encoding="utf-8").strip()
        if not text:
            raise SettingsError(f"credential {path.name} is empty")
        secrets[path.name.removeprefix(DSN_CREDENTIAL)] = SecretStr(text)
    return secrets
