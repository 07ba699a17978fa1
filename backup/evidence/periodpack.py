"""The files of a period pack, signed: what an auditor gets instead of access to anything. Pure."""

from __future__ import annotations

from backup.evidence.bundle import (
    CHECKPOINT,
    CLAIMED,
    READ_ME,
    Seal,
    claimed,
    seal_members,
    stock_verifier,
)
from backup.evidence.log import StoredLog
from backup.evidence.period import Period
from backup.evidence.render.html import text_page
from backup.evidence.render.period import (
    PERIOD,
    render_coverage,
    render_exceptions,
    render_period,
    render_population,
)
from backup.evidence.report import REPORT_NAMESPACE
from backup.repository.canonical import encode

LOG = "log.jsonl"
_VERIFIER = "verify-log.py"
# What a pack consists of, beside the sums and their signature.
PACK = frozenset(
    {
        *(PERIOD, "period.html", "population.csv", "coverage.csv", "exceptions.csv"),
        *(LOG, CHECKPOINT, CLAIMED, _VERIFIER, READ_ME),
    }
)


def encode_pack(period: Period, log: StoredLog, seal: Seal) -> dict[str, bytes]:
    """Return the files of the pack by name; the log's lines are those under its checkpoint."""
    data = encode(period)
    lines = [line for seq, line in log.lines if seq < period.log.size]
    notes = dict(log.notes)
    members = {
        PERIOD: data,
        "period.html": render_period(data),
        "population.csv": render_population(period),
        "coverage.csv": render_coverage(period),
        "exceptions.csv": render_exceptions(period),
        LOG: b"".join(line + b"\n" for line in lines),
        CHECKPOINT: notes.get(period.log.size, b""),
        CLAIMED: claimed(seal),
        _VERIFIER: stock_verifier(_VERIFIER),
        READ_ME: text_page(
            "read-me-first-period.txt",
            first=f"{period.first:%Y-%m-%d}",
            last=f"{period.last:%Y-%m-%d}",
            principal=seal.principal,
            key_text=seal.key.public_key.key_text.split()[1],
            namespace=REPORT_NAMESPACE,
        ),
    }
    return seal_members(members, seal.key)
