"""What Apprise leaves behind is its own business."""

from __future__ import annotations

import gc
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
    """Such sockets go while the mark holds."""
    yield
    gc.collect()
