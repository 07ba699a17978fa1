"""Which version this is, as manifests record it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

VERSION: Final = f"strongroom {version('strongroom')}"
