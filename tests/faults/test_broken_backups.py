"""A corpus of broken backups: each gives exactly its code, and healthy ones give none.

Those that lost something are real backups of a database that lost it, filed with the reference of
the whole one and signed by the real keys: their own archives disagree with what they say.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.crypto import age
from backup.crypto.recipients import X25519Identity
from backup.crypto.sshkey import SigningKey
from backup.damaged import DamagedObjects
from backup.evidence.entry import EntryType
from backup.evidence.report import Exclusion
from backup.evidence.verdict import Code, Waiver, Word
from backup.journeys.create import Created
from backup.postgres.dsn import Dsn
from backup.repository.chunks import ChunkRef, decode_list, encode_list
from backup.repository.layout import chunk_object_key
from backup.repository.manifest import (
    StoredPart,
    encode_manifest,
    sha256_hex,
    sign_manifest,
)
from backup.testpolicy import Question, RestoreTestPolicy
from tests.lab.repositories import LabRepository, lab_repository
from tests.lab.restoretests import HOST, codes, filed_again, open_log, reference, run_restore_test
from tests.lab.servers import LabServer

DATABASE = """
CREATE ROLE corpus_owner; CREATE ROLE corpus_reader; CREATE ROLE corpus_spare;
CREATE EXTENSION vector;
CREATE TABLE clients (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO clients (name) SELECT 'client ' || n FROM generate_series(1, 500) n;
CREATE TABLE prices (id int PRIMARY KEY, cents bigint NOT NULL CHECK (cents > 0));
INSERT INTO prices SELECT n, n * 101 FROM generate_series(1, 400) n;
CREATE TABLE notes (id int PRIMARY KEY, client int NOT NULL, body text);
INSERT INTO notes SELECT n, n, repeat(md5(n::text), 20) FROM generate_series(1, 3000) n;
CREATE INDEX notes_client ON notes (client);
ALTER TABLE notes OWNER TO corpus_owner;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (client = 1);
GRANT SELECT ON prices TO corpus_reader;
CREATE SEQUENCE invoices; SELECT setval('invoices', 4711);
CREATE MATERIALIZED VIEW totals AS SELECT sum(cents) FROM prices GROUP BY id % 8;
INSERT INTO prices VALUES (-1, 1);
SELECT lo_from_bytea(0, 'a paper');
"""
FORGET = """
DROP OWNED BY corpus_owner, corpus_reader; DROP ROLE corpus_owner, corpus_reader;
DROP ROLE IF EXISTS corpus_spare;
"""


@pytest.fixture
def whole(any_server: LabServer) -> Iterator[Dsn]:
    """A small database with one of everything; its roles go with it."""
    with any_server.fresh_database() as dsn:
        any_server.sql(DATABASE, database=dsn.database)
        try:
            yield dsn
        finally:
            any_server.sql(FORGET, database=dsn.database)


@pytest.fixture
def repository() -> Iterator[LabRepository]:
    """A repository of its own for each."""
    with lab_repository() as made:
        yield made


@pytest.fixture
def backup(repository: LabRepository, whole: Dsn) -> Created:
    """A healthy backup."""
    return repository.back_up(whole)


def test_a_healthy_backup_has_no_code(repository: LabRepository, whole: Dsn) -> None:
    """With digests it is proven to level 6."""
    id_ = filed_again(repository, repository.back_up(whole), catalog=reference(whole))
    report = run_restore_test(repository, id_).report
    assert codes(report) == set()
    assert (report.verdict.sentence, report.verdict.level, report.verdict.seal) == ("PASS", 6, 2)
    # Not the materialised view, which is out of date in the source and not when restored.
    assert (report.coverage.tables_digested, report.coverage.tables_in_scope) == (3, 3)


LOST = {
    "missing role": ("DROP ROLE corpus_spare", "ROLE_ABSENT"),
    "changed role": ("ALTER ROLE corpus_spare CREATEDB", "ROLE_DIFF"),
    "dropped grant": ("REVOKE SELECT ON prices FROM corpus_reader", "ACL_DIFF"),
    "missing table": ("DROP TABLE clients", "SCHEMA_DIFF"),
    "half the rows": ("DELETE FROM notes WHERE id % 2 = 0", "ROWCOUNT_DIFF"),
    "one changed cent": ("UPDATE prices SET cents = cents + 1 WHERE id = 7", "DIGEST_DIFF"),
    "dropped index": ("DROP INDEX notes_client", "SCHEMA_DIFF"),
    "wrong owner": ("ALTER TABLE notes OWNER TO postgres", "OWNER_DIFF"),
    "policy gone": ("DROP POLICY own ON notes", "RLS_DIFF"),
    "row security off": ("ALTER TABLE notes DISABLE ROW LEVEL SECURITY", "RLS_DIFF"),
    "missing extension": ("DROP EXTENSION vector", "EXTENSION_DIFF"),
    "sequence behind": ("SELECT setval('invoices', 4000)", "SEQUENCE_BEHIND"),
    "matview empty": ("REFRESH MATERIALIZED VIEW totals WITH NO DATA", "MATVIEW_UNPOPULATED"),
    "nothing in it": (
        "DROP MATERIALIZED VIEW totals; DROP TABLE clients, prices, notes; DROP SEQUENCE invoices;"
        " SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
        "EMPTY_RESTORE",
    ),
    "large object gone": ("SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "ROWCOUNT_DIFF"),
}


@pytest.mark.parametrize("lost", LOST)
def test_what_was_lost_has_its_code(
    any_server: LabServer, repository: LabRepository, whole: Dsn, lost: str
) -> None:
    """And no other."""
    loss, code = LOST[lost]
    expected = reference(whole)
    any_server.sql(loss, database=whole.database)
    id_ = filed_again(repository, repository.back_up(whole), catalog=expected)
    report = run_restore_test(repository, id_).report
    assert codes(report) == {code}, report.verdict.findings
    assert report.verdict.word is Word.FAIL
    assert report.destruction is not None
    assert report.destruction.is_destroyed


def test_a_role_that_the_globals_lost_has_its_code(
    repository: LabRepository, backup: Created
) -> None:
    """The dump of roles is without one that owns nothing, so that all of it restores."""
    opened = repository.open(backup)
    script = b"".join(opened.chunks(opened.part("globals")))
    left = b"".join(line for line in script.splitlines(True) if b"corpus_spare" not in line)
    assert left != script
    id_ = filed_again(repository, backup, parts={"globals": left})
    assert codes(run_restore_test(repository, id_).report) == {"ROLE_ABSENT"}


def test_an_extension_that_the_testing_host_lacks_has_its_code(
    any_server: LabServer, repository: LabRepository
) -> None:
    """The source has its files in a place of its own, and the scratch cluster has not."""
    with tempfile.TemporaryDirectory(prefix="strongroom-test-") as name:
        Path(name).chmod(0o755)
        files = Path(name) / "extension"
        files.mkdir()
        (files / "papers.control").write_text("default_version = '1'\n")
        (files / "papers--1.sql").write_text("CREATE TABLE papers (id int);\n")
        with any_server.fresh_database() as dsn:
            any_server.sql(
                f"SET extension_control_path = '{name}:$system'; CREATE EXTENSION papers;"
                " CREATE TABLE clients (id int); INSERT INTO clients VALUES (1)",
                database=dsn.database,
            )
            report = run_restore_test(repository, repository.back_up(dsn).manifest.backup_id).report
    assert codes(report) == {"EXTENSION_DIFF"}, report.verdict.findings
    assert report.verdict.word is Word.FAIL
    assert report.verdict.findings[0].what == "extension papers"


def test_an_empty_database_proves_nothing(any_server: LabServer, repository: LabRepository) -> None:
    """Not one table was compared, so it is no PASS."""
    with any_server.fresh_database() as dsn:
        report = run_restore_test(repository, repository.back_up(dsn).manifest.backup_id).report
    assert codes(report) == {"ZERO_CHECKED"}
    assert report.verdict.word is Word.INCONCLUSIVE


def an_object(repository: LabRepository, made: Created, part: str = "rest") -> Path:
    """The file of one chunk."""
    return repository.directory / chunk_object_key(refs(repository, made, part)[0].sha256)


def refs(repository: LabRepository, made: Created, part: str = "rest") -> list[ChunkRef]:
    """The chunks of a part."""
    lines = repository.opened.store.get(made.manifest.key.chunk_list(part))
    return list(decode_list(lines, part))


def flip(path: Path) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Lose the last bytes."""
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("hurt", "code", "is_noted"),
    [
        (flip, "CIPHERTEXT_MISMATCH", True),
        (truncate, "STREAM_TRUNCATED", True),
        (Path.unlink, "OBJECT_MISSING", False),  # the next backup does not find it anyway
    ],
)
def test_damage_has_its_code(
    repository: LabRepository,
    backup: Created,
    hurt: Callable[[Path], None],
    code: str,
    is_noted: bool,
) -> None:
    """One bit, a few bytes, an object; nothing of it is restored, or referred to again."""
    path = an_object(repository, backup)
    hurt(path)
    report = run_restore_test(repository).report
    assert codes(report) == {code}
    assert report.verdict.level < 2
    assert report.commands == ()
    noted = DamagedObjects(repository.state_directory, repository.opened.id).all()
    assert [sha256.hex() for sha256 in noted] == [path.name] * is_noted


def test_a_chunk_that_was_made_so_does_not_authenticate(
    repository: LabRepository, backup: Created
) -> None:
    """Listed with its own SHA-256 and size by who holds the keys, and sealed, yet no such chunk."""
    old = refs(repository, backup, "schema")
    forged = bytes(age.seal(b"no chunk at all", [repository.identity.recipient]))
    digest = bytes.fromhex(sha256_hex(forged))
    repository.opened.store.put(chunk_object_key(digest), forged)
    ref = replace(old[0], sha256=digest, object_bytes=len(forged))
    lines = encode_list([ref, *old[1:]])

    schema = with_list(repository.open(backup).part("schema"), lines, [ref, *old[1:]])
    id_ = filed_again(repository, backup, lists={"schema": (schema, lines)})
    assert codes(run_restore_test(repository, id_).report) == {"AUTH_FAILED"}


def with_list(part: StoredPart, lines: bytes, chunks: list[ChunkRef]) -> StoredPart:
    """A part as a manifest lists it that was made for this list."""
    return replace(
        part,
        list_sha256=sha256_hex(lines),
        stored_bytes=sum(ref.object_bytes for ref in chunks),
        plain_bytes=sum(ref.plain_bytes for ref in chunks),
    )


def test_the_wrong_key_has_its_code(repository: LabRepository, backup: Created) -> None:
    """The identity is one, but not of this repository."""
    report = run_restore_test(
        repository, backup.manifest.backup_id, identities=(X25519Identity.generate(),)
    ).report
    assert codes(report) == {"KEY_UNAVAILABLE"}
    assert report.verdict.word is Word.FAIL


def test_a_forged_manifest_has_its_code(repository: LabRepository, backup: Created) -> None:
    """Changed after it was signed, or signed by a stranger."""
    path = repository.directory / backup.manifest.key.manifest
    path.chmod(0o600)
    forged = encode_manifest(replace(backup.manifest, warnings=("all is well",)))
    path.write_bytes(forged)
    assert codes(run_restore_test(repository).report) == {"SIGNATURE_INVALID"}
    signature = repository.directory / backup.manifest.key.signature
    signature.chmod(0o600)
    signature.write_bytes(sign_manifest(forged, SigningKey.generate("stranger")))
    report = run_restore_test(repository).report
    assert codes(report) == {"SIGNATURE_INVALID"}
    assert report.backup.manifest_sha256 == ""


def test_a_manifest_in_anothers_place_has_its_code(
    repository: LabRepository, backup: Created
) -> None:
    """An old backup under a new id, and another database's under this one's name."""
    source = repository.path(backup)
    later = source.with_name(f"{int(backup.manifest.backup_id[:8]) + 10000}T020000Z-000000")
    shutil.copytree(source, later)
    report = run_restore_test(repository).report
    assert (report.backup.backup_id, codes(report)) == (later.name, {"SIGNATURE_INVALID"})
    other = repository.directory / "backups" / "other" / source.name
    shutil.copytree(source, other)
    report = run_restore_test(repository, database="other").report
    assert (report.backup.database, codes(report)) == ("other", {"SIGNATURE_INVALID"})


def test_a_backup_made_anew_with_the_signing_key_is_seen_by_the_log(
    repository: LabRepository, backup: Created
) -> None:
    """Nothing told of it, or the log tells of another manifest."""
    unheard = filed_again(repository, backup, is_logged=False)
    assert codes(run_restore_test(repository, unheard).report) == {"LOG_INCONSISTENT"}
    again = replace(backup.manifest, warnings=("all is well",))
    data = encode_manifest(again)
    key = SigningKey.from_text((repository.keys_directory / "signing.key").read_text())
    for name, content in (
        (again.key.manifest, data),
        (again.key.signature, sign_manifest(data, key)),
    ):
        (repository.directory / name).chmod(0o600)
        (repository.directory / name).write_bytes(content)
    report = run_restore_test(repository, again.backup_id).report
    assert codes(report) == {"LOG_INCONSISTENT"}


def test_a_log_that_was_cut_short_has_its_code(repository: LabRepository, backup: Created) -> None:
    """The log takes no more entries; the test runs all the same, and its report says so."""
    entries = sorted((repository.directory / "log/entries").iterdir())
    entries[-1].unlink()
    done = run_restore_test(repository, backup.manifest.backup_id)
    assert codes(done.report) == {"LOG_INCONSISTENT"}
    assert (done.report.log, done.report.verdict.seal) == (None, 1)
    assert done.published.path.is_file()
    assert done.report.coverage.tables_counted == done.report.coverage.tables_in_scope > 0


def test_a_stranger_is_unpinned(repository: LabRepository, backup: Created) -> None:
    """Without pins on this host nothing is wrong, and nothing is proven."""
    report = run_restore_test(repository, backup.manifest.backup_id, is_pinned=False).report
    assert codes(report) == {"UNPINNED"}
    assert report.verdict.word is Word.INCONCLUSIVE


@pytest.mark.parametrize("major", [9, 19])
def test_a_major_that_is_not_here_has_its_code(
    repository: LabRepository, backup: Created, major: int
) -> None:
    """No server of it is installed."""
    id_ = filed_again(
        repository,
        backup,
        change=lambda manifest: replace(manifest, server_version=f"PostgreSQL {major}.1 on x"),
    )
    assert codes(run_restore_test(repository, id_).report) == {"VERSION_MISMATCH"}


def test_an_older_server_than_the_archives_has_its_code(
    repository: LabRepository, backup: Created
) -> None:
    """A dump by pg_dump 18 is not put into 16."""
    id_ = filed_again(
        repository,
        backup,
        change=lambda manifest: replace(manifest, server_version="PostgreSQL 16.1 on x"),
    )
    assert codes(run_restore_test(repository, id_).report) == {"VERSION_MISMATCH"}


def test_a_skewed_clock_has_its_code(repository: LabRepository, backup: Created) -> None:
    """A backup from tomorrow, and one that ended before it began."""
    day = timedelta(days=1)
    for change in (
        lambda manifest: replace(manifest, finished=manifest.finished + day),
        lambda manifest: replace(manifest, finished=manifest.finished - day),
        lambda manifest: replace(manifest, snapshot_time=manifest.snapshot_time - day),
    ):
        report = run_restore_test(repository, filed_again(repository, backup, change=change)).report
        assert codes(report) == {"CLOCK_SKEW"}
        assert report.verdict.word is Word.INCONCLUSIVE


def test_an_archive_that_is_none_has_its_code(repository: LabRepository, backup: Created) -> None:
    """Every chunk is what was written, and what was written is no archive."""
    content = b"".join(repository.open(backup).chunks(repository.open(backup).part("schema")))
    for broken in (b"no archive", content[: len(content) // 2]):
        id_ = filed_again(repository, backup, parts={"schema": broken})
        assert codes(run_restore_test(repository, id_).report) == {"ARCHIVE_UNREADABLE"}


def test_a_restore_that_ends_with_an_error_has_its_code(
    repository: LabRepository, backup: Created
) -> None:
    """An owner that the globals do not make."""
    id_ = filed_again(
        repository,
        backup,
        parts={"globals": b"--\n-- PostgreSQL database cluster dump\n--\n"},
    )
    report = run_restore_test(repository, id_).report
    assert codes(report) == {"RESTORE_ERRORS"}
    assert "corpus_owner" in (report.verdict.findings[0].observed or "")


def test_a_test_that_was_killed_is_told_of_by_the_next(
    repository: LabRepository, backup: Created
) -> None:
    """The log gets an end for it, and the history of the next report shows it."""
    details = {
        "report": "20260114T020000Z-000000",
        "database": backup.manifest.database,
        "backup": backup.manifest.backup_id,
        "host": HOST,
    }
    log = open_log(repository)
    begun = log.append(EntryType.RESTORE_TEST_STARTED, details, now=datetime.now(UTC))
    elsewhere = {**details, "report": "20260114T020000Z-000001", "host": "elsewhere"}
    log.append(EntryType.RESTORE_TEST_STARTED, elsewhere, now=datetime.now(UTC))
    assert codes(run_restore_test(repository).report) == set()
    found = log.newest(lambda entry: entry.type is EntryType.RESTORE_TEST_ABORTED)
    assert found is not None
    assert found.details == {
        "report": "20260114T020000Z-000000",
        "database": backup.manifest.database,
        "backup": backup.manifest.backup_id,
        "verdict": "FAIL",
        "codes": "ABANDONED",
        "level": -1,
        "started": begun.entry.seq,
    }
    report = run_restore_test(repository).report
    assert [run.verdict for run in report.history] == ["FAIL", "PASS"]
    assert report.trigger.attempt == 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A policy, and what comes of it for a healthy backup."""

    policy: RestoreTestPolicy
    codes: set[str]


QUESTION = Question(id="clients", sql="SELECT count(*) FROM public.clients -- all", expected="500")
ASKED = {
    "met": Asked(
        RestoreTestPolicy(
            questions=(QUESTION,),
            smoke_command=("/bin/sh", "-c", 'test -S "$PGHOST/.s.PGSQL.$PGPORT"'),
            rto_target_ms=3_600_000,
            rpo_target_ms=3_600_000,
        ),
        set(),
    ),
    "another answer": Asked(
        RestoreTestPolicy(questions=(replace(QUESTION, expected="501"),)), {"INVARIANT_FAILED"}
    ),
    "no SQL": Asked(
        RestoreTestPolicy(questions=(replace(QUESTION, sql="SELEKT 1"),)), {"CHECK_ERROR"}
    ),
    "too slow": Asked(
        RestoreTestPolicy(
            questions=(replace(QUESTION, sql="SELECT pg_sleep(60)"),), check_timeout_ms=500
        ),
        {"CHECK_TIMEOUT"},
    ),
    "smoke": Asked(RestoreTestPolicy(smoke_command=("/bin/false",)), {"SMOKE_FAILED"}),
    "no smoke": Asked(RestoreTestPolicy(smoke_command=("/no/such",)), {"CHECK_ERROR"}),
    "slow smoke": Asked(
        RestoreTestPolicy(smoke_command=("/bin/sleep", "60"), check_timeout_ms=500),
        {"CHECK_TIMEOUT"},
    ),
    "RTO": Asked(RestoreTestPolicy(rto_target_ms=1), {"RTO_EXCEEDED"}),
    "RPO": Asked(RestoreTestPolicy(rpo_target_ms=1), {"RPO_EXCEEDED"}),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_the_firm_asks_has_its_code(
    any_server: LabServer, repository: LabRepository, whole: Dsn, asked: str
) -> None:
    """Its own checks, its smoke command, its targets; met, they prove up to level 8 but amcheck."""
    repository.back_up(whole)
    report = run_restore_test(repository, policy=ASKED[asked].policy).report
    assert codes(report) == ASKED[asked].codes
    ran = {check.id for check in report.checks if check.status == "passed"}
    if not ASKED[asked].codes:
        assert {"invariants", "smoke", "rto", "rpo"} <= ran
    assert "pg_sleep" not in json.dumps([list(run.argv) for run in report.commands])


def test_somebody_may_answer_for_a_finding_and_leave_out_a_table(
    any_server: LabServer, repository: LabRepository, whole: Dsn
) -> None:
    """The word says so, the report names who; expired, neither counts."""
    expected = reference(whole)
    any_server.sql(
        "DELETE FROM notes WHERE id = 1; DELETE FROM prices WHERE id = 1", database=whole.database
    )
    id_ = filed_again(repository, repository.back_up(whole), catalog=expected)
    later = datetime.now(UTC) + timedelta(days=1)
    named = {"approver": "cto@firm", "reason": "known"}

    def policy(expires: datetime) -> RestoreTestPolicy:
        code, what = Code.ROWCOUNT_DIFF, "table public.notes"
        return RestoreTestPolicy(
            waivers=(Waiver(code=code, what=what, expires=expires, **named),),
            exclusions=(Exclusion(what="public.prices", expires=expires, **named),),
            frameworks=("iso27001", "cis"),
        )

    report = run_restore_test(repository, id_, policy=policy(later)).report
    assert report.verdict.sentence == "PASS with 1 exception"
    assert report.verdict.level == 4
    assert [one.what for one in report.exclusions] == ["public.prices"]
    assert any("public.prices" in limit for limit in report.limits)
    assert {one.control for one in report.controls} == {"A.8.33", "11.1", "11.3"}
    report = run_restore_test(repository, id_, policy=policy(datetime.now(UTC))).report
    assert (codes(report), report.exclusions) == ({"ROWCOUNT_DIFF"}, ())
    assert len(report.verdict.findings) == 2


def test_without_room_nothing_is_proven(
    repository: LabRepository, backup: Created, tmp_path: Path
) -> None:
    """A scratch directory that is none: this host failed, not the backup."""
    report = run_restore_test(
        repository, backup.manifest.backup_id, scratch=tmp_path / "none"
    ).report
    assert codes(report) == {"ENVIRONMENT_FAILURE"}
    assert report.verdict.word is Word.INCONCLUSIVE
