"""Who may sign what: ssh-keygen's allowed signers file (ssh-keygen(1), "ALLOWED SIGNERS").

What this reader does not understand it refuses, so that it never accepts more than ssh-keygen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from backup.crypto.sshkey import PublicKey
from backup.errors import SettingsError

_OPTION = re.compile(r'([A-Za-z-]+)="([^"\\]*)"')
_TIME = re.compile(r"(\d{8})(\d{4}(?:\d{2})?)?Z")
_PRINCIPALS = re.compile(r'[^\s"#,]+(?:,[^\s"#,]+)*')
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
_TIME_FORMAT = "%Y%m%d%H%M%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSigner:
    """One line: principals that this key speaks for, and where and when it may."""

    principals: tuple[str, ...]
    public_key: PublicKey
    namespaces: tuple[str, ...] = ()
    valid_after: datetime | None = None
    valid_before: datetime | None = None

    @classmethod
    def parse(cls, line: str) -> AllowedSigner:
        """The signer of one line. Raises `SettingsError`."""
        words = line.strip().split(None, 1)
        if len(words) < 2 or not _PRINCIPALS.fullmatch(words[0]):
            raise SettingsError("it does not begin with principals, separated by commas")
        options, rest = _split_options(words[1])
        namespaces = options.pop("namespaces", None)
        after = options.pop("valid-after", None)
        before = options.pop("valid-before", None)
        if options:
            raise SettingsError(f"option {min(options)} is not supported")
        if namespaces == "":
            raise SettingsError("option namespaces is empty")
        return cls(
            principals=tuple(words[0].split(",")),
            public_key=PublicKey.parse(rest),
            namespaces=tuple(namespaces.split(",")) if namespaces else (),
            valid_after=_parse_time(after) if after is not None else None,
            valid_before=_parse_time(before) if before is not None else None,
        )

    @property
    def principal(self) -> str:
        """The principals as they are written."""
        return ",".join(self.principals)

    @property
    def line(self) -> str:
        """The line that `ssh-keygen -Y verify` reads, without a line end."""
        options = []
        if self.namespaces:
            options.append(f'namespaces="{",".join(self.namespaces)}"')
        if self.valid_after is not None:
            options.append(f'valid-after="{self.valid_after.strftime(_TIME_FORMAT)}"')
        if self.valid_before is not None:
            options.append(f'valid-before="{self.valid_before.strftime(_TIME_FORMAT)}"')
        return " ".join(
            (self.principal, *([",".join(options)] if options else []), self.public_key.line)
        )

    def may_sign(self, namespace: str, now: datetime | None) -> bool:
        """Whether the key may sign in this namespace at this time.

        Raises `SettingsError` when the line limits the time and `now` is None.
        """
        if self.namespaces and not _matches(namespace, self.namespaces):
            return False
        if self.valid_after is None and self.valid_before is None:
            return True
        if now is None:
            raise SettingsError(
                f"allowed signers limit {self.principal} to a time, and no time was given to check"
            )
        is_begun = self.valid_after is None or now >= self.valid_after
        return is_begun and (self.valid_before is None or now < self.valid_before)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSigners:
    """The lines of an allowed signers file, in order; the first that fits decides."""

    signers: tuple[AllowedSigner, ...]

    @classmethod
    def parse(cls, text: str) -> AllowedSigners:
        """The signers of a file; empty lines and comments are skipped. Raises `SettingsError`."""
        signers = []
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                signers.append(AllowedSigner.parse(line))
            except SettingsError as error:
                raise SettingsError(
                    f"allowed signers, line {number}: {error.message}",
                    hint="ssh-keygen -Y find-principals -f allowed_signers -s FILE.sig",
                ) from error
        return cls(signers=tuple(signers))

    @property
    def text(self) -> str:
        """The file that `ssh-keygen -Y verify -f` reads."""
        return "".join(signer.line + "\n" for signer in self.signers)

    def principal_of(
        self, public_key: PublicKey, *, namespace: str, now: datetime | None = None
    ) -> str | None:
        """Whom the key speaks for in this namespace and at this time, or None."""
        for signer in self.signers:
            if signer.public_key == public_key and signer.may_sign(namespace, now):
                return signer.principal
        return None


def _split_options(text: str) -> tuple[dict[str, str], str]:
    options: dict[str, str] = {}
    if text.startswith(_KEY_TYPES):
        return options, text
    position = 0
    while match := _OPTION.match(text, position):
        name = match[1].lower()
        if name in options:
            raise SettingsError(f"option {name} is given twice")
        options[name] = match[2]
        position = match.end()
        if text[position : position + 1] != ",":
            break
        position += 1
    if not text[position : position + 1].isspace():
        raise SettingsError(
            'its options are not of the form name="value",name="value" without spaces between,'
            " or are not supported"
        )
    return options, text[position:].lstrip()


def _parse_time(text: str) -> datetime:
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        digits = match[1] + (match[2] or "").ljust(6, "0")
        return datetime.strptime(digits + "Z", _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        # ssh-keygen reads a time without Z in the reader's own zone, which differs by machine.
        raise SettingsError(
            f"time {text} is not written YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ"
        ) from error


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """As ssh_config(5), "PATTERNS": a match with a negated pattern outweighs every other."""
    if any(pattern[:1] == "!" and _is_like(name, pattern[1:]) for pattern in patterns):
        return False
    return any(pattern[:1] != "!" and _is_like(name, pattern) for pattern in patterns)


def _is_like(name: str, pattern: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name, re.DOTALL) is not None
