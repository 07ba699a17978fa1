"""A server's settings by a formula, each with its reason.

A start that is right within a factor of two for a server that has its machine to itself, from the
manual's own advice; whoever measured better says so in the inventory's `settings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MIB_IN_GIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One setting, and why it is what it is."""

    name: str
    value: str
    reason: str


def tune(
    *, memory_mib: int, cpus: int, storage: str, max_connections: int, major: int
) -> tuple[Tuned, ...]:
    """Return the settings for a machine of this size, in the order of the manual."""
    shared = _between(128, memory_mib // 4, 16 * _MIB_IN_GIB)
    rest = memory_mib - shared
    work = _between(4, rest // (3 * max_connections), 64)
    maintenance = _between(64, memory_mib // 16, 2 * _MIB_IN_GIB)
    gather = _between(1, cpus // 2, 4)
    wal = _between(1024, memory_mib // 2, 8192)
    is_ssd = storage == "ssd"
    tuned = [
        ("max_connections", f"{max_connections}", "as declared; every one costs memory"),
        ("shared_buffers", f"{shared}MB", "a quarter of memory, 16 GB at most"),
        ("effective_cache_size", f"{shared + rest // 2}MB", "the planner's guess at all caches"),
        ("work_mem", f"{work}MB", "a third of the rest, if all sort at once"),
        ("maintenance_work_mem", f"{maintenance}MB", "a sixteenth: few at a time"),
        ("huge_pages", "try", "large buffers need fewer page table entries"),
        ("max_worker_processes", f"{max(8, cpus)}", "never fewer than the default"),
        ("max_parallel_workers", f"{max(2, cpus)}", "one a core"),
        ("max_parallel_workers_per_gather", f"{gather}", "half the cores, 4 at most"),
        ("max_parallel_maintenance_workers", f"{gather}", "the same, for building indexes"),
        ("wal_compression", "on", "full-page images compress well; less to write and to ship"),
        ("max_wal_size", f"{wal}MB", "checkpoints by time, not by volume"),
        ("random_page_cost", "1.1" if is_ssd else "4", "how dear a seek is on the storage"),
    ]  # fmt: skip
    if major < 18:  # 18 has a sound default and another way of reading ahead
        tuned.append(
            (
                "effective_io_concurrency",
                "200" if is_ssd else "2",
                "how many reads the storage does at once",
            )
        )
    return tuple(Tuned(name=name, value=value, reason=reason) for name, value, reason in tuned)


def _between(least: int, wanted: int, most: int) -> int:
    return max(least, min(wanted, most))
