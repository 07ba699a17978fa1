"""What the firm asks of its restore tests: targets, questions, what somebody answers for.

The models are what the settings file says; `RestoreTestPolicy` is what a restore test works with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Annotated, ClassVar, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from backup.evidence.controls import FrameworkName
from backup.evidence.report import Exclusion
from backup.evidence.verdict import Code, Waiver
from backup.repository.canonical import STRICT, encode
from backup.repository.manifest import sha256_hex

_GIVEN = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
Text: TypeAlias = Annotated[str, Field(min_length=1)]


class GivenQuestion(BaseModel):
    """`[[checks]]`: SQL that answers with one row of one column, and what it must answer."""

    model_config = _GIVEN

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    sql: Text
    expected: str


class GivenWaiver(BaseModel):
    """`[[waivers]]`: who answers for a finding, why, and until when."""

    model_config = _GIVEN

    code: Code
    what: Text
    approver: Text
    reason: Text
    expires: AwareDatetime

    @property
    def waiver(self) -> Waiver:
        """The value that a verdict takes."""
        return Waiver(
            code=self.code,
            what=self.what,
            approver=self.approver,
            reason=self.reason,
            expires=self.expires.astimezone(UTC),
        )


class GivenExclusion(BaseModel):
    """`[[exclusions]]`: a table (`schema.name`) that is not compared; who said so, until when."""

    model_config = _GIVEN

    what: Text
    approver: Text
    reason: Text
    expires: AwareDatetime

    @property
    def exclusion(self) -> Exclusion:
        """The value that a report takes."""
        return Exclusion(
            what=self.what,
            approver=self.approver,
            reason=self.reason,
            expires=self.expires.astimezone(UTC),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """SQL of the operator's, and the one value that it must answer, as text."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    id: str
    sql: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTestPolicy:
    """All that decides what a restore test asks. Targets in milliseconds; None: there is none."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rto_target_ms: int | None = None
    rpo_target_ms: int | None = None
    questions: tuple[Question, ...] = ()
    smoke_command: tuple[str, ...] = ()
    check_timeout_ms: int = 300_000
    waivers: tuple[Waiver, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    frameworks: tuple[FrameworkName, ...] = ()

    @property
    def sha256(self) -> str:
        """Tells whether two tests asked the same."""
        return sha256_hex(encode(self))

    @property
    def check_timeout(self) -> timedelta:
        """How long one question, or the smoke command, may take."""
        return timedelta(milliseconds=self.check_timeout_ms)
