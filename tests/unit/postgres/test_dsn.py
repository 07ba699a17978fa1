"""Connection strings are read as libpq reads them, and the password shows nowhere."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from backup.errors import SettingsError
from backup.postgres.conninfo import conninfo_pairs
from backup.postgres.dsn import Dsn, passfile_text

CANARY = "canary-5eCr3t"


@pytest.mark.parametrize(
    ("text", "host", "port", "user", "database"),
    [
        ("postgresql://u@h/d", "h", 5432, "u", "d"),
        ("postgres://u@h:6000/d", "h", 6000, "u", "d"),
        ("postgresql://u@[2001:db8::1]:6000/d", "2001:db8::1", 6000, "u", "d"),
        ("postgresql://u@[::1]/d", "::1", 5432, "u", "d"),
        ("postgresql://u@/d?host=/run/sock", "/run/sock", 5432, "u", "d"),
        ("postgresql:///d?host=/run/sock&user=u&port=77", "/run/sock", 77, "u", "d"),
        ("postgresql://u@%2Frun%2Fsock/d", "/run/sock", 5432, "u", "d"),
        ("postgresql://a%40b@h/x%20%2F%22", "h", 5432, "a@b", 'x /"'),
        ("postgresql://u@h", "h", 5432, "u", "u"),
        ("postgresql://u@h/?port=9", "h", 9, "u", "u"),
        ("host=h user=u dbname=d port=6000", "h", 6000, "u", "d"),
        (r"host = '/run/a b' user='o\'brien' dbname=x\ y", "/run/a b", 5432, "o'brien", "x y"),
        ("user=u dbname=''", "/var/run/postgresql", 5432, "u", "u"),
        ("user=u", "/var/run/postgresql", 5432, "u", "u"),
    ],
)
def test_forms(text: str, host: str, port: int, user: str, database: str) -> None:
    """Both notations give the same fields, with libpq's defaults."""
    dsn = Dsn.parse(text)
    assert (dsn.host, dsn.port, dsn.user, dsn.database) == (host, port, user, database)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{CANARY}@h/d",
        f"postgresql://h/d?user=u&password={CANARY}",
        f"host=h user=u dbname=d password={CANARY}",
    ],
)
def test_password_is_kept_and_never_shown(text: str) -> None:
    """The password is a field, and no text made of the value has it."""
    dsn = Dsn.parse(text)
    assert dsn.password == SecretStr(CANARY)
    for shown in (str(dsn), repr(dsn), f"{dsn}", dsn.conninfo(), repr((dsn,))):
        assert CANARY not in shown
    assert dsn.asyncpg_arguments()["password"] == CANARY


def test_password_with_every_special_character() -> None:
    """A percent-encoded password comes out as it was before."""
    dsn = Dsn.parse("postgresql://u:%25%40%3A%2F%3F%23%20%C3%A4@h/d")
    assert dsn.password == SecretStr("%@:/?# ä")


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{CANARY}@x@h/d",
        f"postgresql://u:%zz{CANARY}@h/d",
        f"postgresql://u:%00{CANARY}@h/d",
        f"postgresql://u:%ff{CANARY}@h/d",
        f"postgresql://u:{CANARY}@h:port/d",
        f"postgresql://u:{CANARY}@h:0/d",
        f"postgresql://u:{CANARY}@h:65536/d",
        f"postgresql://u:{CANARY}@h:٣/d",
        f"postgresql://u:{CANARY}@[::1/d",
        f"postgresql://u:{CANARY}@[::1]x/d",
        f"postgresql://u:{CANARY}@h1,h2/d",
        f"postgresql://u:{CANARY}@h/d?pgbouncer=true",
        f"postgresql://u:{CANARY}@h/d?sslpassword=x",
        f"postgresql://u:{CANARY}@h/d?channel_binding=require",
        f"postgresql://u:{CANARY}@h/d?connect_timeout=soon",
        f"postgresql://u:{CANARY}@h/d?sslmode",
        f"mysql://u:{CANARY}@h/d",
        f"host=h user=u password='{CANARY}",
        f"host=h user=u password=x {CANARY}",
        f"host=h user=u password=x {CANARY}=y",
        f"host=h service={CANARY}",
        f"host=h password={CANARY}",
        f"user=u password={CANARY}\0",
        "",
    ],
)
def test_what_cannot_be_is_refused(text: str) -> None:
    """A connection string that cannot be honoured whole is a settings error without its values."""
    with pytest.raises(SettingsError) as caught:
        Dsn.parse(text)
    assert CANARY not in caught.value.message
    assert caught.value.__cause__ is None


def test_environment_fills_only_what_is_missing() -> None:
    """PG* variables are defaults; what the text says wins; USER is the last resort."""
    environment = {
        "PGHOST": "e",
        "PGPORT": "1",
        "PGUSER": "eu",
        "PGDATABASE": "ed",
        "PGPASSWORD": CANARY,
        "PGPASSFILE": "/etc/passfile",
        "PGSSLMODE": "verify-full",
        "USER": "os",
    }
    assert Dsn.parse("host=h dbname=d", environment) == Dsn(
        host="h",
        port=1,
        user="eu",
        database="d",
        password=SecretStr(CANARY),
        options=(("passfile", "/etc/passfile"), ("sslmode", "verify-full")),
    )
    assert Dsn.parse("host=h", {"USER": "os"}).user == "os"
    assert Dsn.parse("host=h", {"LOGNAME": "os"}).database == "os"


@pytest.mark.parametrize(
    "name", ["d", "", "a b", "o'brien", "back\\slash", "x=y", 'q"q', "\n", "🗄"]
)
def test_conninfo_reads_back(name: str) -> None:
    """What `conninfo` writes is read back to the same, whatever the names hold."""
    dsn = Dsn(
        host="/run/so ck", user="u'\\", database=name or "u'\\", options=(("options", "-c a=b c"),)
    )
    assert Dsn.parse(dsn.conninfo()) == dsn
    assert dict(conninfo_pairs(dsn.conninfo()))["dbname"] == dsn.database
    assert Dsn.parse(str(dsn)) == dsn


def test_with_database_and_option() -> None:
    """Another database or keyword gives another value and leaves the rest."""
    dsn = Dsn.parse("postgresql://u:p@h/d?sslmode=require")
    other = dsn.with_database("e").with_option("application_name", "strongroom")
    assert str(other) == "postgresql://u@h:5432/e?application_name=strongroom&sslmode=require"
    assert other.password == dsn.password
    with pytest.raises(SettingsError):
        dsn.with_option("service", "x")


def test_asyncpg_arguments() -> None:
    """TLS keywords go through the URL, session settings by name, libpq's own are left out."""
    dsn = Dsn.parse(
        "host=::1 user=u dbname=d sslmode=verify-full sslrootcert=/a%20b.pem "
        "ssl_min_protocol_version=TLSv1.3 connect_timeout=7 keepalives=1 application_name=x "
        "options='-c a=b'"
    )
    assert dsn.asyncpg_arguments() == {
        "dsn": "postgresql://?ssl_min_protocol_version=TLSv1.3&sslmode=verify-full"
        "&sslrootcert=%2Fa%2520b.pem",
        "host": "::1",
        "port": 5432,
        "user": "u",
        "database": "d",
        "timeout": 7.0,
        "server_settings": {"application_name": "x", "options": "-c a=b"},
    }
    assert "password" not in Dsn.parse("user=u").asyncpg_arguments()
    assert Dsn.parse("user=u").passfile_text is None


def test_jdbc_ssl_flag() -> None:
    """`ssl=true` in a URL means sslmode=require, as it does to libpq."""
    assert Dsn.parse("postgresql://u@h/d?ssl=true").options == (("sslmode", "require"),)


def test_passfile_line_is_escaped() -> None:
    """Colon and backslash are escaped in a password file; a line break cannot be written."""
    line = passfile_text(SecretStr(r"a:b\c ä")).get_secret_value()
    assert line == "*:*:*:*:a\\:b\\\\c ä\n"
    assert Dsn.parse("user=u password=x").passfile_text == SecretStr("*:*:*:*:x\n")
    with pytest.raises(SettingsError):
        passfile_text(SecretStr("a\nb"))
