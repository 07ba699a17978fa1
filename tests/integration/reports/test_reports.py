"""Reports on a host: published once, in two places, and read by the command line."""

from __future__ import annotations

import csv
import io
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backup.crypto import age
from backup.errors import StoreError
from backup.evidence.bundle import PAGE, READ_ME, TABLES, decode_zip
from backup.evidence.bundlecheck import check_bundle
from backup.evidence.entry import EntryType
from backup.evidence.log import read_log
from backup.evidence.slot import Policy, Slot, missed_details, slot_text
from backup.evidence.verdict import Word
from backup.repository.layout import log_entry_key
from backup.schedule import Schedule
from tests import samples_report
from tests.integration.crypto.test_timestamps import Authority
from tests.lab.reports import LabReports, lab_reports
from tests.lab.repositories import Ended, ended
from tests.samples import KEY
from tests.samples_bundle import changed, resealed


@pytest.fixture
def reports() -> Iterator[LabReports]:
    """A repository whose backup may be reported on."""
    with lab_reports() as found:
        yield found


def entries(reports: LabReports) -> list[EntryType]:
    """What the log tells, in order."""
    return [entry.type for entry in read_log(reports.lab.opened.store).entries()]


def test_a_report_is_published_in_two_places_and_logged(reports: LabReports) -> None:
    """Plain for its readers, sealed where the backups are; both the same, and good."""
    published = reports.publish(reports.report())
    assert published.refusal is None
    bundle = published.path.read_bytes()
    assert published.path.parent.name == "portal"
    assert stat.S_IMODE(published.path.stat().st_mode) == 0o600
    sealed = reports.lab.opened.store.get(published.object_key)
    assert b"clients" not in sealed
    assert age.unseal(sealed, [reports.lab.identity]) == bundle
    assert check_bundle(bundle, reports.lab.allowed).wrong == ()
    assert entries(reports) == [
        EntryType.GENESIS,
        EntryType.RESTORE_TEST_STARTED,
        EntryType.RESTORE_TEST_FINISHED,
        EntryType.REPORT_PUBLISHED,
    ]
    assert not list(reports.directory.rglob(".*"))
    assert "RECOVERABLE" in (reports.directory / "index.html").read_text(encoding="utf-8")


def test_a_report_is_never_overwritten(reports: LabReports) -> None:
    """What lies there is somebody's evidence already."""
    report = reports.report()
    before = reports.publish(report).path.read_bytes()
    with pytest.raises(StoreError, match="exists already"):
        reports.publish(replace(report, generated_by="strongroom other"))
    assert (
        reports.publish(reports.report(number=2))
        .path.parent.joinpath(f"{report.report_id}.zip")
        .read_bytes()
        == before
    )


def test_a_log_that_refuses_does_not_cost_the_report(reports: LabReports) -> None:
    """The finding is kept, says that it is not in the log, and the caller hears of it."""
    report = reports.report()
    report = replace(report, verdict=replace(report.verdict, word=Word.FAIL))
    key = log_entry_key(1)
    (reports.lab.directory / key).unlink()
    published = reports.publish(report)
    assert published.refusal is not None
    bundle = published.path.read_bytes()
    assert check_bundle(bundle, reports.lab.allowed).wrong == ()
    assert b"is not in the evidence log" in decode_zip(bundle)[READ_ME]


def test_a_sealed_copy_that_could_not_be_put_is_put_by_the_next(reports: LabReports) -> None:
    """Where the backups are there is no room for it; the report is kept, and the caller hears."""
    report = reports.report()
    folder = reports.lab.directory / "reports"
    folder.write_bytes(b"in the way of a directory")
    published = reports.publish(report)
    assert published.refusal is None
    assert published.unsealed is not None
    assert check_bundle(published.path.read_bytes(), reports.lab.allowed).wrong == ()
    assert EntryType.REPORT_PUBLISHED not in entries(reports)
    folder.unlink()

    later = reports.publish(reports.report(number=2))
    assert (later.refusal, later.unsealed) == (None, None)
    for one in (published, later):
        sealed = reports.lab.opened.store.get(one.object_key)
        assert age.unseal(sealed, [reports.lab.identity]) == one.path.read_bytes()
    told = [
        (entry.details["report"], entry.details["report_sha256"], entry.details["bundle_sha256"])
        for entry in read_log(reports.lab.opened.store).entries()
        if entry.type is EntryType.REPORT_PUBLISHED
    ]
    assert told == [
        (one.path.stem, one.report_sha256, one.bundle_sha256) for one in (published, later)
    ]
    reports.publish(reports.report(number=3))
    assert entries(reports).count(EntryType.REPORT_PUBLISHED) == 3


def test_a_report_without_a_log_or_a_manifest_is_still_kept(reports: LabReports) -> None:
    """A PASS of that kind is refused by whoever verifies it."""
    report = reports.report()
    reports.lab.opened.store.delete(KEY.signature)
    bundle = reports.publish(report, has_log=False).path.read_bytes()
    assert check_bundle(bundle, reports.lab.allowed).wrong == (
        "a PASS needs the manifest of its backup, and it is not there",
        "a PASS must be in the evidence log, and the proof is not there",
    )


def test_another_manifest_is_not_bundled(reports: LabReports) -> None:
    """Only the one that was tested."""
    report = reports.report()
    other = replace(report, backup=replace(report.backup, manifest_sha256="0" * 64))
    bundle = reports.publish(other).path.read_bytes()
    assert "a PASS needs the manifest" in check_bundle(bundle, reports.lab.allowed).wrong[0]


def test_what_cannot_be_read_is_listed_as_such(reports: LabReports) -> None:
    """A broken bundle, one under another's name; what is no bundle at all is passed over."""
    published = reports.publish(reports.report())
    folder = published.path.parent
    (folder / "20260101T000000Z-000000.zip").write_bytes(b"no zip")
    shutil.copy(published.path, folder / "20260102T000000Z-000000.zip")
    (folder / "20260103T000000Z-000000.zip").mkdir()
    (folder / "notes.zip").touch()
    listed = reports.host.strongroom("report", "list", "--json").json
    assert [one["problem"] is None for one in listed] == [False, False, False, True]
    assert "no whole zip file" in listed[0]["problem"]
    assert "another test" in listed[1]["problem"]
    text = reports.host.strongroom("report", "list").stdout
    assert "can't be read" in text
    assert "PASS" in text
    assert reports.host.strongroom("report", "list", "--database", "none").stderr == "no reports\n"


def test_show_and_render_take_an_id_or_a_file(reports: LabReports, tmp_path: Path) -> None:
    """The page is the one in the bundle; it is written once."""
    published = reports.publish(reports.report(samples_report.excepted()))
    host, id_ = reports.host, published.path.stem
    shown = host.strongroom("report", "show", id_)
    assert shown.stdout.startswith("RECOVERABLE: ")
    assert "COLLATION_MISMATCH  database portal (waived by C. Ito, CTO)" in shown.stdout
    assert host.strongroom("report", "show", published.path, "--json").json["report_id"] == id_
    page = decode_zip(published.path.read_bytes())[PAGE].decode()
    assert host.strongroom("report", "render", id_).stdout == page
    target = tmp_path / "page.html"
    assert host.strongroom("report", "render", id_, "-o", target).code == 0
    assert target.read_text(encoding="utf-8") == page
    again = host.strongroom("report", "render", id_, "-o", target)
    assert (again.code, "hint: name a file that does not exist" in again.stderr) == (2, True)
    assert target.read_text(encoding="utf-8") == page
    assert host.strongroom("report", "show", "20260101T000000Z-000000").code == 4


def test_verify_wants_pins_and_says_what_is_wrong(reports: LabReports, tmp_path: Path) -> None:
    """0 for a genuine bundle, 3 for anything else, 11 where nothing is pinned."""
    published = reports.publish(reports.report())
    host, id_ = reports.host, published.path.stem
    good = host.strongroom("report", "verify", id_)
    assert good.code == 0
    assert "genuine, signed by strongroom@lab" in good.stdout
    assert "PASS at level 7" in good.stdout
    assert host.strongroom("report", "verify", id_, "--json").json["is_good"] is True

    elsewhere = {"STRONGROOM_STATE_DIRECTORY": str(tmp_path / "nothing")}
    unpinned = host.strongroom("report", "verify", published.path, **elsewhere)
    assert (unpinned.code, "UNPINNED" in unpinned.stderr) == (11, True)
    said = host.strongroom("report", "verify", published.path, "--json", **elsewhere)
    assert (said.code, said.json["is_good"]) == (11, False)
    pinned = ("--allowed-signers", reports.lab.allowed_signers_file)
    assert host.strongroom("report", "verify", published.path, *pinned, **elsewhere).code == 0

    forged = tmp_path / "forged.zip"
    forged.write_bytes(changed(published.path.read_bytes(), {TABLES: b"nothing"}))
    wrong = host.strongroom("report", "verify", forged)
    assert wrong.code == 3
    assert "WRONG  tables.csv is not the file that was listed" in wrong.stdout
    assert host.strongroom("report", "verify", forged, "--json").json["is_good"] is False


def test_check_finds_a_page_that_is_not_the_report(reports: LabReports, tmp_path: Path) -> None:
    """Also one whose sums were signed anew by the host's own key."""
    bundle = reports.publish(reports.report()).path.read_bytes()
    key = reports._keys.signing_key
    page = decode_zip(bundle)[PAGE].replace(b"RECOVERABLE", b"RECOVERABLE.")
    forged, genuine = tmp_path / "forged.zip", tmp_path / "genuine.zip"
    forged.write_bytes(resealed(bundle, {PAGE: page}, key))
    genuine.write_bytes(bundle)
    host = reports.host
    assert host.strongroom("report", "verify", forged).code == 0
    done = host.strongroom("report", "render", "--check", forged)
    assert (done.code, "not what this version makes" in done.stderr) == (3, True)
    assert host.strongroom("report", "render", "--check", genuine).stdout.startswith("Good: ")
    assert host.strongroom("report", "schema").json["title"].startswith("report.json")


def test_a_period_pack_verifies_with_the_commands_in_it(
    reports: LabReports, tmp_path: Path
) -> None:
    """Every restore test of the log is in it; one that is taken out of the table is missed."""
    reports.publish(reports.report(samples_report.excepted()))
    reports.publish(reports.report(samples_report.failed(), number=2))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    asked = ("report", "period", "--from", "2026-01-01", "--to", today)
    dry = reports.host.strongroom(*asked, "--dry-run")
    assert "2 restore tests, 2 exceptions of 1 databases" in dry.stdout
    assert "holds no schedule yet" in dry.stdout
    pack = tmp_path / "pack"
    assert reports.host.strongroom(*asked, "-o", pack).code == 0
    assert reports.host.strongroom(*asked, "-o", pack).code == 2
    (tmp_path / "allowed_signers").write_text(reports.lab.allowed_signers_file.read_text())
    text = (pack / READ_ME).read_text(encoding="utf-8")
    commands = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    done = ended(("/bin/bash", "-c", f"cd '{pack}'\nset -eux\n{commands}"), {"PATH": "/usr/bin"})
    assert done.code == 0, done.stderr
    assert done.stdout.endswith("GOOD\n")
    table = list(csv.DictReader(io.StringIO((pack / "population.csv").read_text())))
    assert [row["verdict"] for row in table] == ["PASS with 1 exception", "FAIL"]

    lines = (pack / "population.csv").read_bytes().splitlines(keepends=True)
    (pack / "population.csv").write_bytes(b"".join(lines[:-1]))
    missing = ended(("/usr/bin/env", "python3", str(pack / "verify-log.py")), {"PATH": "/usr/bin"})
    assert (missing.code, "is not in population.csv" in missing.stdout) == (3, True)
    log = (pack / "log.jsonl").read_bytes().splitlines(keepends=True)
    (pack / "log.jsonl").write_bytes(b"".join(log[:-1]))
    missing = ended(("/usr/bin/env", "python3", str(pack / "verify-log.py")), {"PATH": "/usr/bin"})
    assert (missing.code, missing.stdout[:5]) == (3, "WRONG")


def test_a_pack_that_cannot_be_written_whole_is_not_there(
    reports: LabReports, tmp_path: Path
) -> None:
    """A disk that takes only small files: nothing is left, and the next run is not hindered."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    parent = tmp_path / "packs"
    parent.mkdir()
    asked = ("report", "period", "--from", "2026-01-01", "--to", today, "-o", parent / "pack")
    done = reports.host.strongroom_under(("/usr/bin/prlimit", "--fsize=4096"), *asked)
    assert (done.code, "File too large" in done.stderr) == (6, True), done.stderr
    assert list(parent.iterdir()) == []
    assert reports.host.strongroom(*asked).code == 0
    assert [path.name for path in parent.iterdir()] == ["pack"]


def stock(pack: Path) -> Ended:
    """What the verifier in a pack says, with what every auditor has."""
    return ended(("/usr/bin/env", "python3", str(pack / "verify-log.py")), {"PATH": "/usr/bin"})


def test_a_slot_that_was_due_and_has_no_entry_is_rejected(
    reports: LabReports, tmp_path: Path
) -> None:
    """By `log verify`, by `report period`, and by the verifier in the pack, until it is told of."""
    now = datetime.now(UTC)
    # Due each day eight hours ago: at no time of the day is a slot still within its grace.
    crontab = f"0 {(now - timedelta(hours=8)).astimezone(ZoneInfo('Europe/London')).hour} * * *"
    policy = Policy(
        job="backup",
        database="portal",
        schedule=crontab,
        zone="Europe/London",
        grace=timedelta(hours=1),
    )
    reports.log.append(EntryType.POLICY_SET, policy.details, now=now - timedelta(days=4))
    due = Schedule.parse(crontab, "Europe/London")
    slots = list(due.slots(now - timedelta(days=4), now - timedelta(hours=2)))
    for slot in slots[:-2]:
        answers = {"database": "portal", "backup": "it", **Slot(job="backup", due=slot).details}
        reports.log.append(EntryType.BACKUP_FAILED, answers, now=slot + timedelta(minutes=5))
    first, last = now - timedelta(days=5), now
    asked = ("report", "period", "--from", f"{first:%Y-%m-%d}", "--to", f"{last:%Y-%m-%d}")

    (sentence,) = [
        line
        for line in reports.host.strongroom("log", "verify").stdout.splitlines()
        if "UNACCOUNTED" in line
    ]
    assert "SLOT_UNACCOUNTED: backup of portal was due 2 times from" in sentence
    done = reports.host.strongroom(*asked, "-o", tmp_path / "pack")
    assert (done.code, "SLOT_UNACCOUNTED: 2 slots were due" in done.stderr) == (3, True)
    said = stock(tmp_path / "pack")
    text = slot_text(slots[-2])
    assert said.code == 3
    assert f"SLOT_UNACCOUNTED: backup of portal was due {text} by entry 1" in said.stdout

    missed = missed_details(
        "backup", "portal", first=slots[-2], last=slots[-1], slots=2, reason="down"
    )
    reports.log.append(EntryType.SLOT_MISSED, missed, now=now)
    verified = reports.host.strongroom("log", "verify").stdout
    assert "UNACCOUNTED" not in verified
    assert reports.host.strongroom(*asked, "-o", tmp_path / "told").code == 0
    assert stock(tmp_path / "told").stdout == "GOOD\n"
    table = tmp_path / "told" / "population.csv"
    lines = table.read_bytes().splitlines(keepends=True)
    (gone,) = [number for number, line in enumerate(lines) if text.encode() in line]
    table.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    assert (
        f"the slot of {text} that was missed is not in population.csv"
        in stock(tmp_path / "told").stdout
    )


def test_a_period_of_a_log_that_is_not_whole_says_so(reports: LabReports, tmp_path: Path) -> None:
    """The pack is written, the page begins with it, and the exit code is 3."""
    reports.publish(reports.report())
    (reports.lab.directory / log_entry_key(2)).write_bytes(b"{}")
    asked = ("report", "period", "--from", "2026-01-01", "--to", "2026-12-31")
    done = reports.host.strongroom(*asked, "-o", tmp_path / "pack", "--json")
    assert (done.code, "not whole" in done.stderr) == (3, True)
    assert done.json["period"]["log_problems"]
    page = (tmp_path / "pack" / "period.html").read_text(encoding="utf-8")
    assert "The evidence log is not whole" in page
    backwards = ("report", "period", "--from", "2026-02-01", "--to", "2026-01-01")
    assert reports.host.strongroom(*backwards).code == 2
    unpinned = {"STRONGROOM_STATE_DIRECTORY": str(tmp_path / "nothing")}
    assert reports.host.strongroom(*asked, **unpinned).code == 11


def test_an_authority_seals_a_report(reports: LabReports, tmp_path: Path) -> None:
    """S2 until a time stamp is over its entries, S3 from then on; another authority's is none."""
    early = Authority(tmp_path / "early")
    query = tmp_path / "query.tsq"

    def stamp(authority: Authority, name: str) -> None:
        asked = query.with_name(name)
        assert reports.host.strongroom("log", "timestamp", "request", "-o", asked).code == 0
        reply = authority.reply(asked)
        take = ("log", "timestamp", "import", reply, "--certificate", authority.root)
        assert reports.host.strongroom(*take).code == 0

    stamp(early, "before.tsq")
    published = reports.publish(reports.report())
    verify = ("report", "verify", published.path, "--authority", early.root)
    assert "Seal S2: no time stamp" in reports.host.strongroom(*verify).stdout
    stamp(early, "after.tsq")
    said = reports.host.strongroom(*verify)
    assert (said.code, "Seal S3: the authority says" in said.stdout) == (0, True), said
    assert reports.host.strongroom(*verify, "--json").json["seal"] == 3
    other = Authority(tmp_path / "other")
    verify = ("report", "verify", published.path, "--authority", other.root)
    assert reports.host.strongroom(*verify, "--json").json["seal"] == 2
    # The repository holds another log than the one that the report was proven under.
    reports.lab.opened.store.delete(log_entry_key(2))
    verify = ("report", "verify", published.path, "--authority", early.root)
    done = reports.host.strongroom(*verify)
    assert (done.code, "does not begin with" in done.stderr) == (3, True), done
