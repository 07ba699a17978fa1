"""Age files sealed and opened: what callers rely on beyond the vectors and the properties."""

from __future__ import annotations

import hashlib
import io
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup.crypto.age import inspect, seal, seal_stream, unseal, unseal_stream
from backup.crypto.header import MAX_HEADER_BYTES, Stanza, encode_header, read_header
from backup.crypto.recipients import (
    HybridIdentity,
    Identity,
    PassphraseIdentity,
    PassphraseRecipient,
    Recipient,
    X25519Identity,
)
from backup.crypto.source import ExactSource, PieceSource
from backup.errors import IntegrityError, KeyUnavailableError, SettingsError
from tests.lab.effort import tries

ONE = X25519Identity.generate()
TWO = X25519Identity.generate()
HYBRID = HybridIdentity.generate()
SIZE = 6 * 2**20
EDGES = [0, 1, 65535, 65536, 65537, 131071, 131072, 131073, 2**20 - 1, 2**20, 2**20 + 1]


def fixed_random(seed: str) -> Callable[[int], bytes]:
    """Bytes that differ with every call and are the same in every run."""
    calls = iter(range(1000))
    return lambda size: hashlib.shake_256(f"{seed} {next(calls)}".encode()).digest(size)


class Trickle(io.RawIOBase):
    """A pipe at its worst: reads and writes that move a few bytes at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def read(self, size: int = -1, /) -> bytes:
        """At most a thousand bytes."""
        taken = bytes(self.data[: min(size, 1000)])
        del self.data[: len(taken)]
        return taken

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        """Take at most fifteen hundred bytes."""
        self.data += data[:1500]
        return min(len(data), 1500)


class CountingSource:
    """A source of zeros that was never anywhere as a whole."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.largest_read = 0

    def read(self, size: int, /) -> bytes:
        """Zeros, as many as asked for while there are any."""
        self.largest_read = max(self.largest_read, size)
        taken = min(size, self.left)
        self.left -= taken
        return bytes(taken)


@pytest.mark.parametrize("size", EDGES)
def test_every_recipient_opens_the_file(size: int) -> None:
    """A file sealed to several is opened by each of them alone, at each edge of a chunk."""
    plaintext = bytes(range(256)) * (size // 256) + bytes(size % 256)
    file = seal(plaintext, [ONE.recipient, TWO.recipient])
    assert unseal(file, [ONE]) == unseal(memoryview(file), [TWO]) == plaintext
    assert unseal(bytes(file), [HYBRID, PassphraseIdentity(passphrase="p"), TWO]) == plaintext


def test_same_random_bytes_give_the_same_file() -> None:
    """With the random bytes as an argument, both ways of sealing write the same file."""
    plaintext = bytes(200_000)
    file = seal(plaintext, [ONE.recipient], random=fixed_random("a"))
    sink = io.BytesIO()
    seal_stream(io.BytesIO(plaintext), sink, [ONE.recipient], random=fixed_random("a"))
    assert sink.getvalue() == file
    assert seal(plaintext, [ONE.recipient]) != seal(plaintext, [ONE.recipient])


@pytest.mark.parametrize("piece", [1, 65_535, 65_536, 1_048_577])
def test_pieces_of_any_size_are_one_file(piece: int) -> None:
    """Empty ones between them, too: what is sealed is all of them, in their order."""
    plaintext = bytes(range(256)) * (4097 if piece > 1 else 8)
    pieces = [plaintext[at : at + piece] for at in range(0, len(plaintext), piece)]
    sink = io.BytesIO()
    source = PieceSource(one for part in pieces for one in (b"", part, b""))
    seal_stream(source, sink, [ONE.recipient])
    assert unseal(sink.getvalue(), [ONE]) == plaintext
    assert source.read(1) == b""


def test_without_the_right_identity_nothing_opens() -> None:
    """The error names the kinds that the file is sealed to, and is not an integrity error."""
    file = seal(b"x", [ONE.recipient])
    others: list[list[Identity]] = [[], [TWO], [HYBRID, TWO]]
    for identities in others:
        with pytest.raises(KeyUnavailableError, match="sealed to X25519") as caught:
            unseal(file, identities)
        assert caught.value.hint


def test_wrong_passphrase_opens_nothing() -> None:
    """A passphrase opens what was sealed to it and nothing else."""
    file = seal(b"x", [PassphraseRecipient(passphrase="right", work_factor=1)])
    assert unseal(file, [PassphraseIdentity(passphrase="right")]) == b"x"
    with pytest.raises(KeyUnavailableError):
        unseal(file, [PassphraseIdentity(passphrase="wrong")])


def test_recipients_that_do_not_go_together_seal_nothing() -> None:
    """A refused mixture writes no byte."""
    sink = io.BytesIO()
    with pytest.raises(SettingsError):
        seal_stream(io.BytesIO(b"x"), sink, [ONE.recipient, HYBRID.recipient])
    with pytest.raises(SettingsError):
        seal(b"x", [])
    assert not sink.getvalue()


@pytest.mark.parametrize("armored", [False, True])
def test_unbuffered_pipes_lose_nothing(armored: bool) -> None:
    """Short reads and short writes on either side change nothing."""
    plaintext = bytes(range(256)) * 1100
    sealed = Trickle()
    seal_stream(Trickle(plaintext), sealed, [ONE.recipient], armored=armored)
    opened = Trickle()
    unseal_stream(Trickle(bytes(sealed.data)), opened, [ONE])
    assert opened.data == plaintext


def test_sinks_that_count_nothing_are_believed() -> None:
    """A sink whose write returns None has taken everything."""
    taken: list[bytes] = []

    class Silent:
        def write(self, data: memoryview, /) -> None:
            taken.append(bytes(data))

    seal_stream(io.BytesIO(b"x"), Silent(), [ONE.recipient])
    assert unseal(b"".join(taken), [ONE]) == b"x"


def test_streams_read_at_most_a_block_at_a_time() -> None:
    """Neither direction asks its source for more than about a mebibyte, however long it is."""
    source = CountingSource(20 * 2**20)
    sealed = io.BytesIO()
    seal_stream(source, sealed, [ONE.recipient])
    assert source.largest_read <= 2**20
    assert inspect(io.BytesIO(sealed.getvalue())).payload_bytes == 20 * 2**20


@pytest.mark.parametrize("armored", [False, True][: tries(few=1, some=2, full=2)])
def test_streams_take_the_same_memory_for_any_size(armored: bool) -> None:
    """Sealing and opening takes a few blocks of memory at its peak, less than the file."""

    class Nowhere:
        def write(self, data: memoryview, /) -> int:
            return len(data)

    sealed = io.BytesIO()
    seal_stream(CountingSource(SIZE), sealed, [ONE.recipient], armored=armored)
    sealed.seek(0)
    tracemalloc.start()
    try:
        seal_stream(CountingSource(SIZE), Nowhere(), [ONE.recipient], armored=armored)
        unseal_stream(sealed, Nowhere(), [ONE])
        assert tracemalloc.get_traced_memory()[1] < SIZE
    finally:
        tracemalloc.stop()


def test_nothing_of_a_doubtful_chunk_is_released() -> None:
    """The sink holds the chunks before the damaged one, and not a byte of that one."""
    plaintext = bytes(range(256)) * 256 * 20
    file = seal(plaintext, [ONE.recipient])
    file[-(65552 + 100)] ^= 1
    sink = io.BytesIO()
    with pytest.raises(IntegrityError, match="chunk 18 does not authenticate"):
        unseal_stream(io.BytesIO(file), sink, [ONE])
    assert sink.getvalue() == plaintext[: 18 * 65536]


def test_cut_and_continued_files_are_called_by_name() -> None:
    """A file cut at a chunk's edge, and two files joined, are told from a flipped bit."""
    file = bytes(seal(bytes(2 * 65536), [ONE.recipient]))
    for reader in (unseal_whole, unseal_as_stream):
        with pytest.raises(IntegrityError, match="ends before its last chunk"):
            reader(file[:-65552], [ONE])
        with pytest.raises(IntegrityError, match="something follows its last chunk"):
            reader(file + file[-65552:], [ONE])


def unseal_whole(file: bytes, identities: list[Identity]) -> None:
    unseal(file, identities)


def unseal_as_stream(file: bytes, identities: list[Identity]) -> None:
    unseal_stream(io.BytesIO(file), io.BytesIO(), identities)


def test_threads_share_recipients_and_identities() -> None:
    """Eight threads seal and open with the same keys at once, and every file is right."""
    recipients: list[Recipient] = [ONE.recipient, TWO.recipient]
    barrier = threading.Barrier(8)

    def work(number: int) -> bool:
        barrier.wait()
        plaintext = bytes([number]) * (65536 + number)
        return all(
            unseal(seal(plaintext, recipients), [TWO]) == plaintext
            and unseal(seal(plaintext, [HYBRID.recipient]), [HYBRID]) == plaintext
            for _ in range(5)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_passphrase_beside_another_recipient_is_refused_for_every_identity() -> None:
    """Whoever could add a stanza beside a passphrase would pass for one who knows it."""
    file_key = bytes(16)
    stanzas = [
        PassphraseRecipient(passphrase="p", work_factor=1).wrap(file_key),
        ONE.recipient.wrap(file_key),
    ]
    header = encode_header([stanza.encode() for stanza in stanzas], file_key)
    for identity in (ONE, PassphraseIdentity(passphrase="p")):
        with pytest.raises(IntegrityError, match="not the only stanza"):
            unseal(header + bytes(100), [identity])


def test_long_headers_are_read_and_endless_ones_are_not() -> None:
    """Hundreds of recipients are good; a header that never ends stops being read."""
    grease = Stanza(kind="x", arguments=("y" * 3000,), body=bytes(48 * 50)).encode()
    file_key = bytes(16)
    header = encode_header([grease] * 100, file_key)
    assert len(read_header(ExactSource(io.BytesIO(header))).stanzas) == 100

    class Endless:
        asked = 0

        def read(self, size: int, /) -> bytes:
            self.asked += size
            start = b"age-encryption.org/v1\n" if self.asked == size else b""
            return (start + b"a" * size)[:size]

    endless = Endless()
    with pytest.raises(IntegrityError, match="longer than"):
        read_header(ExactSource(endless))
    assert endless.asked == MAX_HEADER_BYTES


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "it has no end"),
        (b"age-encryption.org/v2\n", "does not begin with age-encryption.org/v1"),
        (b"age-encryption.org/v1\n--- " + b"A" * 43 + b"\n", "no stanza"),
        (b"age-encryption.org/v1\n-> X\n\n", "it has no end"),
        (b"age-encryption.org/v1\n-> X\n\n--- AAAA\n", "not --- and a MAC"),
    ],
)
def test_what_is_no_header_is_refused(header: bytes, reason: str) -> None:
    """Each way of being no header has its own message."""
    with pytest.raises(IntegrityError, match=reason):
        read_header(ExactSource(io.BytesIO(header)))


def test_armor_without_its_end_or_line_ends_is_refused() -> None:
    """Armor cut off at a line, followed by more, or in one endless line is refused."""
    sink = io.BytesIO()
    seal_stream(io.BytesIO(bytes(1000)), sink, [ONE.recipient], armored=True)
    lines = sink.getvalue().splitlines(keepends=True)
    for text, reason in (
        (b"".join(lines[:5]), "no END line"),
        (b"".join([*lines, b"x\n"]), "something follows"),
        (lines[0] + b"A" * 200_000, "longer than 64 columns"),
        (lines[0] + lines[-1], "it has no end"),
    ):
        with pytest.raises(IntegrityError, match=reason):
            unseal_stream(io.BytesIO(text), io.BytesIO(), [ONE])
    opened = io.BytesIO()
    unseal_stream(io.BytesIO(b" \n" * 1000 + sink.getvalue() + b" " * 200_000), opened, [ONE])
    assert opened.getvalue() == bytes(1000)
