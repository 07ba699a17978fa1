"""What people were told already, kept in the journal so that a restart tells nobody anything twice.

A journal that fails is no reason to say nothing: then people may be told twice.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from backup.errors import StrongroomError
from backup.repository.canonical import decode, encode
from scheduler.alerts import AlertState
from scheduler.journal import Journal
from scheduler.journalview import ALIVE_NOTE, NOTIFIER_NOTE, Alive, Undelivered

ALERTS_NOTE: Final = "signals.alerts"
_log = logging.getLogger(__name__)


def recall(journal_path: Path) -> tuple[AlertState, Undelivered | None]:
    """Return what people know, and since when they could not be told."""
    try:
        journal = Journal.open(journal_path)
        try:
            alerts, notifier = journal.note(ALERTS_NOTE), journal.note(NOTIFIER_NOTE)
        finally:
            journal.close()
        return (
            decode(AlertState, alerts.encode(), ALERTS_NOTE) if alerts else AlertState(),
            decode(Undelivered, notifier.encode(), NOTIFIER_NOTE) if notifier else None,
        )
    except StrongroomError as error:
        _log.warning(
            "what people were told is not known any more: %s",
            error.message,
            extra={"action": "alerts_forgotten"},
        )
        return AlertState(), None


def keep(
    journal_path: Path, alive: Alive, state: AlertState | None, undelivered: Undelivered | None
) -> None:
    """Write down what people know, and that the daemon is alive; `state` None: as before."""
    notes: dict[str, str | None] = {
        ALIVE_NOTE: encode(alive).decode(),
    }
    if state is not None:
        notes[NOTIFIER_NOTE] = None if undelivered is None else encode(undelivered).decode()
        notes[ALERTS_NOTE] = encode(state).decode()
    try:
        journal = Journal.open(journal_path)
        try:
            journal.set_notes(notes)
        finally:
            journal.close()
    except StrongroomError as error:
        _log.warning(
            "what people were told was not written down: %s",
            error.message,
            extra={"action": "alerts_not_kept"},
        )
