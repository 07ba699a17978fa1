"""Deliveries reach real servers, and those that fail or hang harm nothing and show no secret."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import pytest
from pydantic import SecretStr

from backup.errors import SettingsError
from scheduler.alerts import Message
from scheduler.deadman import DeadMan
from scheduler.notify import Notifiers
from scheduler.status import Severity
from tests.lab.sinks import black_hole, http_sink, mail_sink

SECRET = "canary-7c1f"
MESSAGE = Message(
    subject="backup of portal",
    kind="problem",
    severity=Severity.CRITICAL,
    title="[strongroom backup1] CRITICAL: backup of portal",
    body="✖ CRITICAL: failed: server refused\n  next:  strongroom doctor",
)
LIMIT = timedelta(seconds=30)
SHORT = timedelta(milliseconds=300)


def notifiers(*urls: str, limit: timedelta = LIMIT) -> Notifiers:
    """Places that are told."""
    return Notifiers([SecretStr(url) for url in urls], limit=limit)


def test_a_mail_arrives_with_all_of_the_message() -> None:
    """Title, text and every line of it, through a real mail server."""
    with mail_sink() as sink:
        delivery = notifiers(sink.url).deliver(MESSAGE)
        assert (delivery.is_told, delivery.failed) == (True, ())
        (mail,) = sink.messages
        assert mail["Subject"] == MESSAGE.title
        assert mail["To"].endswith("ops@example.org")
        body = mail.get_body(("plain",))
        assert body is not None
        assert "✖ CRITICAL: failed: server refused" in body.get_content()
        assert "next:  strongroom doctor" in body.get_content()


def test_one_place_that_fails_does_not_keep_it_from_the_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Somebody was told; who was not is named without the secret of his URL."""
    caplog.set_level(logging.DEBUG)
    with mail_sink() as good, mail_sink() as bad:
        bad.is_refusing = True
        url = f"{bad.url}&name={SECRET}"
        delivery = notifiers(url, good.url).deliver(MESSAGE)
        assert delivery.is_told
        assert delivery.failed == ("notifier 1 (mailto): refused or not reachable",)
        assert len(good.messages) == 1
    # The mail server of the test logs what it gets; nobody else may.
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith("mail.")]
    assert SECRET not in "".join(ours)


def test_a_notifier_that_hangs_is_given_up_on_and_not_asked_again() -> None:
    """It costs its limit once; while it hangs, further deliveries fail at once."""
    with black_hole() as port:
        hanging = notifiers(f"json://127.0.0.1:{port}/?cto=30&rto=30", limit=SHORT)
        began = time.monotonic()
        first = hanging.deliver(MESSAGE)
        second = hanging.deliver(MESSAGE)
        assert time.monotonic() - began < 25, "as long as nobody answers"
    assert first.failed == ("notifier 1 (json): no answer within 0 s",)
    assert second.failed == ("notifier 1 (json): the delivery before still hangs",)
    assert not first.is_told


def test_a_url_that_apprise_does_not_know_is_refused_without_being_shown() -> None:
    """At the start, not at three in the morning; it may hold a password."""
    with pytest.raises(SettingsError) as caught:
        notifiers(f"nonsense://user:{SECRET}@host")
    assert "URL 1 (nonsense)" in caught.value.message
    assert SECRET not in str(caught.value)


def test_the_dead_man_hears_of_good_runs_and_of_bad_ones() -> None:
    """The URL as it is, and with /fail; its query stays."""
    with http_sink() as sink:
        url = SecretStr(f"http://127.0.0.1:{sink.port}/ping/{SECRET}?rid=1")
        dead_man = DeadMan(url, limit=LIMIT)
        assert dead_man.ping(is_good=True)
        assert dead_man.ping(is_good=False)
        assert sink.paths == [f"/ping/{SECRET}?rid=1", f"/ping/{SECRET}/fail?rid=1"]


def test_a_ping_that_fails_is_logged_without_its_url(caplog: pytest.LogCaptureFixture) -> None:
    """An error answer, a closed port and a server that says nothing are the same: nobody heard."""
    caplog.set_level(logging.DEBUG)
    with http_sink() as sink:
        sink.code = 500
        assert not DeadMan(SecretStr(f"http://127.0.0.1:{sink.port}/{SECRET}"), limit=LIMIT).ping(
            is_good=True
        )
    with black_hole() as port:
        assert not DeadMan(SecretStr(f"http://127.0.0.1:{port}/{SECRET}"), limit=SHORT).ping(
            is_good=True
        )
    assert "the dead-man ping failed: HTTPError" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd", "just-a-word", "https://"])
def test_the_dead_man_is_an_http_url(url: str) -> None:
    """Anything else is a mistake in the credential."""
    with pytest.raises(SettingsError):
        DeadMan(SecretStr(url), limit=LIMIT)
