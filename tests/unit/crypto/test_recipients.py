"""Recipients and identities: what is read, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import pytest

from backup.crypto import bech32
from backup.crypto.header import Stanza
from backup.crypto.recipients import (
    HybridIdentity,
    HybridRecipient,
    PassphraseIdentity,
    PassphraseRecipient,
    X25519Identity,
    X25519Recipient,
    parse_identities,
    parse_recipient,
    require_compatible,
)
from backup.errors import IntegrityError, SettingsError

# The examples of C2SP age.md.
X25519_SECRET = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
X25519_PUBLIC = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
HYBRID_SECRET = "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR"
HYBRID_PUBLIC_START = "age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zrqtzd"
HYBRID_PUBLIC_END = "ze9pyyzk3tlhl53k2ykx3qheyty7saeq0d3fzv49zc0k"

X25519 = X25519Identity.generate()
HYBRID = HybridIdentity.generate()


def test_examples_of_the_specification() -> None:
    """The published identities have the published recipients."""
    x25519, hybrid = parse_identities(f"{X25519_SECRET}\n{HYBRID_SECRET}\n")
    assert x25519.recipient.text == X25519_PUBLIC
    assert hybrid.recipient.text.startswith(HYBRID_PUBLIC_START)
    assert hybrid.recipient.text.endswith(HYBRID_PUBLIC_END)
    assert len(hybrid.recipient.text) == len("age1pq1") + 1946 + 6
    assert isinstance(parse_recipient(X25519_PUBLIC), X25519Recipient)
    assert isinstance(parse_recipient(hybrid.recipient.text), HybridRecipient)


def test_identity_file_may_have_comments_blank_lines_and_several_keys() -> None:
    """An identity file is read as age reads it."""
    text = f"# created: today\r\n\r\n  {X25519_SECRET}  \r\n#\n{X25519.text}\n{HYBRID.text}"
    assert [identity.text for identity in parse_identities(text)] == [
        X25519_SECRET,
        X25519.text,
        HYBRID.text,
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no identity"),
        ("# nothing\n", "no identity"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", "itself encrypted"),
        ("age-encryption.org/v1\n", "itself encrypted"),
        (X25519_PUBLIC, "line 1: this is a recipient"),
        ("\nAGE-PLUGIN-YUBIKEY-1QQQQ", "line 2: this is not an identity of a kind"),
        (X25519_SECRET[:-1] + "Q", "line 1: key has a wrong checksum"),
        (HYBRID_SECRET[:-1] + "Q", "line 1: key has a wrong checksum"),
        (X25519_SECRET.lower(), "line 1: this is not an identity of a kind"),
        (bech32.encode("AGE-SECRET-KEY-", bytes(31)), "holds 31 bytes, not 32"),
    ],
)
def test_what_is_no_identity_file_is_refused_without_showing_it(text: str, reason: str) -> None:
    """The message names the line and the reason, never the line's text."""
    with pytest.raises(SettingsError, match=reason) as caught:
        parse_identities(text)
    assert caught.value.hint
    for word in text.split():
        assert len(word) < 20 or word not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not supported"),
        ("ssh-ed25519 AAAA", "not supported"),
        ("age1yubikey1qqqqqqqq", "not supported"),
        ("AGE1" + X25519_PUBLIC[4:].upper(), "not supported"),
        (X25519_PUBLIC[:-1] + "q", "wrong checksum"),
        (bech32.encode("age", bytes(32)), "low order"),
        (bech32.encode("age", b"\1" + bytes(31)), "low order"),
        (bech32.encode("age", bytes(33)), "holds 33 bytes, not 32"),
        (bech32.encode("age1pq", bytes(1215)), "holds 1215 bytes, not 1216"),
        (bech32.encode("age1pq", b"\xff" * 1216), "not a valid public key"),
        (bech32.encode("age1pq", bytes(1216)), "not a valid public key"),
        ("age1pqx1" + "q" * 100, "not supported"),
    ],
)
def test_what_is_no_recipient_is_refused(text: str, reason: str) -> None:
    """The message shows the recipient, cut short if it is long, and what is wrong with it."""
    with pytest.raises(SettingsError, match=reason) as caught:
        parse_recipient(text)
    assert text[:20] in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_key_under_another_prefix_is_refused() -> None:
    """A kind's own parser accepts its own prefix only."""
    with pytest.raises(SettingsError, match="does not begin with age1pq1"):
        HybridRecipient.parse(X25519_PUBLIC)


@pytest.mark.parametrize("text", [X25519_SECRET, HYBRID_SECRET, X25519_SECRET.lower()])
def test_an_identity_in_place_of_a_recipient_is_refused_unseen(text: str) -> None:
    """Pasting a secret where a recipient belongs names the mistake and repeats nothing."""
    with pytest.raises(SettingsError, match="secret identity") as caught:
        parse_recipient(text)
    assert text not in f"{caught.value}{caught.value.hint}"


def test_secrets_are_not_in_what_is_printed() -> None:
    """No repr of an identity or passphrase holds the secret."""
    shown = repr(
        [
            X25519,
            HYBRID,
            PassphraseIdentity(passphrase="canary-7f"),
            PassphraseRecipient(passphrase="canary-7f"),
        ]
    )
    assert "canary-7f" not in shown
    assert "AGE-SECRET" not in shown
    assert repr(HYBRID.seed)[2:-1] not in shown


def test_fingerprints_are_stable_and_short() -> None:
    """A fingerprint is the start of the SHA-256 of the recipient's text; scrypt has none."""
    assert parse_recipient(X25519_PUBLIC).fingerprint == "SHA256:6a804773982840fa"
    assert HYBRID.recipient.fingerprint == parse_recipient(HYBRID.recipient.text).fingerprint
    assert PassphraseRecipient(passphrase="p").fingerprint == "scrypt"
    assert PassphraseRecipient(passphrase="p").text == "scrypt"


def test_recipients_that_one_file_may_have_together() -> None:
    """Several of one kind are good; none, a passphrase beside others, and mixed kinds are not."""
    passphrase = PassphraseRecipient(passphrase="p")
    require_compatible([X25519.recipient, X25519Identity.generate().recipient])
    require_compatible([HYBRID.recipient, HybridIdentity.generate().recipient])
    require_compatible([passphrase])
    with pytest.raises(SettingsError, match="no recipient"):
        require_compatible([])
    with pytest.raises(SettingsError, match="only recipient"):
        require_compatible([passphrase, passphrase])
    with pytest.raises(SettingsError, match="only recipient"):
        require_compatible([X25519.recipient, passphrase])
    with pytest.raises(SettingsError, match="cannot be mixed"):
        require_compatible([X25519.recipient, HYBRID.recipient])


def test_passphrases_are_checked_before_use() -> None:
    """An empty passphrase and a work factor out of range are refused."""
    with pytest.raises(SettingsError, match="empty"):
        PassphraseRecipient(passphrase="")
    with pytest.raises(SettingsError, match="empty"):
        PassphraseIdentity(passphrase="")
    for work_factor in (0, 31):
        with pytest.raises(SettingsError, match="work factor"):
            PassphraseRecipient(passphrase="p", work_factor=work_factor)


def test_work_factor_of_a_file_is_capped_by_the_reader() -> None:
    """A file cannot make its reader spend more memory and time than the reader allows."""
    stanza = PassphraseRecipient(passphrase="p", work_factor=3).wrap(bytes(16))
    assert PassphraseIdentity(passphrase="p", max_work_factor=3).unwrap([stanza]) == bytes(16)
    with pytest.raises(IntegrityError, match="above 2\\^2"):
        PassphraseIdentity(passphrase="p", max_work_factor=2).unwrap([stanza])


def test_identities_pass_over_what_is_not_theirs() -> None:
    """Stanzas of other kinds and of other keys of the kind are no match, not an error."""
    others = [
        Stanza(kind="grease", arguments=("x",), body=b""),
        X25519Identity.generate().recipient.wrap(bytes(16)),
        HybridIdentity.generate().recipient.wrap(bytes(16)),
    ]
    assert X25519.unwrap(others) is None
    assert HYBRID.unwrap(others) is None
    assert PassphraseIdentity(passphrase="p").unwrap(others) is None
    assert X25519.unwrap([*others, X25519.recipient.wrap(b"k" * 16)]) == b"k" * 16
    assert HYBRID.unwrap([*others, HYBRID.recipient.wrap(b"k" * 16)]) == b"k" * 16
