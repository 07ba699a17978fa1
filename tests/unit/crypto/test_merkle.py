"""The tree of the log, against the published roots and by its own laws."""

from __future__ import annotations

import hashlib

import pytest

from backup.crypto import merkle
from backup.errors import IntegrityError

# The entries and roots that implementations of Certificate Transparency are tested with.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


def some(count: int) -> list[bytes]:
    """Leaves that all differ."""
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots(size: int) -> None:
    """For none to eight entries, one at a time and all in one pass."""
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]
    assert [root.hex() for root in merkle.prefix_roots(LEAVES[:size])] == ROOTS[: size + 1]


def test_a_node_is_no_leaf() -> None:
    """An entry made of two hashes has another hash than the node above them."""
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def test_every_entry_is_proven_under_its_root_alone() -> None:
    """For each size and place; not at another place, under another root, or with another leaf."""
    for size in range(1, 18):
        leaves = some(size)
        root = merkle.root(leaves)
        for index in range(size):
            proof = merkle.inclusion_proof(leaves, index)
            merkle.verify_inclusion(leaves[index], index=index, size=size, proof=proof, root=root)
            for leaf, place, sized, path, under in (
                (merkle.leaf_hash(b"other"), index, size, proof, root),
                (leaves[index], size, size, proof, root),
                (leaves[index], -1, size, proof, root),
                (leaves[index], index, size, (*proof, root), root),
                (leaves[index], index, size, proof[:-1] if proof else (root,), root),
                (leaves[index], index, size, proof, hashlib.sha256(root).digest()),
            ):
                with pytest.raises(IntegrityError):
                    merkle.verify_inclusion(leaf, index=place, size=sized, proof=path, root=under)
            if size > 1:
                with pytest.raises(IntegrityError):
                    merkle.verify_inclusion(
                        leaves[index], index=(index + 1) % size, size=size, proof=proof, root=root
                    )


def test_every_log_is_proven_to_begin_with_its_earlier_ones() -> None:
    """For each pair of sizes; a log that was written anew, and a spoilt proof, are refused."""
    for later in range(1, 18):
        leaves = some(later)
        later_root = merkle.root(leaves)
        for size in range(1, later + 1):
            root = merkle.root(leaves[:size])
            proof = merkle.consistency_proof(leaves, size)
            merkle.verify_consistency(
                size=size, root=root, later_size=later, later_root=later_root, proof=proof
            )
            other = hashlib.sha256(root).digest()
            for early, late, path in (
                (other, later_root, proof),
                (root, other, proof),
                (root, later_root, (*proof, other)),
                (root, later_root, proof[:-1] if proof else (other,)),
            ):
                with pytest.raises(IntegrityError):
                    merkle.verify_consistency(
                        size=size, root=early, later_size=later, later_root=late, proof=path
                    )


@pytest.mark.parametrize(("size", "later"), [(0, 3), (4, 3)])
def test_sizes_that_cannot_be(size: int, later: int) -> None:
    """Nothing comes before no entries, and a log does not shrink."""
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(size=size, root=b"", later_size=later, later_root=b"", proof=())
    with pytest.raises(IndexError):
        merkle.consistency_proof(some(later), size)


def test_there_is_no_proof_of_what_is_not_there() -> None:
    """An index outside the log."""
    for index in (-1, 3):
        with pytest.raises(IndexError):
            merkle.inclusion_proof(some(3), index)


def test_a_proof_that_is_empty_proves_nothing() -> None:
    """Of a log whose size is no power of two, and of one that is."""
    leaves = some(7)
    for size in (3, 4):
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(
                size=size,
                root=merkle.root(leaves[:size]),
                later_size=7,
                later_root=merkle.root(leaves),
                proof=(),
            )
