"""Independent time for the evidence log: an authority's word that a checkpoint existed by then."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from backup.crypto.timestamp import parse_reply, time_of, timestamp_query, verify_reply
from backup.errors import IntegrityError, NotFoundError, ObjectExistsError
from backup.repository.layout import (
    LOG_CHECKPOINTS_PREFIX,
    log_checkpoint_key,
    log_timestamp_key,
    parse_log_key,
)
from backup.repository.stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is carried to the authority: a query over the checkpoint of `size` entries."""

    size: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """The first `size` entries of the log were there at `time`, as the authority says.

    `is_verified`: one of the authorities that the reader knows stands behind it.
    """

    size: int
    time: datetime
    is_verified: bool


def ask(store: Store) -> Query:
    """Return the query over the newest checkpoint. Raises `NotFoundError` if there is none."""
    sizes = _sizes(store)
    if not sizes:
        raise NotFoundError(f"{store.address} has no checkpoint of an evidence log")
    note = store.get(log_checkpoint_key(sizes[-1]))
    return Query(size=sizes[-1], data=timestamp_query(note))


def accept(store: Store, reply: bytes, authorities: Sequence[x509.Certificate]) -> Stamped:
    """Store a reply beside the checkpoint that it is over, and return what it says.

    More may have been logged since the query was made. A reply that is there already is left as it
    is; another one in its place raises `ObjectExistsError`. Raises `IntegrityError`, and stores
    nothing, if the reply is over something else or none of `authorities` stands behind it.
    """
    parsed = parse_reply(reply)
    for size in reversed(_sizes(store)):
        note = store.get(log_checkpoint_key(size))
        if hashlib.sha256(note).digest() == parsed.imprint:
            time = verify_reply(parsed, note, authorities)
            _put_once(store, size, reply)
            return Stamped(size=size, time=time, is_verified=True)
    raise IntegrityError(
        "the reply is over no checkpoint of this evidence log",
        hint="`strongroom log timestamp request -o query.tsq` makes the query that it must answer",
    )


def _put_once(store: Store, size: int, reply: bytes) -> None:
    key = log_timestamp_key(size)
    try:
        store.put(key, reply)
    except ObjectExistsError as error:
        if store.get(key) == reply:
            return
        raise ObjectExistsError(
            f"the checkpoint of {size} entries has another time stamp already, and that stays",
            hint="`strongroom log timestamp request -o query.tsq` asks about the newest checkpoint",
        ) from error


def check_timestamps(
    store: Store, authorities: Sequence[x509.Certificate] | None
) -> tuple[tuple[Stamped, ...], tuple[str, ...]]:
    """Return what the time stamps in a log say, and what is wrong with them, a sentence each.

    Each must be over the checkpoint beside it and, with `authorities`, by one of them.
    """
    stamps, wrong = [], []
    for size in _sizes(store):
        try:
            reply = parse_reply(store.get(log_timestamp_key(size)))
        except NotFoundError:
            continue
        except IntegrityError as error:
            wrong.append(f"time stamp {size}: {error.message}")
            continue
        note = store.get(log_checkpoint_key(size))
        if hashlib.sha256(note).digest() != reply.imprint:
            wrong.append(f"time stamp {size} is over another checkpoint than the one beside it")
            continue
        try:
            time = time_of(reply) if authorities is None else verify_reply(reply, note, authorities)
        except IntegrityError as error:
            wrong.append(f"time stamp {size}: {error.message}")
            continue
        stamps.append(Stamped(size=size, time=time, is_verified=authorities is not None))
    return tuple(stamps), tuple(wrong)


def _sizes(store: Store) -> list[int]:
    numbers = (parse_log_key(key) for key in store.list(LOG_CHECKPOINTS_PREFIX))
    return [number for number in numbers if number is not None]
