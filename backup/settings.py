"""Settings: one TOML file, credentials, `STRONGROOM_*`, and `DATABASE_URL` for the simplest case.

Stronger sources first: the command line, `STRONGROOM_*`, the credentials directory, the file, and
last `DATABASE_URL` or `POSTGRES_*`. Whatever is not known is refused: a typo must not switch a
backup off. `docs/settings.md` is the operator's page.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
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

from backup.environment import (
    CONFIG_VARIABLE,
    CREDENTIALS_VARIABLE,
    DSN_CREDENTIAL,
    config_path,
    database_credentials,
    default_state_directory,
    fallback_dsn,
)
from backup.errors import SettingsError
from backup.evidence.controls import FrameworkName
from backup.repository.layout import encode_name
from backup.retentionpolicy import RetentionSettings
from backup.sections import (
    Checks,
    Crontab,
    DaemonSettings,
    DatabaseSettings,
    Digests,
    Duration,
    LogFormat,
    MonitoringSettings,
    Name,
    NotifySettings,
    SchedulesSettings,
    ZoneName,
)
from backup.storesettings import GivenCopy, GivenS3
from backup.testpolicy import GivenExclusion, GivenWaiver, Text

PREFIX = "STRONGROOM_"
# What the settings that are being loaded are read from, besides the command line.
_IN_FORCE: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("_IN_FORCE", default=())
__all__ = ["CONFIG_VARIABLE", "CREDENTIALS_VARIABLE", "Settings", "config_path", "load"]

_HINT = "docs/settings.md lists every setting"


class Settings(BaseSettings):
    """What every verb may need. Durations are seconds, or ISO 8601 (`PT10M`)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        case_sensitive=False,
        hide_input_in_errors=True,  # it may be a password, and tracebacks are logged
    )

    repository: Name | None = None
    state_directory: Path
    dsn: Annotated[SecretStr, Field(min_length=1)] | None = None
    name: Name | None = None
    databases: dict[Name, DatabaseSettings] = {}
    schedule: Crontab | None = None
    zone: ZoneName = "UTC"
    schedules: SchedulesSettings = SchedulesSettings()
    daemon: DaemonSettings = DaemonSettings()
    notify: NotifySettings = NotifySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log_format: LogFormat = "text"
    allowed_signers: Path | None = None
    identity: Path | None = None
    jobs: Annotated[int, Field(ge=1, le=64)] = 2
    compression_level: Annotated[int, Field(ge=1, le=19)] = 1
    lock_timeout: Duration = timedelta(minutes=1)
    stall_timeout: Duration = timedelta(minutes=10)
    digests: Digests = "weekly"
    tool_directories: tuple[Path, ...] = ()
    credentials_directory: Path | None = None
    scratch_directory: Path | None = None
    reports_directory: Path | None = None
    rto_target: Duration | None = None
    rpo_target: Duration | None = None
    checks: Checks = ()
    check_timeout: Duration = timedelta(minutes=5)
    smoke_command: tuple[Text, ...] = ()
    waivers: tuple[GivenWaiver, ...] = ()
    exclusions: tuple[GivenExclusion, ...] = ()
    frameworks: tuple[FrameworkName, ...] = ()
    retention: RetentionSettings = RetentionSettings()
    s3: GivenS3 = GivenS3()
    copies: tuple[GivenCopy, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return what `load` found to read from, and never the process's own environment."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings, *_IN_FORCE.get())

    @field_validator("copies")
    @classmethod
    def _require_different_names(cls, copies: tuple[GivenCopy, ...]) -> tuple[GivenCopy, ...]:
        names = [copy.name for copy in copies]
        if len(set(names)) != len(names):
            raise ValueError("two copies have the same name")
        return copies

    @model_validator(mode="after")
    def _require_a_policy_for_locks(self) -> Self:
        home = [self.retention.of_database(one.retention) for one in self.databases.values()]
        home = home or [self.retention.policy()]
        places = [("s3", self.s3, home)]
        for copy in self.copies:
            own = home if copy.retention is None else [copy.retention.policy()]
            places.append((f"copy {copy.name}", copy.s3 or self.s3, own))
        for place, s3, policies in places:
            if s3.is_lock_derived and any(policy.is_empty for policy in policies):
                raise ValueError(
                    f"{place}: lock needs a retention that keeps something, or lock_for: how long"
                    " nobody can delete an object"
                )
        return self

    def for_database(self, name: str) -> Settings:
        """Return the settings as they are for one database of `databases`.

        Raises `SettingsError` for a name that is not there.
        """
        if name not in self.databases:
            raise SettingsError(
                f"no database {name!r} is in the settings",
                hint=f"the settings have: {', '.join(sorted(self.databases)) or 'none'}",
            )
        own = self.databases[name]
        given = {key: getattr(own, key) for key in own.model_fields_set if key in _OF_A_DATABASE}
        return self.model_copy(update={**given, "dsn": own.dsn, "name": name})

    def selected(self, name: str | None) -> Settings:
        """Return the settings for a database by name; None: for the only one there is.

        Settings without `databases` have one, and are returned as they are.
        """
        if not self.databases:
            return self if name is None else self.model_copy(update={"name": name})
        if name is None and len(self.databases) > 1:
            raise SettingsError(
                "which database is not said",
                hint=f"name one of the settings: {', '.join(sorted(self.databases))}",
            )
        return self.for_database(name or next(iter(self.databases)))


_OF_A_DATABASE = (DatabaseSettings.model_fields.keys() & Settings.model_fields.keys()) - {
    "retention"
}


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
        reset = _IN_FORCE.set(tuple(_sources(path, environment, is_root=is_root)))
        try:
            found = Settings(**given)
        finally:
            _IN_FORCE.reset(reset)
        return _with_databases(found, environment, is_dsn_given="dsn" in given)
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


def _with_databases(
    found: Settings, environment: Mapping[str, str], *, is_dsn_given: bool
) -> Settings:
    """Return the settings with the credentials `dsn-<name>`.

    A `dsn` on the command line is for one run and leaves `databases` aside. In any other source
    the two are a contradiction; `DATABASE_URL` may just happen to be in the environment.
    """
    if is_dsn_given:
        return found.model_copy(update={"databases": {}})
    secrets = database_credentials(environment)
    if unknown := secrets.keys() - {encode_name(name) for name in found.databases}:
        raise SettingsError(
            f"credential {DSN_CREDENTIAL}{min(unknown)}: its database is not in the settings",
            hint=f"the settings have: {', '.join(sorted(found.databases)) or 'none'}",
        )
    if not found.databases:
        return found
    if found.dsn is not None and found.dsn.get_secret_value() != fallback_dsn(environment):
        raise SettingsError(
            "both `dsn` and `databases` are set", hint="move `dsn` into the table of its database"
        )
    databases = {
        name: one.model_copy(update={"dsn": secrets[encode_name(name)]})
        if encode_name(name) in secrets
        else one
        for name, one in found.databases.items()
    }
    return found.model_copy(update={"dsn": None, "databases": databases})


def _sources(
    path: Path, environment: Mapping[str, str], *, is_root: bool
) -> list[PydanticBaseSettingsSource]:
    """Return what is read besides the command line, the strongest first."""
    credentials = environment.get(CREDENTIALS_VARIABLE)
    fallback: dict[str, Any] = {
        "state_directory": default_state_directory(environment, is_root=is_root),
        "jobs": min(4, len(os.sched_getaffinity(0))),
    }
    if credentials:
        fallback["credentials_directory"] = credentials
    if dsn := fallback_dsn(environment):
        fallback["dsn"] = dsn
    sources: list[PydanticBaseSettingsSource] = []
    if any(variable.upper().startswith(PREFIX) for variable in environment):
        sources.append(_Environment(Settings, environment))
    if credentials:
        sources.append(SecretsSettingsSource(Settings, secrets_dir=credentials, env_prefix=""))
    if path.is_file():
        sources.append(TomlConfigSettingsSource(Settings, toml_file=path))
    sources.append(InitSettingsSource(Settings, init_kwargs=fallback))
    return sources


class _Environment(EnvSettingsSource):
    """`STRONGROOM_*` out of the environment that was handed in, not the process's own."""

    def __init__(self, settings_cls: type[BaseSettings], environment: Mapping[str, str]) -> None:
        self._given = environment
        super().__init__(settings_cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {key.lower(): value for key, value in self._given.items()}


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
        f"{'.'.join(str(step) for step in item['loc'])}: {_said(item['msg'])}"
        for item in error.errors(include_url=False, include_input=False)
    )
    return f"settings (file {path}, STRONGROOM_*, command line): {'; '.join(problems)}"


def _said(message: str) -> str:
    """Return a message of pydantic's as ours begin; what it quotes stays as it is."""
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
