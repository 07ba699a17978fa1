"""Each failure is told once, its recovery once, and what stays bad once a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from backup.repository.canonical import decode, encode
from scheduler.alerts import AlertState, Message, decide, told
from scheduler.facts import DatabaseRecord, Facts, Failure
from scheduler.health import assess
from tests.unit.scheduler.test_health import BLIND, DAY, GOOD, HOUR, NEWEST, NOW, RECORD

FAILED = replace(
    GOOD, failures=(Failure(job="backup", database="portal", at=NOW, error="server refused"),)
)
MINUTE = timedelta(minutes=1)


class People:
    """Whoever is told: the state as the journal keeps it, and every message that arrived."""

    def __init__(self) -> None:
        self.state = AlertState()
        self.inbox: list[Message] = []
        self.hears = True

    def see(self, facts: Facts, now: datetime) -> Sequence[Message]:
        """What is sent at one evaluation; it arrives if the notifier works."""
        decision = decide(self.state, assess(facts, now=now))
        self.state = decision.state
        if self.hears:
            for message in decision.messages:
                self.state = told(self.state, message, now=now)
                self.inbox.append(message)
        # The journal keeps text: what does not survive it is not state.
        self.state = decode(AlertState, encode(self.state), "alerts")
        return decision.messages

    @property
    def kinds(self) -> list[str]:
        """What kinds of message arrived."""
        return [one.kind for one in self.inbox]


def recovered(now: datetime) -> Facts:
    """A backup was taken just now."""
    return replace(GOOD, records={"portal": replace(RECORD, newest=replace(NEWEST, started=now))})


def test_nothing_wrong_nothing_said() -> None:
    """Good news every hour teaches people not to read."""
    people = People()
    people.see(GOOD, NOW)
    assert people.inbox == []


def test_each_failure_one_message_its_recovery_one() -> None:
    """However often the status is looked at in between."""
    people = People()
    for minute in range(30):
        people.see(FAILED, NOW + minute * MINUTE)
    for minute in range(30, 40):
        people.see(recovered(NOW + 30 * MINUTE), NOW + minute * MINUTE)
    assert people.kinds == ["problem", "recovery"]
    assert people.inbox[1].title == "[strongroom backup1] recovered: backup of portal"
    assert "bad from 2026-01-14 03:00 UTC to 2026-01-14 03:30 UTC" in people.inbox[1].body


def test_a_message_says_what_where_since_when_and_what_to_do() -> None:
    """Who is woken by it need not look anything up."""
    people = People()
    people.see(FAILED, NOW + MINUTE)
    (message,) = people.inbox
    assert message.title == "[strongroom backup1] CRITICAL: backup of portal"
    for part in (
        "failed: server refused",
        "since: 2026-01-14 03:00 UTC",
        "next:  journalctl",
        "host: backup1",
        "repository: /srv/backups",
        "strongroom status",
        "docs/monitoring.md#backup_failed",
    ):
        assert part in message.body


def test_what_stays_bad_is_told_again_once_a_day() -> None:
    """Three days of failing: the message, and three reminders."""
    people = People()
    for hour in range(3 * 24 + 1):
        people.see(FAILED, NOW + hour * HOUR)
    # The first day it also becomes overdue and breaks the RPO: no worse than critical.
    assert people.kinds == ["problem", "reminder", "reminder", "reminder"]


def test_worse_is_told_at_once() -> None:
    """A warning that becomes critical does not wait for tomorrow."""
    people = People()
    unproven = replace(GOOD, records={"portal": replace(RECORD, proof=None, last_test=None)})
    assert RECORD.last_test is not None
    failing = replace(
        GOOD,
        records={
            "portal": replace(
                RECORD, proof=None, last_test=replace(RECORD.last_test, verdict="FAIL")
            )
        },
    )
    people.see(unproven, NOW)
    people.see(failing, NOW + MINUTE)
    people.see(unproven, NOW + 2 * MINUTE)
    people.see(failing, NOW + 3 * MINUTE)
    assert people.kinds == ["problem", "worse"]


def test_a_failure_that_is_retried_wakes_nobody() -> None:
    """Not before the retries are over; nor does a retry announce that anything is over."""
    people = People()
    retried = replace(FAILED, failures=(replace(FAILED.failures[0], retry_at=NOW + HOUR),))
    people.see(retried, NOW)
    assert people.inbox == []
    people.see(FAILED, NOW + MINUTE)
    people.see(retried, NOW + 2 * MINUTE)
    assert people.kinds == ["problem"]


def test_two_databases_are_two_messages() -> None:
    """The recovery of one says nothing of the other."""
    people = People()
    other = replace(GOOD.promises[0], database="crm")
    both = replace(
        GOOD,
        promises=(*GOOD.promises, other),
        records={"portal": DatabaseRecord(), "crm": DatabaseRecord()},
    )
    people.see(both, NOW)
    people.see(replace(both, records={"portal": RECORD, "crm": DatabaseRecord()}), NOW + MINUTE)
    assert [(one.kind, one.subject) for one in people.inbox] == [
        ("problem", "backup of crm"),
        ("problem", "backup of portal"),
        ("recovery", "backup of portal"),
    ]


def test_what_was_not_delivered_is_offered_again() -> None:
    """Until somebody was told; then once."""
    people = People()
    people.hears = False
    assert [one.kind for one in people.see(FAILED, NOW)] == ["problem"]
    assert [one.kind for one in people.see(FAILED, NOW + MINUTE)] == ["problem"]
    people.hears = True
    people.see(FAILED, NOW + 2 * MINUTE)
    people.see(FAILED, NOW + 3 * MINUTE)
    assert people.kinds == ["problem"]


def test_a_failure_nobody_heard_of_is_told_when_it_is_over() -> None:
    """The notifier was down all the while: the recovery says what it was."""
    people = People()
    people.hears = False
    people.see(FAILED, NOW)
    people.hears = True
    people.see(recovered(NOW + MINUTE), NOW + MINUTE)
    assert people.kinds == ["recovery"]
    assert "server refused" in people.inbox[0].body


def test_what_cannot_be_looked_at_is_not_announced_as_over() -> None:
    """A store that is away hides its damage; that is no recovery."""
    people = People()
    damaged = replace(GOOD, verify=replace(GOOD.verify, damages=1))
    people.see(damaged, NOW)
    blind = replace(GOOD, blindnesses=(BLIND,))
    people.see(blind, NOW + MINUTE)
    assert [(one.kind, one.subject) for one in people.inbox] == [
        ("problem", "verify"),
        ("problem", "repository"),
    ]
    people.see(damaged, NOW + 2 * MINUTE)
    assert people.inbox[2].title.endswith("recovered: repository")


def test_a_clock_that_was_set_back_does_not_silence() -> None:
    """Told a year in the future, by the clock of then: told again."""
    people = People()
    people.see(FAILED, NOW + 365 * DAY)
    people.see(FAILED, NOW)
    about = [one.kind for one in people.inbox if one.subject == "backup of portal"]
    assert about == ["problem", "reminder"]
