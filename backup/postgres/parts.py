"""Which part of a backup holds which table's data. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from backup.repository.catalog import Relation

# Below this a pg_dump of its own costs more in starting than it wins. Starting takes a tenth of a
# second and, as it reads all catalogues first, a third of a millisecond for each relation; COPY
# moves 150 MB/s and more, and a part should run several times as long as it takes to start.
THRESHOLD_BYTES: Final = 16 * 1024 * 1024
THRESHOLD_BYTES_PER_RELATION: Final = 64 * 1024

# Each table part costs one connection and one more reading of the catalogues by pg_dump.
TABLE_PARTS_PER_JOB: Final = 4
MAX_TABLE_PARTS: Final = 256

PartKind = Literal["schema", "rest", "table", "globals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One stream to store. `relation` is set for the kind `table` only.

    `size_bytes` is what the data takes on the server's disk, to order and to show progress; the
    dump is of another size.
    """

    name: str
    kind: PartKind
    relation: Relation | None
    size_bytes: int


def plan_parts(
    relations: Iterable[Relation],
    *,
    jobs: int,
    large_object_bytes: int = 0,
    threshold: int | None = None,
) -> tuple[Part, ...]:
    """Return the parts in the order to start them, so that `jobs` workers are busy to the end.

    Tables of at least `threshold` bytes (by default what is worth a pg_dump of its own) are taken
    from the largest down. The first four a job get a part of their own; further ones only while
    what is left for `rest` is more than one job's fair share of all data. Everything else is in
    `rest`. First comes `schema`, whose time does not depend on sizes, then the data largest first,
    last `globals`.

    From day to day a table changes between `rest` and its own part only near these limits, and
    that costs little: its rows are the same bytes in both, so all chunks but the outermost are
    known already. The input's order does not matter.
    """
    relations = tuple(relations)
    if threshold is None:
        threshold = THRESHOLD_BYTES + THRESHOLD_BYTES_PER_RELATION * len(relations)
    data = sorted(
        (relation for relation in relations if relation.kind == "table"),
        key=lambda relation: (-relation.size_bytes, relation.schema, relation.name),
    )
    left = total = sum(relation.size_bytes for relation in data) + large_object_bytes
    tables: list[Part] = []
    for relation in data:
        is_wanted = len(tables) < TABLE_PARTS_PER_JOB * jobs or left * jobs > total
        if relation.size_bytes < threshold or not is_wanted or len(tables) == MAX_TABLE_PARTS:
            break
        # What an extension's table holds is for pg_dump's own rules to say: it stays in `rest`.
        if relation.extension is not None:
            continue
        tables.append(
            Part(
                name=f"table-{len(tables) + 1}",
                kind="table",
                relation=relation,
                size_bytes=relation.size_bytes,
            )
        )
        left -= relation.size_bytes
    rest = Part(name="rest", kind="rest", relation=None, size_bytes=left)
    return (
        Part(name="schema", kind="schema", relation=None, size_bytes=0),
        *sorted((rest, *tables), key=lambda part: -part.size_bytes),
        Part(name="globals", kind="globals", relation=None, size_bytes=0),
    )
