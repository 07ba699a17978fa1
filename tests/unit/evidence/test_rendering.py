"""What people read: pages, tables, words. A function of the bytes, harmless to who opens it."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from backup.errors import IntegrityError
from backup.evidence.render import charts, words
from backup.evidence.render.conclusion import Status, conclude
from backup.evidence.render.html import render_report
from backup.evidence.render.index import Listed, render_index
from backup.evidence.render.tables import HEADER, encode_csv, render_tables, result
from backup.evidence.report import Objectives, Report
from backup.evidence.schema import report_schema
from backup.evidence.verdict import Code, Finding, Verdict, Word
from backup.repository.canonical import encode
from tests import samples_report as samples
from tests.lab.effort import tries

ROOT = Path(__file__).parents[3]
SAMPLES = {
    "passed": samples.passed(),
    "failed": samples.failed(),
    "inconclusive": samples.inconclusive(),
    "excepted": samples.excepted(),
    "hostile": samples.hostile(),
}
VOID = {"meta", "br", "line", "rect", "circle", "polygon", "polyline", "path"}
KNOWN = VOID | {
    "html", "head", "title", "style", "body", "header", "main", "section", "div", "h1", "h2", "h3",
    "p", "ul", "li", "dl", "dt", "dd", "small", "table", "caption", "thead", "tbody", "tr", "th",
    "td", "span", "code", "bdi", "svg", "desc", "text", "a", "abbr",
}  # fmt: skip


class Page(HTMLParser):
    """The elements of a page, each closed in order, and its text."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(data.decode())
        self.close()
        assert not self.open, f"never closed: {self.open}"

    # What `HTMLParser` calls as it meets them.
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102 - of the parser
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102 - of the parser
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:  # noqa: D102 - of the parser
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:  # noqa: D102 - of the parser
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def page(report: Report) -> Page:
    """A rendered report."""
    return Page(render_report(encode(report)))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_page_is_of_plain_elements_only(name: str) -> None:
    """No script, picture, form, handler or address, whatever the names are."""
    found = page(SAMPLES[name])
    assert {tag for tag, _ in found.elements} <= KNOWN
    for _, attributes in found.elements:
        assert not any(key.startswith("on") for key in attributes)
        assert "style" not in attributes
        assert "src" not in attributes
        assert "href" not in attributes


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_on_a_page_acts_unseen(name: str) -> None:
    """No control, no character that turns text around, nothing of no width."""
    text = render_report(encode(SAMPLES[name])).decode()
    acting = re.findall(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f]", text
    )
    assert not acting


def test_hostile_names_are_shown_as_they_are() -> None:
    """A reader sees what the name is, with what can't be seen written as its number."""
    text = "".join(page(samples.hostile()).text)
    assert "<script>alert(1)</script>" in text
    assert r"clients\u{202e}txt.exe" in text
    assert r"two\u{a}lines\u{d}\u{a}and a tab\u{9}." in text
    assert "{{ 7 * 7 }}{% raw %}" in text
    assert "\U0001f512" * 15 + "abc" in text
    assert r"back\u{5c}slash" in text
    assert "z\u0301\u0301\\u{301}" in text


def test_the_policy_allows_the_style_sheet_and_nothing_else() -> None:
    """By its hash, so an element that somebody smuggles in has no effect either."""
    [policy] = [
        meta["content"]
        for meta in page(samples.passed()).of("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_rendering_is_a_function_of_the_bytes() -> None:
    """No clock, no chance; and bytes that are not canonical are refused."""
    data = encode(samples.passed())
    assert render_report(data) == render_report(bytes(data))
    with pytest.raises(IntegrityError):
        render_report(data + b"\n")


def test_many_tables_stay_below_a_megabyte() -> None:
    """Five hundred with room to spare, and even two thousand."""
    number = tries(few=500, some=2000, full=2000)
    assert (
        len(render_report(encode(samples.huge(number)))) < {500: 400_000, 2000: 1_000_000}[number]
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_every_chart_and_table_says_what_it_is(name: str) -> None:
    """Charts have title and description, tables a caption or a heading for each row."""
    found = page(SAMPLES[name])
    drawn = [svg for svg in found.of("svg") if svg.get("role") == "img"]
    ids = {attributes.get("id") for _, attributes in found.elements}
    assert drawn
    for svg in drawn:
        assert set((svg["aria-labelledby"] or "").split()) <= ids
    given = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(given) == len(set(given))
    assert all("scope" in cell for cell in found.of("th"))
    assert found.of("html") == [{"lang": "en"}]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_colour_never_stands_alone(name: str) -> None:
    """Each coloured word has its shape before it and is a word."""
    text = render_report(encode(SAMPLES[name])).decode()
    labels = re.findall(r'<span class="word \w+">(.*?)</span>', text)
    assert labels
    for label in labels:
        assert re.fullmatch(r'<svg class="mark".*?</svg>\S.*', label)


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        (
            "passed",
            Status.RECOVERABLE,
            "restored in 3 min 23 s (target: 30 min), and 6 tables with",
        ),
        (
            "failed",
            Status.AT_RISK,
            "is wrong: 2 findings, the first is that the number of rows differs (public.clients)",
        ),
        ("inconclusive", Status.NOT_PROVEN, "No earlier backup in this report passed"),
        ("excepted", Status.RECOVERABLE, "with 1 exception answered for"),
    ],
)
def test_page_one_answers_with_a_word_and_its_numbers(name: str, status: Status, says: str) -> None:
    """The board's question, in one sentence."""
    found = conclude(SAMPLES[name])
    assert found.status is status
    assert says in found.sentence
    assert found.sentence in "".join(page(SAMPLES[name]).text)


def with_verdict(word: Word, level: int, **changes: object) -> Report:
    """The good report with another verdict."""
    values: dict[str, object] = {"exceptions": 0, "seal": 2, "findings": ()}
    verdict = Verdict(word=word, level=level, **{**values, **changes})  # type: ignore[arg-type] # a test passes what it means
    return replace(samples.passed(), verdict=verdict)


def test_a_pass_without_row_counts_is_not_proven() -> None:
    """Who never compared rows does not know; who answers for a finding takes a risk."""
    shallow = conclude(with_verdict(Word.PASS, 4))
    assert shallow.status is Status.NOT_PROVEN
    assert "ends at level 4" in shallow.sentence
    assert conclude(with_verdict(Word.PASS, 2, exceptions=2)).status is Status.AT_RISK
    assert "exactly the rows" in conclude(with_verdict(Word.PASS, 5)).sentence


def test_data_that_came_back_late_is_not_called_wrong() -> None:
    """What is wrong is around the data, and the sentence says so."""
    late = (Finding(code=Code.RTO_EXCEEDED, what="recovery"),)
    found = conclude(with_verdict(Word.FAIL, 7, findings=late))
    assert found.status is Status.AT_RISK
    assert (
        "came back, but not as it has to: recovery took longer than its target (recovery)"
        in found.sentence
    )


def test_a_verdict_without_a_finding_is_still_told() -> None:
    """Nothing that a report may say breaks its page."""
    assert "no finding says why" in conclude(with_verdict(Word.INCONCLUSIVE, 0)).sentence
    unmeasured = replace(
        with_verdict(Word.PASS, 7),
        objectives=Objectives(rto_ms=None, rto_target_ms=None, rpo_ms=1, rpo_target_ms=1),
    )
    assert "was restored, and" in conclude(unmeasured).sentence
    assert page(unmeasured)


def test_what_is_proven_comes_from_an_earlier_test_if_need_be() -> None:
    """The newest backup that passed; an entry that names no backup is passed over."""
    report = replace(
        samples.failed(),
        history=(
            samples.past(14),
            samples.past(7),
            samples.past(3, "FAIL"),
            replace(samples.past(1), backup_id="z"),
        ),
    )
    proven = conclude(report).proven
    assert proven is not None
    assert proven.age_ms == timedelta(days=7, hours=2) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "content equal"),
        ({"digest_source": None}, "rows equal"),
        ({"digest_restored": "0" * 64}, "different"),
        ({"rows_restored": 1}, "different"),
        ({"is_compared": False}, "not compared"),
    ],
)
def test_a_table_has_one_of_four_results(changes: dict[str, object], found: str) -> None:
    """Equal digests without equal rows are no equality."""
    assert result(replace(samples.table("t"), **changes)) == found  # type: ignore[arg-type] # a test passes what it means


def test_a_spreadsheet_finds_no_formula_and_a_reader_the_very_name() -> None:
    """An apostrophe in front, also of what begins with one, so that taking one away is enough."""
    text = render_tables(samples.hostile()).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == list(HEADER)
    assert not any(cell.startswith(tuple("=+-@\t\r\n")) for row in rows for cell in row)
    assert tuple(row[1].removeprefix("'") for row in rows[1:]) == tuple(
        name.removeprefix("'") if name != "'quoted" else "'quoted" for name in samples.HOSTILE
    )
    assert "''quoted" in text


def test_csv_ends_lines_as_rfc_4180_wants() -> None:
    """And leaves empty what is not known; numbers stay numbers."""
    assert encode_csv(("a", "b"), [(None, -1), ("x,y", "\n")]) == b'a,b\r\n,-1\r\n"x,y","\'\n"\r\n'


@pytest.fixture(scope="module")
def validator() -> Any:
    """What holds a report against the published schema."""
    return jsonschema.Draft202012Validator(json.loads(report_schema()))


@pytest.mark.parametrize("name", SAMPLES)
def test_reports_follow_the_published_schema(name: str, validator: Any) -> None:
    """The schema is strict: nothing else may be in a report, and nothing may be missing."""
    plain = json.loads(encode(SAMPLES[name]))
    validator.validate(plain)
    assert not validator.is_valid({**plain, "more": 1})
    del plain["verdict"]["findings"]
    assert not validator.is_valid(plain)


def test_the_published_schema_is_the_one_of_the_values() -> None:
    """`strongroom report schema >docs/report.schema.json` makes it anew."""
    assert (ROOT / "docs/report.schema.json").read_text(encoding="utf-8") == report_schema()


def test_every_code_has_its_words() -> None:
    """A board reads no codes."""
    said = [words.code(code) for code in Code]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 s"),
        (4_240, "4.2 s"),
        (60_000, "1 min"),
        (203_000, "3 min 23 s"),
        (3_600_000, "1 h"),
        (4_200_000, "1 h 10 min"),
        (172_800_000, "2 d"),
        (187_200_000, "2 d 4 h"),
    ],
)
def test_spans_read_as_people_say_them(milliseconds: int, text: str) -> None:
    """Two units at most, and none that says nothing."""
    assert words.span(milliseconds) == text


def test_sizes_and_counts_read_as_people_say_them() -> None:
    """Decimal units; a dash for what is not known."""
    assert [words.size(10**power) for power in (0, 3, 6, 9, 12)] == [
        "1 byte", "1.0 kB", "1.0 MB", "1.0 GB", "1.0 TB",
    ]  # fmt: skip
    assert (words.count(None), words.count(1234567)) == ("\u2013", "1,234,567")
    assert (words.counted(1, "table"), words.counted(2, "table")) == ("1 table", "2 tables")


@pytest.mark.parametrize("maximum", [1, 99, 1000, 203_000, 86_400_000, 10**12])
def test_an_axis_has_few_round_numbers(maximum: int) -> None:
    """From nothing up to the largest value, six at most."""
    ticks = charts.ticks(maximum)
    assert ticks[0] == 0
    assert len(ticks) <= 6
    assert ticks[-1] <= maximum


def test_charts_of_nothing_and_of_one_are_charts() -> None:
    """A report without a history has a page all the same."""
    assert "0 restore tests" in charts.levels([])
    assert "0 restore tests" in charts.ages([], None)
    one = charts.Point(at=samples.ENDED, value=5, word=Word.PASS)
    assert "1 restore test," in charts.recovery_times([one], 10)


def test_the_index_lists_the_newest_first_and_says_what_cannot_be_read() -> None:
    """It is a way to the bundles; each database's newest report answers the question."""
    listed = [
        Listed(
            address=f"portal/{number}.zip",
            database="portal",
            report_id=number,
            report=report,
            problem=None,
        )
        for number, report in (("1", samples.failed()), ("2", samples.passed()))
    ]
    broken = Listed(
        address="a%2F<b>/3.zip", database="a/<b>", report_id="3", report=None, problem="no <zip>"
    )
    found = Page(render_index([*listed, broken]))
    assert [link["href"] for link in found.of("a")] == [
        "a%252F%3Cb%3E/3.zip", "portal/2.zip", "portal/1.zip",
    ]  # fmt: skip
    text = "".join(found.text)
    assert "RECOVERABLE" in text
    assert "no <zip>" in text
    assert "No restore test has been reported yet" in "".join(Page(render_index([])).text)
