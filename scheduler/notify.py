"""Delivering messages: Apprise's only home. URLs are secrets, from a credential, never shown.

A delivery runs in a thread with a limit, so that a notifier which hangs holds up nothing; while it
hangs, further deliveries to it fail at once instead of piling up.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from pydantic import SecretStr

from backup.errors import SettingsError
from scheduler.alerts import Message
from scheduler.credentials import NOTIFY_URLS
from scheduler.limited import Limited
from scheduler.status import Severity

_TYPES: Final = {
    Severity.GOOD: "success",
    Severity.WARNING: "warning",
    Severity.CRITICAL: "failure",
    Severity.UNKNOWN: "warning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Who got a message, and who did not and why; names hold no secret: `1 (mailto)`."""

    delivered: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def is_told(self) -> bool:
        """Whether anybody was told; a message counts as told if one place got it."""
        return bool(self.delivered)


class Notifiers:
    """The places that people are told at."""

    def __init__(self, urls: Sequence[SecretStr], *, limit: timedelta) -> None:
        """Raises `SettingsError` for a URL that Apprise does not understand, without showing it."""
        self._places = [_place(number, url) for number, url in enumerate(urls, start=1)]
        self._threads = [Limited(f"notify-{name}", limit) for name, _ in self._places]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def names(self) -> tuple[str, ...]:
        """The places, without their secrets."""
        return tuple(name for name, _ in self._places)

    def deliver(self, message: Message) -> Delivery:
        """Send to every place, one after the other; raises nothing."""
        delivered, failed = [], []
        for (name, place), thread in zip(self._places, self._threads, strict=True):
            try:
                is_sent = thread.call(partial(_send, place, message))
                reason = "refused or not reachable"
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises is a failed delivery
                is_sent = False
                # Only what we say ourselves: a plugin's own words may quote the URL.
                reason = str(error) if type(error) is TimeoutError else type(error).__name__
            if is_sent:
                delivered.append(name)
            else:
                failed.append(f"notifier {name}: {reason}")
        return Delivery(delivered=tuple(delivered), failed=tuple(failed))


def _place(number: int, url: SecretStr) -> tuple[str, Any]:
    import apprise  # noqa: PLC0415 - large, and a host that tells nobody does not need it

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs what it sends and where
    text = url.get_secret_value()
    scheme = text.partition("://")[0] if "://" in text else ""
    asset = apprise.AppriseAsset(
        app_id="strongroom", app_desc="strongroom", app_url="", secure_logging=True
    )
    with warnings.catch_warnings():  # it loads a hundred plugins, and some are old-fashioned
        warnings.simplefilter("ignore", DeprecationWarning)
        place = apprise.Apprise.instantiate(text, asset=asset, suppress_exceptions=True)
    if place is None:
        shown = scheme if scheme.isalnum() and len(scheme) <= 20 else "no scheme"
        raise SettingsError(
            f"credential {NOTIFY_URLS}: URL {number} ({shown}) is not one that Apprise knows",
            hint="`apprise --details` lists the forms",
        )
    return f"{number} ({scheme})", place


def _send(place: Any, message: Message) -> bool:  # noqa: ANN401 - Apprise has no types
    return bool(
        place.notify(
            body=message.body,
            title=message.title,
            notify_type=_TYPES[message.severity],
            body_format="text",
        )
    )
