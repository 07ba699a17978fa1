"""The Merkle tree of a log: RFC 6962, section 2, with SHA-256.

One root vouches for every entry and for their order. A proof of inclusion shows that an entry is
under a root, a proof of consistency that one root's entries are the first ones of another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from backup.errors import IntegrityError

HASH_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node; never that of a leaf, whatever its bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; that of no entries is the SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    return _root(leaves, 0, len(leaves))


def prefix_roots(leaves: Sequence[bytes]) -> list[bytes]:
    """Return the roots over the first 0, 1, 2 … leaves, in one pass."""
    roots = [root(())]
    subtrees: list[bytes] = []  # perfect ones, the largest first
    for count, leaf in enumerate(leaves, start=1):
        hashed = leaf
        for _ in range((count & -count).bit_length() - 1):  # its trailing zero bits
            hashed = node_hash(subtrees.pop(), hashed)
        subtrees.append(hashed)
        for subtree in reversed(subtrees[:-1]):
            hashed = node_hash(subtree, hashed)
        roots.append(hashed)
    return roots


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the hashes beside the way from leaf `index` up to the root (section 2.1.1)."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    path = []
    start, end = 0, len(leaves)
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_root(leaves, middle, end))
            end = middle
        else:
            path.append(_root(leaves, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(leaves: Sequence[bytes], size: int) -> tuple[bytes, ...]:
    """Return what shows that the first `size` leaves are those of an earlier root (2.1.2)."""
    if not 0 < size <= len(leaves):
        raise IndexError(size)
    path = []
    start, end = 0, len(leaves)
    is_earlier_root = True
    while size != end:
        middle = start + _split(end - start)
        if size <= middle:
            path.append(_root(leaves, middle, end))
            end = middle
        else:
            path.append(_root(leaves, start, middle))
            start = middle
            is_earlier_root = False
    if not is_earlier_root:
        path.append(_root(leaves, start, end))
    return tuple(reversed(path))


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise `IntegrityError` unless the leaf is number `index` of `size` under the root.

    RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise IntegrityError(f"entry {index} cannot be in a log of {size}")
    node, last, hashed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise IntegrityError("the proof of inclusion is longer than the tree is high")
        if node & 1 or node == last:
            hashed = node_hash(sibling, hashed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        node, last = node >> 1, last >> 1
    if last or hashed != root:
        raise IntegrityError(f"entry {index} is not under the root of the log of {size}")


def verify_consistency(
    *, size: int, root: bytes, later_size: int, later_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `IntegrityError` unless the later log begins with the earlier (RFC 9162, 2.1.4.2)."""
    wrong = IntegrityError(f"the log of {later_size} entries does not begin with the one of {size}")
    if not 0 < size <= later_size:
        raise wrong
    if size == later_size:
        if proof or root != later_root:
            raise wrong
        return
    path = list(proof) if size & (size - 1) else [root, *proof]
    if not path:
        raise wrong
    node, last = size - 1, later_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    earlier = later = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise wrong
        if node & 1 or node == last:
            earlier, later = node_hash(sibling, earlier), node_hash(sibling, later)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            later = node_hash(later, sibling)
        node, last = node >> 1, last >> 1
    if last or (earlier, later) != (root, later_root):
        raise wrong


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is two or more."""
    return 1 << ((count - 1).bit_length() - 1)


def _root(leaves: Sequence[bytes], start: int, end: int) -> bytes:
    """Return the root over some leaves, of which there is one at least.

    Level by level, each odd one out taken up as it is: the split at a power of two leaves it so.
    """
    level: Sequence[bytes] = leaves[start:end]
    while len(level) > 1:
        above = [node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]
