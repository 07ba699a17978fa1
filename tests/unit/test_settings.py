"""Where settings come from, which source wins, and that a mistake is never passed over."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup.errors import SettingsError
from backup.evidence.verdict import Code
from backup.settings import Settings, config_path, load

SECRET = "hunter2-canary"
DSN = f"postgresql://backup:{SECRET}@db/portal"
CHECK = '[[checks]]\nid = "paid-bills"\nsql = "SELECT count(*) FROM bills"\nexpected = "7"'
WAIVER = (
    '[[waivers]]\ncode = "ROWCOUNT_DIFF"\nwhat = "table public.t"\napprover = "cto@firm"\n'
    'reason = "known"'
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory without any settings."""
    return tmp_path / "home"


def loaded(home: Path, environment: Mapping[str, str] | None = None, **named: Any) -> Settings:
    """Settings of an ordinary user with nothing else around."""
    return load(environment={"HOME": str(home), **(environment or {})}, is_root=False, **named)


def write(path: Path, text: str | bytes) -> Path:
    """A settings file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def dsn_of(settings: Settings) -> str | None:
    """The secret itself."""
    return settings.dsn.get_secret_value() if settings.dsn else None


def test_without_anything_there_are_defaults(home: Path) -> None:
    """Nothing is read but what was handed in."""
    settings = loaded(home)
    assert settings.repository is None
    assert settings.dsn is None
    assert settings.state_directory == home / ".local/state/strongroom"
    assert 1 <= settings.jobs <= 4
    assert settings.compression_level == 1
    assert settings.lock_timeout == timedelta(minutes=1)
    assert settings.stall_timeout == timedelta(minutes=10)
    assert settings.tool_directories == ()


def test_files_are_looked_for_where_such_files_are(tmp_path: Path) -> None:
    """Root's in /etc, a user's in XDG's places, systemd's where it says."""
    home = {"HOME": "/home/ann"}
    assert config_path({}, is_root=True) == Path("/etc/strongroom/strongroom.toml")
    assert config_path(home, is_root=False) == Path("/home/ann/.config/strongroom/strongroom.toml")
    assert config_path({**home, "XDG_CONFIG_HOME": "/x"}, is_root=False) == Path(
        "/x/strongroom/strongroom.toml"
    )
    assert config_path({"STRONGROOM_CONFIG": "/y.toml"}, is_root=True) == Path("/y.toml")
    assert config_path({}, is_root=False).is_absolute()
    named = write(tmp_path / "s.toml", "")

    def state(environment: Mapping[str, str], *, is_root: bool) -> Path:
        return load(environment=environment, is_root=is_root, config=named).state_directory

    assert state({}, is_root=True) == Path("/var/lib/strongroom")
    assert state({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, is_root=True) == Path("/var/lib/a")
    assert state({"XDG_STATE_HOME": "/x"}, is_root=False) == Path("/x/strongroom")


def test_stronger_sources_win(home: Path, tmp_path: Path) -> None:
    """Command line, STRONGROOM_*, credentials, file, and last DATABASE_URL."""
    credentials = tmp_path / "credentials"
    write(credentials / "dsn", "postgresql://credential/x\n")
    file = write(home / ".config/strongroom/strongroom.toml", 'dsn = "postgresql://file/x"\n')
    weakest = {"DATABASE_URL": "postgresql://url/x"}
    with_credentials = {**weakest, "CREDENTIALS_DIRECTORY": str(credentials)}
    with_variable = {**with_credentials, "STRONGROOM_DSN": "postgresql://variable/x"}

    def dsn(environment: Mapping[str, str], **overrides: str | None) -> str | None:
        return dsn_of(loaded(home, environment, overrides=overrides))

    assert dsn(with_variable, dsn="postgresql://line/x") == "postgresql://line/x"
    assert dsn(with_variable, dsn=None) == "postgresql://variable/x"
    assert dsn(with_credentials) == "postgresql://credential/x"
    assert dsn(weakest) == "postgresql://file/x"
    file.unlink()
    assert dsn(weakest) == "postgresql://url/x"
    assert dsn({}) is None


def test_a_file_sets_everything(home: Path, tmp_path: Path) -> None:
    """Durations are seconds or ISO 8601."""
    file = write(
        tmp_path / "s.toml",
        """
        repository = "/srv/backups"
        state_directory = "/var/lib/x"
        name = "portal"
        jobs = 3
        compression_level = 7
        lock_timeout = 30
        stall_timeout = "PT1H"
        tool_directories = ["/opt/pg/bin"]
        allowed_signers = "/etc/strongroom/allowed_signers"
        identity = "/root/identity.txt"
        """,
    )
    settings = loaded(home, config=file)
    assert settings.repository == "/srv/backups"
    assert settings.name == "portal"
    assert (settings.jobs, settings.compression_level) == (3, 7)
    assert settings.lock_timeout == timedelta(seconds=30)
    assert settings.stall_timeout == timedelta(hours=1)
    assert settings.tool_directories == (Path("/opt/pg/bin"),)
    assert settings.allowed_signers == Path("/etc/strongroom/allowed_signers")
    assert settings.identity == Path("/root/identity.txt")


def test_variables_are_found_in_either_case_and_lists_are_json(home: Path) -> None:
    """As pydantic reads them."""
    settings = loaded(home, {"strongroom_jobs": "3", "STRONGROOM_TOOL_DIRECTORIES": '["/a", "/b"]'})
    assert settings.jobs == 3
    assert settings.tool_directories == (Path("/a"), Path("/b"))


def test_the_credentials_directory_is_known_by_its_variable(home: Path, tmp_path: Path) -> None:
    """Keys are looked for there as well."""
    (tmp_path / "signing.key").write_text("not a setting")
    settings = loaded(home, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.credentials_directory == tmp_path


@pytest.mark.parametrize(
    ("variables", "dsn"),
    [
        ({"POSTGRES_HOST": "db", "POSTGRES_USER": "u"}, "postgresql://u@db:5432/u"),
        (
            {
                "POSTGRES_HOST": "db",
                "POSTGRES_USER": "u@x",
                "POSTGRES_PASSWORD": "p/:@",
                "POSTGRES_DB": "a b",
                "POSTGRES_PORT": "6432",
            },
            "postgresql://u%40x:p%2F%3A%40@db:6432/a%20b",
        ),
        (
            {"POSTGRES_HOST": "/run/postgresql", "POSTGRES_USER": "u"},
            "postgresql://u@%2Frun%2Fpostgresql:5432/u",
        ),
        ({"POSTGRES_HOST": "::1", "POSTGRES_USER": "u"}, "postgresql://u@[::1]:5432/u"),
        ({"POSTGRES_HOST": "db", "POSTGRES_DB": "x"}, None),
        ({"POSTGRES_USER": "u"}, None),
        ({"DATABASE_URL": "postgresql://a/b", "POSTGRES_HOST": "c"}, "postgresql://a/b"),
    ],
)
def test_the_variables_of_the_container_image_make_a_dsn(
    home: Path, variables: Mapping[str, str], dsn: str | None
) -> None:
    """Host and user at least, everything quoted."""
    assert dsn_of(loaded(home, variables)) == dsn


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'dsnn = "{DSN}"', "dsnn: extra inputs are not permitted"),
        (f'dsn = ["{DSN}"]', "dsn: "),
        (f'[dsn]\nurl = "{DSN}"', "dsn: "),
        ("jobs = 0", "jobs: input should be greater than or equal to 1"),
        ("jobs = 65", "jobs: "),
        ("compression_level = 20", "compression_level: "),
        ("lock_timeout = 0", "lock_timeout: "),
        ('stall_timeout = "soon"', "stall_timeout: "),
        ('repository = ""', "repository: "),
        ('name = ""', "name: "),
        ('[[checks]]\nid = "A B"\nsql = "SELECT 1"\nexpected = "1"', "checks.0.id: "),
        ('[[checks]]\nid = "a"\nsql = "SELECT 1"\nexpected = 1', "checks.0.expected: "),
        ('[[checks]]\nid = "a"\nsql = "SELECT 1"', "checks.0.expected: "),
        (f"{CHECK}\n{CHECK}", "checks: .*two checks have the same id"),
        ('[[waivers]]\ncode = "ROWCOUNT"', "waivers.0.code: "),
        (f"{WAIVER}\nexpires = 2027-01-01", "waivers.0.expires: "),
        (WAIVER, "waivers.0.expires: "),
        (f"{WAIVER}\nexpires = 2027-01-01T00:00:00Z\nuntil = 1", "waivers.0.until: "),
        ('frameworks = ["iso9001"]', "frameworks.0: "),
        ('smoke_command = "bin/smoke"', "smoke_command: "),
        ("rto_target = 0", "rto_target: "),
        (f'dsn = "{DSN}', "is not TOML"),
        (b'dsn = "\xff"', "is not UTF-8"),
    ],
)
def test_a_mistake_in_the_file_is_refused_by_name(
    home: Path, tmp_path: Path, text: str | bytes, message: str
) -> None:
    """With the file and the field; the value is never shown, not even in a traceback."""
    file = write(tmp_path / "s.toml", text)
    with pytest.raises(SettingsError, match=message) as caught:
        loaded(home, config=file)
    assert str(file) in caught.value.message
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("variable", ["STRONGROOM_DNS", "strongroom_repo", "STRONGROOM_"])
def test_a_variable_that_is_no_setting_is_refused(home: Path, variable: str) -> None:
    """A typo must not switch a backup off; the hint lists what there is."""
    with pytest.raises(SettingsError, match=f"environment variable {variable} is not") as caught:
        loaded(home, {variable: SECRET})
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "STRONGROOM_REPOSITORY" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STRONGROOM_TOOL_DIRECTORIES", f"/usr/{SECRET}"),
        ("STRONGROOM_JOBS", SECRET),
        ("STRONGROOM_REPOSITORY", ""),
        ("STRONGROOM_DSN", ""),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused(home: Path, variable: str, value: str) -> None:
    """An empty one as well: it would name the directory we are in."""
    with pytest.raises(SettingsError, match=r"(?i)strongroom_") as caught:
        loaded(home, {variable: value})
    assert variable.removeprefix("STRONGROOM_").lower() in caught.value.message
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_named_must_exist(home: Path, tmp_path: Path) -> None:
    """On the command line or by STRONGROOM_CONFIG, unless it is about to be written."""
    missing = tmp_path / "missing.toml"
    for environment, config in (({}, missing), ({"STRONGROOM_CONFIG": str(missing)}, None)):
        with pytest.raises(SettingsError, match=r"missing\.toml does not exist"):
            loaded(home, environment, config=config)
        loaded(home, environment, config=config, config_may_be_missing=True)


def test_a_file_that_cannot_be_read_is_an_error(home: Path, tmp_path: Path) -> None:
    """Never the same as no file."""
    loop = tmp_path / "strongroom.toml"
    loop.symlink_to(loop)
    with pytest.raises(SettingsError, match=r"strongroom\.toml does not exist"):
        loaded(home, config=loop)


def test_a_default_file_that_cannot_be_read_is_an_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights, a bad disk: never the same as no file."""
    file = write(home / ".config/strongroom/strongroom.toml", "jobs = 1")
    opened = Path.open

    def fails(path: Path, *arguments: Any, **named: Any) -> Any:
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", fails)
    monkeypatch.setattr("builtins.open", lambda path, *a, **n: fails(Path(path), *a, **n))
    with pytest.raises(SettingsError, match=r"reading settings: .*Permission denied"):
        loaded(home)


def test_settings_do_not_show_the_dsn_and_do_not_change(home: Path) -> None:
    """They may be logged."""
    settings = loaded(home, {"DATABASE_URL": DSN})
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValueError, match="frozen"):
        settings.jobs = 3


def test_every_setting_is_in_the_operators_page() -> None:
    """docs/settings.md names each, with its variable."""
    page = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    for field in Settings.model_fields:
        assert f"| `{field}` |" in page, field


def test_seconds_come_as_text_from_the_environment(home: Path) -> None:
    """`2` means two seconds there too, and `PT2M` two minutes."""
    environment = {"STRONGROOM_STALL_TIMEOUT": "2", "STRONGROOM_LOCK_TIMEOUT": "PT2M"}
    settings = loaded(home, environment)
    assert settings.stall_timeout == timedelta(seconds=2)
    assert settings.lock_timeout == timedelta(minutes=2)


def test_what_restore_tests_ask_is_set_in_the_file(home: Path, tmp_path: Path) -> None:
    """Targets, questions, waivers with an expiry in any zone, frameworks."""
    file = write(
        tmp_path / "s.toml",
        f"""
        rto_target = "PT1H"
        rpo_target = 86400
        check_timeout = 10
        smoke_command = ["bin/smoke", "--quick"]
        scratch_directory = "/srv/scratch"
        frameworks = ["iso27001", "fca"]
        {CHECK}
        {WAIVER}
        expires = 2027-01-01T00:00:00+01:00
        [[exclusions]]
        what = "public.cache"
        approver = "cto@firm"
        reason = "filled anew"
        expires = 2027-01-01T00:00:00Z
        """,
    )
    settings = loaded(home, config=file)
    assert (settings.rto_target, settings.rpo_target) == (timedelta(hours=1), timedelta(days=1))
    assert settings.check_timeout == timedelta(seconds=10)
    assert settings.smoke_command == ("bin/smoke", "--quick")
    assert settings.scratch_directory == Path("/srv/scratch")
    assert settings.frameworks == ("iso27001", "fca")
    assert [(check.id, check.expected) for check in settings.checks] == [("paid-bills", "7")]
    waiver = settings.waivers[0].waiver
    assert (waiver.code, waiver.what) == (Code.ROWCOUNT_DIFF, "table public.t")
    assert waiver.expires == datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    assert settings.exclusions[0].exclusion.what == "public.cache"


DATABASES = """
zone = "Europe/London"
schedule = "0 * * * *"
digests = "never"
[databases.portal]
dsn = "postgresql://file/portal"
rpo_target = "PT2H"
[databases."portal/eu"]
schedule = "30 2 * * mon-fri"
zone = "Europe/Berlin"
digests = "always"
priority = 80
[schedules]
prune = "30 3 * * *"
[daemon]
concurrency = 2
"""


def test_a_database_has_what_its_table_says_and_else_what_the_top_says(
    home: Path, tmp_path: Path
) -> None:
    """Each is a whole set of settings with its own name and dsn."""
    settings = loaded(home, config=write(tmp_path / "s.toml", DATABASES))
    portal, eu = settings.for_database("portal"), settings.for_database("portal/eu")
    assert (portal.name, dsn_of(portal)) == ("portal", "postgresql://file/portal")
    assert (portal.schedule, portal.zone, portal.digests) == ("0 * * * *", "Europe/London", "never")
    assert portal.rpo_target == timedelta(hours=2)
    assert (eu.name, dsn_of(eu), eu.rpo_target) == ("portal/eu", None, None)
    assert (eu.schedule, eu.zone, eu.digests) == ("30 2 * * mon-fri", "Europe/Berlin", "always")
    assert settings.databases["portal/eu"].priority == 80
    assert settings.schedules.prune == "30 3 * * *"
    assert settings.schedules.verify is None
    assert settings.daemon.concurrency == 2
    with pytest.raises(SettingsError, match="no database 'x'"):
        settings.for_database("x")


def test_which_database_is_meant_is_never_guessed(home: Path, tmp_path: Path) -> None:
    """The only one needs no name; of several, one must be named; without any, all is as it was."""
    several = loaded(home, config=write(tmp_path / "s.toml", DATABASES))
    with pytest.raises(SettingsError, match="which database"):
        several.selected(None)
    assert several.selected("portal").name == "portal"
    one = loaded(home, config=write(tmp_path / "o.toml", '[databases.a]\ndsn = "host=x"'))
    assert one.selected(None).name == "a"
    flat = loaded(home, overrides={"dsn": "host=y"})
    assert flat.selected(None) is flat
    assert flat.selected("b").name == "b"


def test_a_credential_of_a_database_wins_over_the_file(home: Path, tmp_path: Path) -> None:
    """Its name is the database's, percent-encoded; one that belongs to none is a mistake."""
    file, credentials = write(tmp_path / "s.toml", DATABASES), tmp_path / "credentials"
    write(credentials / "dsn-portal", DSN + "\n")
    write(credentials / "dsn-portal%2Feu", "postgresql://credential/eu")
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    settings = loaded(home, environment, config=file)
    assert dsn_of(settings.for_database("portal")) == DSN
    assert dsn_of(settings.for_database("portal/eu")) == "postgresql://credential/eu"
    assert SECRET not in repr(settings)
    write(credentials / "dsn-portl", "postgresql://credential/x")
    with pytest.raises(SettingsError, match="dsn-portl: its database is not in the settings"):
        loaded(home, environment, config=file)
    write(credentials / "dsn-portl", "\n")
    with pytest.raises(SettingsError, match="dsn-portl is empty"):
        loaded(home, environment, config=file)


def test_a_dsn_beside_databases_is_a_contradiction(home: Path, tmp_path: Path) -> None:
    """Unless it is the command line's, for one run, or happens to be in the environment."""
    file = write(tmp_path / "s.toml", DATABASES)
    with pytest.raises(SettingsError, match="both `dsn` and `databases`"):
        loaded(home, {"STRONGROOM_DSN": DSN}, config=file)
    once = loaded(home, config=file, overrides={"dsn": DSN, "name": "other"})
    assert (dsn_of(once.selected("other")), once.databases) == (DSN, {})
    assert loaded(home, {"DATABASE_URL": DSN}, config=file).dsn is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('schedule = "61 * * * *"', "schedule: .*minute"),
        ('zone = "Europe/Londn"', "zone: .*no time zone"),
        ('[databases.a]\nschedule = "@reboot"', r"databases\.a\.schedule"),
        ('[databases.a]\nshedule = "@daily"', r"databases\.a\.shedule"),
        ('[databases.a]\nzone = "X"', r"databases\.a\.zone"),
        ('[schedules]\nprun = "@daily"', r"schedules\.prun"),
        ("[daemon]\nconcurrency = 0", r"daemon\.concurrency"),
        ('[databases.""]\ndsn = "x"', "databases"),
    ],
)
def test_a_mistake_in_a_table_is_refused_by_name(
    home: Path, tmp_path: Path, text: str, named: str
) -> None:
    """A typo must not switch a backup off."""
    with pytest.raises(SettingsError, match=named):
        loaded(home, config=write(tmp_path / "s.toml", text))
