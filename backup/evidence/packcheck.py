"""Is a period pack what a pinned key signed, and does all of it follow from the log in it? Pure.

The second reader of a pack beside its own `verify-log.py`; the two share nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.sshkey import PublicKey
from backup.crypto.sshsig import Signer, verify
from backup.errors import IntegrityError
from backup.evidence.bundle import CHECKPOINT, SUMS, SUMS_SIGNATURE
from backup.evidence.bundlecheck import wrong_sums
from backup.evidence.log import Claim, StoredLog, check_log
from backup.evidence.period import Period, collect
from backup.evidence.periodpack import LOG, PACK
from backup.evidence.proof import kept_claim
from backup.evidence.render.period import (
    PERIOD,
    render_coverage,
    render_exceptions,
    render_population,
)
from backup.evidence.report import REPORT_NAMESPACE
from backup.repository.canonical import decode

_TABLES = {
    "population.csv": render_population,
    "coverage.csv": render_coverage,
    "exceptions.csv": render_exceptions,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPack:
    """Everything that is wrong with a pack, a sentence each, and what it tells of.

    `signer` is None if the signature is not whole; its principal is None if nothing was pinned.
    """

    period: Period
    signer: Signer | None
    wrong: tuple[str, ...]

    @property
    def is_pinned(self) -> bool:
        """Whether somebody that the reader knows signed it."""
        return self.signer is not None and self.signer.principal is not None


def read_period(members: Mapping[str, bytes]) -> Period:
    """Return what a pack tells of, believed by nobody yet. Raises `IntegrityError` for no pack."""
    if PERIOD not in members:
        raise IntegrityError(f"the pack holds no {PERIOD}")
    return decode(Period, members[PERIOD], PERIOD)


def check_pack(
    members: Mapping[str, bytes],
    allowed: AllowedSigners | None,
    *,
    earlier: bytes | None = None,
) -> CheckedPack:
    """Return what a pack tells of and everything that is wrong with it.

    `earlier` is a checkpoint that the reader has kept: the log must begin with what it is over.
    `allowed` None: signatures only have to be whole. Raises `IntegrityError` for what is no pack.
    """
    period = read_period(members)
    wrong = [*wrong_sums(members, PACK)]
    signer = None
    try:
        signer = verify(
            members.get(SUMS, b""),
            members.get(SUMS_SIGNATURE, b"").decode("ascii", "replace"),
            REPORT_NAMESPACE,
            allowed,
            now=period.judged_at,
        )
    except IntegrityError as error:
        wrong.append(f"{SUMS}: {error.message}")
    keys = [one.public_key for one in (allowed.signers if allowed else ())]
    if allowed is None and signer is not None:
        keys = [signer.public_key]
    wrong += _wrong_log(members, period, keys, earlier)
    for name, render in _TABLES.items():
        if members.get(name) != render(period):
            wrong.append(f"{name} does not say what {PERIOD} says")
    wrong += period.log_problems
    wrong += [
        f"SLOT_UNACCOUNTED: {one.unaccounted} slots of {one.job} of"
        f" {one.database or 'the repository'}, promised by entry {one.seq}, have no answer"
        for one in period.schedules
        if one.unaccounted
    ]
    return CheckedPack(period=period, signer=signer, wrong=tuple(wrong))


def _wrong_log(
    members: Mapping[str, bytes],
    period: Period,
    keys: Sequence[PublicKey],
    earlier: bytes | None,
) -> Iterator[str]:
    """Yield what is wrong with the log in a pack, and where the period does not follow from it."""
    lines = members.get(LOG, b"").split(b"\n")[:-1]
    log = StoredLog(
        lines=tuple(enumerate(lines)), notes=((period.log.size, members.get(CHECKPOINT, b"")),)
    )
    claims = [Claim(who=PERIOD, head=period.log)]
    if earlier is not None:
        try:
            claims.append(kept_claim(earlier, period.repository_id, keys))
        except IntegrityError as error:
            yield error.message
    wrong = check_log(log, repository_id=period.repository_id, keys=keys, claims=claims)
    yield from wrong
    if wrong:
        return
    counted = collect(
        tuple(log.entries()),
        {},
        repository_id=period.repository_id,
        generated_by=period.generated_by,
        first=period.first,
        last=period.last,
        database=period.database,
        log=period.log,
        log_problems=period.log_problems,
        now=period.judged_at,
    )
    # Which reports were at hand, and what they say of exceptions, is not in the log.
    told = replace(
        period,
        exceptions=(),
        happenings=tuple(replace(one, has_report=False) for one in period.happenings),
    )
    if told != replace(counted, log_problems=period.log_problems):
        yield f"{PERIOD} does not say what the log says"
