"""What Apprise leaves behind is its own business."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A socket that a plugin did not close is a warning about that plugin, not about us."""
    mark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if "integration/signals" in item.path.as_posix():
            item.add_marker(mark)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Such sockets go while the mark holds, also those of a delivery that was given up."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith(("notify-", "dead-man")):
            thread.join(30)
    gc.collect()
