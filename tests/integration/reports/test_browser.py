"""The pages in a real browser: for everybody to read, on paper too, and nothing in them acts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.lab.browser import Browser, install_axe, why_no_browser
from tests.samples_pages import PAGES

pytestmark = pytest.mark.skipif(why_no_browser() is not None, reason=why_no_browser() or "")


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script of axe-core, by its name from the registry."""
    return install_axe(tmp_path_factory.mktemp("axe"))


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Chromium."""
    return Browser(tmp_path)


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(name: str, browser: Browser, axe: Path) -> None:
    """Of WCAG 2.2 A and AA, nor of what axe calls good practice."""
    found = browser.asked(PAGES[name](), axe)
    assert found["violations"] == []
    assert found["passes"] >= 15


def test_axe_sees_a_violation(browser: Browser, axe: Path) -> None:
    """A page with a pale word and a picture without a name: the check above can fail."""
    page = PAGES["passed"]().replace(
        b"</main>", b'<p style="color:#ccc;background:#fff">pale</p><img src="data:,"></main>'
    )
    found = browser.asked(page, axe)
    assert {"color-contrast", "image-alt"} <= {one["id"] for one in found["violations"]}


@pytest.mark.parametrize("name", ["hostile", "period", "index"])
def test_nothing_in_a_page_runs_or_calls_anybody(name: str, browser: Browser) -> None:
    """Names that are scripts are text; planted scripts do not run, planted pictures stay away."""
    page = PAGES[name]()
    read = browser.read(page)
    assert "<script" not in read.replace("&lt;script", "")
    assert "&lt;script&gt;" in read
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        planted = (
            f'<img src="http://127.0.0.1:{server.getsockname()[1]}/"><p style="color:red">red</p>'
            "<script>document.title='ran'</script>"
        )
        read = browser.read(page.replace(b"</main>", planted.encode() + b"</main>"))
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "<title>ran</title>" not in read


def test_page_one_answers_on_paper(browser: Browser) -> None:
    """Are we recoverable, by which numbers, what is not proven, who signs: one sheet of A4."""
    for name, status in (("passed", "RECOVERABLE"), ("failed", "AT RISK")):
        first, *others = browser.printed(PAGES[name]())
        for words in (status, "Recovery time (RTO)", "does not prove", "SHA-256", "Reviewer"):
            assert words in first, words
        assert 2 <= len(others) <= 6


def test_page_one_of_a_period_answers_on_paper(browser: Browser) -> None:
    """Each database, what was due, coverage."""
    first, *others = browser.printed(PAGES["period"]())
    for words in ("Are we recoverable?", "AT RISK", "unaccounted for", "Coverage", "Mar 2026"):
        assert words in first, words
    assert 2 <= len(others) <= 6
