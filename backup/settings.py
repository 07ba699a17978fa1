"""Settings: one TOML file, credentials, `STRONGROOM_*`, and `DATABASE_URL` for the simplest case.

Stronger sources first: the command line, `STRONGROOM_*`, the credentials directory, the file, and
last `DATABASE_URL` or `POSTGRES_*`. Whatever is not known is refused: a typo must not switch a
backup off. `docs/settings.md` is the operator's page.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as MalformedSource

from backup.errors import SettingsError
from backup.evidence.controls import FrameworkName
from backup.retentionpolicy import RetentionSettings
from backup.testpolicy import GivenExclusion, GivenQuestion, GivenWaiver, Text

PREFIX = "STRONGROOM_"
CONFIG_VARIABLE = "STRONGROOM_CONFIG"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
_FILE_NAME = "strongroom.toml"
_HINT = "docs/settings.md lists every setting"


def _seconds(value: object) -> object:
    """A number of seconds comes as text from the environment and the command line."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta())]


class Settings(BaseSettings):
    """What every verb may need. Durations are seconds, or ISO 8601 (`PT10M`)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        case_sensitive=False,
        hide_input_in_errors=True,  # it may be a password, and tracebacks are logged
    )

    repository: Annotated[str, Field(min_length=1)] | None = None
    state_directory: Path
    dsn: Annotated[SecretStr, Field(min_length=1)] | None = None
    name: Annotated[str, Field(min_length=1)] | None = None
    allowed_signers: Path | None = None
    identity: Path | None = None
    jobs: Annotated[int, Field(ge=1, le=64)] = 2
    compression_level: Annotated[int, Field(ge=1, le=19)] = 1
    lock_timeout: Duration = timedelta(minutes=1)
    stall_timeout: Duration = timedelta(minutes=10)
    digests: Literal["never", "weekly", "always"] = "weekly"
    tool_directories: tuple[Path, ...] = ()
    credentials_directory: Path | None = None
    scratch_directory: Path | None = None
    reports_directory: Path | None = None
    rto_target: Duration | None = None
    rpo_target: Duration | None = None
    checks: tuple[GivenQuestion, ...] = ()
    check_timeout: Duration = timedelta(minutes=5)
    smoke_command: tuple[Text, ...] = ()
    waivers: tuple[GivenWaiver, ...] = ()
    exclusions: tuple[GivenExclusion, ...] = ()
    frameworks: tuple[FrameworkName, ...] = ()
    retention: RetentionSettings = RetentionSettings()

    @field_validator("checks")
    @classmethod
    def _require_different_ids(cls, checks: tuple[GivenQuestion, ...]) -> tuple[GivenQuestion, ...]:
        ids = [check.id for check in checks]
        if len(set(ids)) != len(ids):
            raise ValueError("two checks have the same id")
        return checks


def load(
    *,
    environment: Mapping[str, str],
    is_root: bool,
    config: Path | None = None,
    config_may_be_missing: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings in force, or raise `SettingsError` naming source, field and remedy.

    `config` names a file that must exist, unless it is about to be written; without it the
    default file is read if it is there. A file that `STRONGROOM_CONFIG` names must exist too.
    """
    path = config or config_path(environment, is_root=is_root)
    is_named = config is not None or bool(environment.get(CONFIG_VARIABLE))
    if is_named and not config_may_be_missing and not path.is_file():
        raise SettingsError(
            f"settings file {path} does not exist",
            hint=f"check --config and {CONFIG_VARIABLE}, or run `strongroom init`",
        )
    _refuse_unknown_variables(environment)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        return _sources(path, environment, is_root=is_root)(**given)
    except ValidationError as error:
        raise SettingsError(_describe(error, path), hint=_HINT) from error
    except MalformedSource as error:
        raise SettingsError(f"settings (STRONGROOM_*): {error}", hint=_HINT) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"settings file {path} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {path} is not TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"reading settings: {error}") from error


def config_path(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """Return where the settings file is looked for."""
    if named := environment.get(CONFIG_VARIABLE):
        return Path(named)
    if is_root:
        return Path("/etc/strongroom") / _FILE_NAME
    base = environment.get("XDG_CONFIG_HOME") or f"{_home(environment)}/.config"
    return Path(base) / "strongroom" / _FILE_NAME


def _default_state_directory(environment: Mapping[str, str], *, is_root: bool) -> Path:
    if given := environment.get("STATE_DIRECTORY"):  # systemd's StateDirectory=
        return Path(given.split(":")[0])
    if is_root:
        return Path("/var/lib/strongroom")
    base = environment.get("XDG_STATE_HOME") or f"{_home(environment)}/.local/state"
    return Path(base) / "strongroom"


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or str(Path.home())


def _sources(path: Path, environment: Mapping[str, str], *, is_root: bool) -> type[Settings]:
    """Return a `Settings` that reads this file and environment, and nothing else."""
    credentials = environment.get(CREDENTIALS_VARIABLE)
    fallback: dict[str, Any] = {
        "state_directory": _default_state_directory(environment, is_root=is_root),
        "jobs": min(4, len(os.sched_getaffinity(0))),
    }
    if credentials:
        fallback["credentials_directory"] = credentials
    if dsn := _fallback_dsn(environment):
        fallback["dsn"] = dsn

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del env_settings, dotenv_settings, file_secret_settings
            sources: list[PydanticBaseSettingsSource] = [
                init_settings,
                _Environment(settings_cls, environment),
            ]
            if credentials:
                sources.append(
                    SecretsSettingsSource(settings_cls, secrets_dir=credentials, env_prefix="")
                )
            if path.is_file():
                sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
            sources.append(InitSettingsSource(settings_cls, init_kwargs=fallback))
            return tuple(sources)

    return Loaded


class _Environment(EnvSettingsSource):
    """`STRONGROOM_*` out of the environment that was handed in, not the process's own."""

    def __init__(self, settings_cls: type[BaseSettings], environment: Mapping[str, str]) -> None:
        self._given = environment
        super().__init__(settings_cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {key.lower(): value for key, value in self._given.items()}


def _fallback_dsn(environment: Mapping[str, str]) -> str | None:
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


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields} | {CONFIG_VARIABLE}
    for variable in environment:
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            raise SettingsError(
                f"environment variable {variable} is not a setting",
                hint=f"known: {', '.join(sorted(known))}",
            )


def _describe(error: ValidationError, path: Path) -> str:
    # The input is left out: it may be a password.
    problems = (
        f"{'.'.join(str(step) for step in item['loc'])}: {item['msg'].lower()}"
        for item in error.errors(include_url=False, include_input=False)
    )
    return f"settings (file {path}, STRONGROOM_*, command line): {'; '.join(problems)}"
