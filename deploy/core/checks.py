"""What `host verify` asks of a host, and what it makes of the answers: pure.

A probe is one SQL statement or one line of shell, exactly as an auditor may repeat it. Its answer
is a list of items, one a line. Some may be there (`allowed`), some must (`required`); whatever
else is there fails the check, and so does an answer that did not come: not to know is not good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from deploy.core.exporters import exporters
from deploy.core.model import REPLICATION_ROLE, BackupHost, DatabaseServer, Estate, Host, Replica

Language: TypeAlias = Literal["sql", "shell", "dial"]
# Asked once of the host; in the database `postgres`; in each database.
Scope: TypeAlias = Literal["host", "cluster", "database"]
_LONGEST: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The host that is asked: what it is declared to be, and what the operator's machine knows.

    A replica has a `server` too: what it is a copy of. `certificate_problems` judges a PEM
    certificate that the server showed; `ca_keys` are SHA-256 sums of the public keys of the
    authorities, whose private keys must be on no host.
    """

    estate: Estate
    host: Host
    now: datetime
    server: DatabaseServer | None = None
    replica: Replica | None = None
    backup_host: BackupHost | None = None
    served_serial: str | None = None
    certificate_problems: Callable[[str], tuple[str, ...]] | None = None
    ca_keys: frozenset[str] = frozenset()

    def fill(self, text: str) -> str:
        """Return a probe's text with this host's own names in it."""
        values: dict[str, object] = {
            "address": self.host.address,
            "host": self.host.name,
            "exporters": " ".join(exporters(has_server=self.server is not None)),
        }
        if self.server is not None:
            values |= {
                "port": self.server.port,
                "major": self.server.package.major,
                "data": self.server.data_directory,
                "conf": self.server.configuration_directory,
                "backup_role": "" if self.server.backup is None else self.server.backup.role,
                "replication_role": REPLICATION_ROLE.name,
            }
        if self.replica is not None:
            values |= {
                "primary": self.replica.primary,
                "replication_slot": self.replica.replication_slot,
            }
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        return text


Names: TypeAlias = Callable[[Target], frozenset[str]]
Judge: TypeAlias = Callable[[Target, tuple[str, ...]], tuple[str, ...]]


def nothing(target: Target) -> frozenset[str]:
    """No item at all."""
    del target
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A question, and which answers are good. `judge` returns what is wrong, in place of the sets.

    `applies` says whether there is anything to ask on this host.
    """

    id: str
    what: str
    language: Language
    text: str
    expected: str
    hint: str
    scope: Scope = "host"
    allowed: Names = nothing
    required: Names = nothing
    judge: Judge | None = None
    applies: Callable[[Target], bool] = lambda _: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back of a probe: items, or why there are none."""

    items: tuple[str, ...] = ()
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of one host (and database), as text, JSON and the signed report have it."""

    host: str
    id: str
    what: str
    language: Language
    how: str
    expected: str
    observed: str
    passed: bool
    hint: str


# Of a host, by probe and database ("" where it is not asked in each).
Answers: TypeAlias = Mapping[tuple[str, str], Answer]


def judge(target: Target, probes: tuple[Probe, ...], answers: Answers) -> tuple[Check, ...]:
    """Return every check of a host, in the order of the probes."""
    return tuple(
        _judged(target, probe, database, answers)
        for probe in probes
        if probe.applies(target)
        for database in databases_of(target, probe)
    )


def databases_of(target: Target, probe: Probe) -> tuple[str, ...]:
    """Return the databases that a probe is asked in; one empty name if it is asked once."""
    if probe.scope != "database" or target.server is None:
        return ("",)
    return tuple(database.name for database in target.server.databases)


def _judged(target: Target, probe: Probe, database: str, answers: Answers) -> Check:
    answer = answers.get((probe.id, database), Answer(failure="it was not asked"))
    try:
        wrong = _wrong(target, probe, answer.items) if answer.failure is None else ()
        failure = answer.failure
    except ValueError as error:
        wrong, failure = (), f"the answer is not understood: {error}"
    if failure is not None:
        observed, passed = f"could not be observed: {failure}", False
    else:
        passed = not wrong
        # What a judge reads is no reading for people.
        good = probe.expected if probe.judge is not None else ", ".join(answer.items) or "nothing"
        observed = target.fill(good) if passed else ", ".join(wrong)
    return Check(
        host=target.host.name,
        id=f"{probe.id}:{database}" if database else probe.id,
        what=f"{probe.what} ({database})" if database else probe.what,
        language=probe.language,
        how=target.fill(probe.text),
        expected=target.fill(probe.expected),
        observed=_printable(observed),
        passed=passed,
        hint="" if passed else target.fill(probe.hint),
    )


def _wrong(target: Target, probe: Probe, items: tuple[str, ...]) -> tuple[str, ...]:
    if probe.judge is not None:
        return probe.judge(target, items)
    required = probe.required(target)
    allowed = probe.allowed(target) | required
    extra = [item for item in items if item not in allowed]
    missing = [f"missing: {item}" for item in sorted(required) if item not in items]
    return (*extra, *missing)


def _printable(text: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + " …"
