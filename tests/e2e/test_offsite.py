"""A second place in a bucket of a real S3 server: kept, tried, and lived from when home is gone."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup import app
from backup.journeys.progress import Silent
from backup.journeys.prune import Pruned, prune
from backup.repository.stock import instructions
from backup.settings import load
from tests.e2e import documents
from tests.e2e.conftest import DATABASE, Situation, rows, url
from tests.lab.buckets import RCLONE, S3Server
from tests.lab.servers import LabServer

RUNBOOK = documents.ROOT / "docs/runbooks/off-site.md"
AWS = Path("/usr/bin/aws")
GONE = ("4. Get the data back", "5. Make the copy the repository")
BEFORE = (
    "1. Say where the copy is, once",
    "2. Copy, after every backup",
    "3. Try it, before you need it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A prefix of a new bucket, and what a person has to know of it."""

    server: S3Server
    name: str
    prefix: str = "strongroom"

    @property
    def address(self) -> str:
        """As the settings have it."""
        return f"s3://{self.name}/{self.prefix}"

    def keys(self) -> set[str]:
        """All objects below the prefix."""
        return set(self.server.store(self.name, self.prefix).list(""))

    def settings(self) -> str:
        """The lines that make it the repository."""
        return (
            f'repository = "{self.address}"\n[s3]\nendpoint = "{self.server.endpoint}"\n'
            f'profile = "{self.server.profile}"\nca_file = "{self.server.ca_file}"\n'
        )


@pytest.fixture
def bucket(real_s3: S3Server) -> Bucket:
    """A place for a copy."""
    return Bucket(server=real_s3, name=real_s3.new_bucket())


@pytest.fixture
def here(backed_up: Situation, bucket: Bucket) -> Situation:
    """Somebody with a backup in a directory, and the keys of a bucket."""
    credentials = backed_up.directory / "credentials"
    credentials.mkdir(mode=0o700)
    keys = bucket.server.keys
    for ending in ("", "-offsite"):
        (credentials / f"s3-access-key-id{ending}").write_text(keys.access_key_id)
        (credentials / f"s3-secret-access-key{ending}").write_text(keys.secret_access_key)
    settings = backed_up.directory / "strongroom.toml"
    settings.write_text(f'repository = "{backed_up.repository}"\ndigests = "always"\n')
    (backed_up.directory / "bin").mkdir()
    (backed_up.directory / "bin/rclone").symlink_to(RCLONE)
    return backed_up.given(
        CREDENTIALS_DIRECTORY=credentials,
        COPY=bucket.address,
        ENDPOINT=bucket.server.endpoint,
        PROFILE=bucket.server.profile,
        CA_FILE=bucket.server.ca_file or "",
        RCLONE_CA_CERT=bucket.server.ca_file or "",
        AWS_CA_BUNDLE=bucket.server.ca_file or "",
        AWS_ACCESS_KEY_ID=keys.access_key_id,
        AWS_SECRET_ACCESS_KEY=keys.secret_access_key,
        RESTORE_URL=url(backed_up.server.dsn.with_database(f"{DATABASE}_restored")),
    )


def test_the_runbook_from_the_first_copy_to_life_without_the_old_site(
    here: Situation, bucket: Bucket, spare: LabServer
) -> None:
    """What was copied is restored, tested and lived from; the log goes on from what it was."""
    assert here.bash("strongroom pin latest --reason audit").code == 0
    done = here.follow(RUNBOOK, leave_out=GONE)
    assert "copied 1 backups" in done.stdout
    assert "would copy 0 backups" in done.stdout
    assert "PASS" in done.stdout
    before = bucket.keys()
    (again,) = here.json("copy --to offsite")
    assert (again["copied"], again["objects"], again["present"]) == ([], 0, 1)
    # The restore test of the copy was entered in the log at home, which is copied as well.
    assert {key.split("/")[0] for key in bucket.keys() - before} == {"copied-log"}
    assert here.json("list --from offsite")[0]["pinned"] is not None

    shutil.rmtree(here.repository)
    tested = here.bash("strongroom restore-test --from offsite --identity $IDENTITY --json")
    assert tested.code == 2, tested.stderr
    assert tested.json["codes"] == ["ENVIRONMENT_FAILURE"]
    assert not tested.json["is_logged"]
    assert tested.json["coverage"]["tables_counted"] > 5
    assert not here.repository.exists(), "a log was begun where there is no repository"

    elsewhere = here.on(spare).given(
        RESTORE_URL=url(spare.dsn.with_database(f"{DATABASE}_restored"))
    )
    elsewhere = elsewhere.given(PATH=f"{here.directory}/bin:{elsewhere.environment['PATH']}")
    done = elsewhere.follow(RUNBOOK, leave_out=BEFORE)
    assert "every count as in the dump" in done.stdout
    assert "PASS" in done.stdout
    assert rows(spare, f"{DATABASE}_restored") == rows(here.server)
    listed = here.json("list")
    assert [one["status"] for one in listed] == ["signed", "signed"]
    assert [one["pinned"] is not None for one in listed] == [True, False]
    assert here.bash("strongroom log verify").code == 0
    assert here.bash("strongroom verify --all").code == 0


def test_backup_restore_test_prune_and_a_restore_with_stock_tools_alone(
    here: Situation, bucket: Bucket, spare: LabServer
) -> None:
    """What a prune left in a bucket is fetched by rclone or aws and restored by `restore.sh`."""
    if not AWS.exists():
        pytest.skip("Debian's awscli is not installed")
    settings = here.directory / "strongroom.toml"
    settings.write_text(
        'digests = "always"\n' + bucket.settings() + "[retention]\nkeep_last = 1\n"
        'minimum_count = 1\nminimum_age = "PT0S"\n'
    )
    assert here.bash("strongroom init -R $OFFLINE/recipients.txt").code == 0
    noise = "sha512(n::text::bytea) FROM generate_series(1, 40000) n"
    here.server.sql(f"CREATE TABLE portal.passing AS SELECT n, {noise}", DATABASE)
    try:
        here.json("backup")
    finally:
        here.server.sql("DROP TABLE portal.passing", DATABASE)
    newest = here.json("backup")["backup_id"]
    assert here.json("restore-test latest --identity $IDENTITY")["word"] == "PASS"
    gone = here.json("prune --apply")
    assert (len(gone["deleted"]), gone["swept"]) == (1, 0)
    assert gone["condemned"] > 0
    before = bucket.keys()
    assert sweep(here).swept == gone["condemned"]
    after = bucket.keys()
    assert len([key for key in before - after if key.startswith("chunks/")]) == gone["condemned"]

    fetched, by_rclone = here.directory / "backups-copy", here.directory / "by-rclone"
    stranger = replace(here, has_strongroom=False).on(spare)
    rclone = str(here.directory / "bin/rclone")
    fetched_by(stranger, instruction(bucket, "rclone copy", rclone))
    fetched.rename(by_rclone)
    found = fetched_by(stranger, instruction(bucket, "aws s3 sync", str(AWS)))
    assert found.keys() == after
    assert found == contents(by_rclone)
    pins = next((here.state / "keys").glob(f"{repository_id(here)}/allowed_signers"))
    stranger = stranger.given(
        REPOSITORY=fetched, SIGNERS=pins, RESTORE_SH=here.offline / "restore.sh"
    )
    done = stranger.follow(documents.ROOT / "docs/runbooks/restore-without-strongroom.md")
    assert newest in done.stdout + done.stderr
    assert "UNPINNED" not in done.stderr
    assert rows(spare) == rows(here.server)


def instruction(bucket: Bucket, begins: str, program: str) -> str:
    """The line of the repository's own RESTORE.md that fetches a bucket, filled in."""
    (line,) = (
        line for line in instructions().decode().splitlines() if line.startswith(f"    {begins}")
    )
    line = line.replace("https://s3.example.org", bucket.server.endpoint)
    line = line.replace("BUCKET/PREFIX", bucket.address.removeprefix("s3://"))
    return line.replace(begins.split(maxsplit=1)[0], program, 1)


def fetched_by(stranger: Situation, line: str) -> dict[str, bytes]:
    """Fetch as the line says; return what came."""
    done = stranger.bash(line)
    assert done.code == 0, done.stderr
    return contents(stranger.directory / "backups-copy")


def contents(directory: Path) -> dict[str, bytes]:
    """The files below a directory."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def repository_id(here: Situation) -> str:
    """The id of the repository that the settings name."""
    return app.open_repository(load(environment=here.environment, is_root=True)).id


def sweep(here: Situation) -> Pruned:
    """Prune as somebody does four days later."""
    later = datetime.now(UTC) + timedelta(days=4)
    settings = load(environment=here.environment, is_root=True)
    repository = app.open_repository(settings)
    done = prune(
        app.prune_sight(settings, repository, later),
        app.prune_rules(settings),
        app.require_log(settings, repository, "pruning"),
        clock=lambda: later,
        random=os.urandom,
        progress=Silent(),
    )
    assert isinstance(done, Pruned), done
    return done
