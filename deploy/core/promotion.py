"""Whether a replica may become a server of its own: what was seen of both hosts, judged. Pure.

Two servers that both take writes are two truths. So a replica is promoted when its primary was seen
to be down and nothing that it wrote is missing, or when a person says that it is fenced: that it
cannot take writes any more, whatever was seen of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

# What is known of the primary: it takes writes; its server was shut down in good order; its server
# is down in any other way; it is a standby itself; its host does not answer.
PrimaryState: TypeAlias = Literal["writable", "shut down", "down", "standby", "unreachable"]
_LSN: Final = re.compile(r"^([0-9A-F]{1,8})/([0-9A-F]{1,8})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimarySeen:
    """The primary. `checkpoint` is where its last one began, if it was shut down."""

    state: PrimaryState
    checkpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSeen:
    """The replica: positions in the write-ahead log as the server writes them, or empty."""

    is_in_recovery: bool
    is_streaming: bool
    received: str
    replayed: str


def position(text: str) -> int:
    """Return a position in the write-ahead log (`0/3000060`) as a number; 0 for none."""
    if not text:
        return 0
    found = _LSN.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no position in the write-ahead log")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def objections(
    replica: ReplicaSeen, primary: PrimarySeen, name: str, *, is_fenced: bool
) -> Iterator[str]:
    """Yield why it must not be promoted; `name` is the primary's."""
    if position(replica.received) > position(replica.replayed):
        yield (
            f"it has received up to {replica.received} and replayed up to {replica.replayed} only:"
            " is the replay paused, or held up by a query?"
        )
    if not is_fenced:
        if primary.state == "writable":
            yield f"{name} takes writes: with {name} there would be two servers that do"
        elif replica.is_streaming:
            yield f"{name} is sending: its server runs"
        elif primary.state == "unreachable":
            yield f"{name} does not answer, which does not say that it takes no writes"
        elif primary.state == "down":
            yield (
                f"the server of {name} was not shut down in good order: nobody can tell whether"
                " all that was committed there has arrived"
            )
    if primary.state == "shut down" and position(replica.replayed) <= position(primary.checkpoint):
        yield (
            f"it has replayed up to {replica.replayed or 'nothing'}, and {name} was shut down at"
            f" {primary.checkpoint}: what was committed in between would be lost"
        )


def next_steps(inventory: str, replica: str, primary: str) -> tuple[str, ...]:
    """Return what a person has to do for the inventory to be true again."""
    return (
        f"{inventory}: move {replica} from replicas to database_servers, without its `primary`",
        f'{inventory}: move {primary} to replicas with "primary": "{replica}", or take it out',
        f"strongroom host pki issue {inventory}",
        f"strongroom host apply {inventory}",
    )
