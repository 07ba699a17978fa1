"""What nothing refers to any more: found, condemned, and a grace period later deleted.

A store does not say how old an object is. So what is found to be unreferenced is written down in
an object `condemned/<time>-<random>.keys`, written once; only a prune that comes a grace period
later, and finds it unreferenced still, deletes it. No writer uses again what is condemned.
"""

from __future__ import annotations

from datetime import timedelta

# The least time between condemning an object and deleting it.
MINIMUM_GRACE = timedelta(days=1)
