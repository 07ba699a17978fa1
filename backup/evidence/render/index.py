"""`index.html` of the reports directory: the way to each bundle, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backup.evidence.render.conclusion import Conclusion, conclude
from backup.evidence.render.html import page
from backup.evidence.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One report of the list; `problem` instead of a report says why it can't be read."""

    address: str
    database: str
    report_id: str
    report: Report | None
    problem: str | None

    @property
    def conclusion(self) -> Conclusion:
        """What its first page says."""
        assert self.report is not None
        return conclude(self.report)


def render_index(reports: Sequence[Listed]) -> bytes:
    """Return the page: the newest of each database first, then all of them, newest first."""
    newest = {one.database: one for one in sorted(reports, key=lambda one: one.report_id)}
    return page(
        "index.html",
        newest=[newest[database] for database in sorted(newest)],
        reports=sorted(reports, key=lambda one: (one.report_id, one.database), reverse=True),
    )
