"""A streaming replica on real hosts: made, proven, mended, never made over data, promoted."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.documents import ROOT
from tests.lab.hostrunbooks import follow
from tests.lab.replicas import (
    CONF,
    DATA,
    Replicated,
    ask,
    replicated_site,
)
from tests.lab.sites import Site, eventually, failed_checks, passes_every_check, scraped

RULES = ROOT / "deploy/templates/hosts.rules.yml"


@pytest.fixture(scope="module")
def pair(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    """The site with a second database host; what is done to it is gone afterwards."""
    with replicated_site(site, tmp_path_factory.mktemp("replica")) as made:
        yield made


@pytest.fixture
def replica(pair: Replicated) -> Site:
    """The site with a replica on db2 that follows db1, whatever the test before it did."""
    return pair.following()


def write_rows(site: Site, name: str, label: str) -> None:
    """Commit rows on a host."""
    ask(
        *(site, name, "CREATE TABLE IF NOT EXISTS public.told (what text);"),
        f"INSERT INTO public.told SELECT '{label}' FROM generate_series(1, 1000)",
    )


def rows(site: Site, name: str, label: str) -> str:
    """How many of them a host has."""
    return ask(site, name, f"SELECT count(*) FROM public.told WHERE what = '{label}'", check=False)


def test_a_replica_follows_and_every_check_of_it_passes(replica: Site) -> None:
    """Rows arrive and can be read, not written; `apply` once more changes nothing, anywhere."""
    write_rows(replica, "db1", "first")
    eventually(lambda: rows(replica, "db2", "first") == "1000")
    refused = replica.hosts.run(
        "db2", "cd /; runuser -u postgres -- psql -Xqc 'CREATE TABLE own ()'", check=False
    )
    assert "read-only transaction" in refused.stderr
    passes_every_check(replica, "db1", "db2")
    again = replica.json("apply", "--yes", "--no-prove")
    assert again["is_clean"], again
    assert again["operations"]["changed"] == 0


def test_the_exporter_tells_what_the_alerts_of_replicas_ask(replica: Site) -> None:
    """An alert on a metric that nobody gives would never come."""
    is_active = re.compile(
        r'^pg_replication_slots_active\{.*slot_name="strongroom_db2"\} 1$', re.MULTILINE
    )
    eventually(lambda: bool(is_active.search(scraped(replica, "db1", 9187))))
    told = scraped(replica, "db1", 9187)
    asked = set(re.findall(r"\bpg_[a-z_]+", RULES.read_text(encoding="utf-8")))
    assert len(asked) == 5
    assert {name for name in asked if not re.search(rf"^{name}[{{ ]", told, re.MULTILINE)} == set()


def test_what_is_wrong_is_found_by_name_and_mended(replica: Site) -> None:
    """A replica that follows no more, a slot that is gone, a line in pg_hba.conf."""
    hosts = replica.hosts
    ask(replica, "db2", "ALTER SYSTEM SET primary_conninfo = 'host=nowhere'")
    hosts.run("db2", f"echo 'host all all 10.0.0.0/8 md5' >>{CONF}/pg_hba.conf")
    ask(replica, "db2", "SELECT pg_reload_conf()")
    eventually(lambda: ask(replica, "db1", "SELECT count(*) FROM pg_stat_replication") == "0")
    ask(
        *(replica, "db1", "SELECT pg_drop_replication_slot('strongroom_db2');"),
        "SELECT pg_create_physical_replication_slot('forgotten', true);",
        "GRANT pg_monitor TO strongroom_replica",
    )
    found = failed_checks(replica, "--host", "db1", "--host", "db2")
    assert found.keys() >= {
        *(("db1", "replication-slots"), ("db1", "replicas-stream"), ("db1", "replication-role")),
        *(("db2", "standby-streams"), ("db2", "auto-conf"), ("db2", "hba-declared")),
    }
    assert "missing: strongroom_db2 is in use" in found["db1", "replication-slots"]
    assert "forgotten is used by nobody" in found["db1", "replication-slots"]
    assert "is a member of pg_monitor" in found["db1", "replication-role"]
    assert "nothing is received" in found["db2", "standby-streams"]
    planned = replica.json("plan")
    differing = {(one["host"], one["item"]) for one in planned["changes"]}
    assert differing >= {
        ("db1", "replication slot strongroom_db2"),
        ("db2", "setting primary_conninfo"),
        ("db2", f"{CONF}/pg_hba.conf"),
    }
    assert {one["item"] for one in planned["findings"]} >= {"replication slot forgotten"}
    ask(replica, "db1", "SELECT pg_drop_replication_slot('forgotten')")
    replica.apply("--limit", "db1", "--limit", "db2", "--no-prove")
    passes_every_check(replica, "db1", "db2")


def test_data_is_never_copied_over(replica: Site) -> None:
    """What holds something else is left as it is; a copy that was killed is repeated."""
    hosts = replica.hosts
    hosts.run("db2", f"systemctl stop postgresql@15-main; mv {DATA}/standby.signal /root/")
    done = replica.host_verb("apply", "--yes", "--no-prove", "--limit", "db2")
    assert done.code == 1
    assert "holds the data of a server that is no standby" in done.stderr
    assert hosts.run("db2", f"cat {DATA}/PG_VERSION").stdout.strip() == "15"
    # A copy that is under way and is killed: the first files are there, and hold the slot.
    hosts.run("db2", f"rm -rf {DATA}; bash -s", stdin=KILLED_COPY.encode())
    replica.apply("--limit", "db2", "--no-prove")
    passes_every_check(replica, "db1", "db2")
    assert hosts.run("db2", f"ls -d {DATA}.* 2>/dev/null; true").stdout == ""


KILLED_COPY = f"""
set -eu; cd /
connection=$(sed -n "s/^primary_conninfo = '\\(.*\\)'$/\\1/p" {CONF}/conf.d/50-strongroom.conf)
systemd-run -q --unit=strongroom-base-backup --property=Type=exec --uid=postgres \\
  /usr/lib/postgresql/15/bin/pg_basebackup --pgdata={DATA}.strongroom-new --dbname="$connection" \\
  --slot=strongroom_db2 --wal-method=stream --checkpoint=fast --max-rate=32k
for try in $(seq 1200); do [ ! -e {DATA}.strongroom-new/backup_label ] || break; sleep 0.1; done
systemctl kill -s KILL strongroom-base-backup
while systemctl is-active -q strongroom-base-backup; do sleep 0.1; done
test -e {DATA}.strongroom-new/backup_label
"""


def test_a_replica_takes_the_place_of_its_primary(pair: Replicated, tmp_path: Path) -> None:
    """With every row that was committed; the old primary follows it then, by new keys as well."""
    site = pair.following()
    pair.is_changed = True
    write_rows(site, "db1", "before")
    refused = site.host_verb("promote", "db2", "--yes")
    assert refused.code == 1
    assert "db1 takes writes" in refused.stderr
    assert ask(site, "db2", "SELECT pg_is_in_recovery()") == "t"
    site.hosts.run("db1", "systemctl stop postgresql@15-main; systemctl -q mask postgresql@15-main")
    seen = site.json("promote", "db2", "--dry-run")
    assert (seen["primary_state"], seen["was_promoted"]) == ("shut down", False)
    said = follow(
        *(site, "promote-a-replica", pair.inventory),
        PRIMARY="db1",
        REPLICA="db2",
        RECOVERY_IDENTITY=site.identity,
        EDITOR=editor(pair, tmp_path),
    )
    assert "db2 is a server of its own since" in said
    assert "as declared; 0 of " in said
    assert rows(site, "db2", "before") == "1000"
    write_rows(site, "db2", "after")
    eventually(lambda: rows(site, "db1", "after") == "1000")
    passes_every_check(site, "db1", "db2")
    site.hosts.run(
        "backup1", "strongroom doctor && grep -q '@db2:' /etc/strongroom/strongroom.toml"
    )
    again = site.host_verb("promote", "db2")
    assert again.code == 2
    assert "db2 is no replica of the inventory" in again.stderr
    site.issue("--all")
    assert site.host_verb("rotate certificates").code == 0
    ask(site, "db2", "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    passes_every_check(site, "db1", "db2")


def editor(pair: Replicated, directory: Path) -> Path:
    """What a person does to the inventory, and on the old primary, in the editor's place."""
    made = directory / "editor"
    ssh = " ".join(pair.site.hosts.ssh("db1"))
    made.write_text(
        '#!/bin/sh\nset -e\nsed -i \'s/^_REPLICA = .*/_REPLICA = "db1"/\' "$1"\n'
        f"{ssh} 'mv {DATA} {DATA}.old; systemctl -q unmask postgresql@15-main'\n"
    )
    made.chmod(made.stat().st_mode | stat.S_IXUSR)
    return made
