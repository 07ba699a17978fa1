"""What `pg_dumpall --globals-only` wrote, taken apart: which statements a target needs. Pure.

The lexical rules are those of the PostgreSQL manual, "Lexical Structure"; the statements are those
that pg_dumpall.c writes. Passwords are in them: never log a statement.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from backup.errors import IntegrityError

StatementKind = Literal["create role", "about role", "membership", "tablespace", "session", "other"]

_LETTER: Final = r"A-Za-z_\u0080-\U0010ffff"
_TOKEN: Final = re.compile(
    rf"""
    (?P<space>  [ \t\n\r\f\v]+ | --[^\n\r]* )
  | (?P<block>  /\* )
  | (?P<escape> [eE]'(?: [^'\\] | \\. | '' )*+' )
  | (?P<plain>  '(?: [^'] | '' )*+' )
  | (?P<quoted> "(?: [^"] | "" )*+" )
  | (?P<dollar> \$(?P<tag>(?:[{_LETTER}][{_LETTER}0-9]*)?)\$ .*? \$(?P=tag)\$ )
  | (?P<word>   [{_LETTER}][{_LETTER}0-9$]* )
  | (?P<end>    ; )
  | (?P<other>  [^'"] )
    """,
    re.VERBOSE | re.DOTALL,
)
# With standard_conforming_strings off a backslash escapes in '…' too.
_PLAIN_WITH_ESCAPES: Final = re.compile(r"'(?:[^'\\]|\\.|'')*+'", re.DOTALL)
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")
_META_COMMAND: Final = re.compile(r"\\[^\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word, quoted identifier, string or sign. `text` as written."""

    kind: Literal["word", "quoted", "string", "sign"]
    text: str

    @property
    def keyword(self) -> str:
        """The word in upper case; empty for anything else, a quoted "role" is no keyword."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def identifier(self) -> str:
        """The name that the server reads."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        # The server folds ASCII only in UTF-8 databases; pg_dumpall quotes the rest anyway.
        return re.sub("[A-Z]+", lambda found: found[0].lower(), self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, with its semicolon. `roles` are those that it needs or is about, decoded.

    For a membership they are the granted role, then the member.
    """

    kind: StatementKind
    text: str = field(repr=False)
    roles: tuple[str, ...] = ()
    tablespace: str | None = None
    makes_superuser: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalsPlan:
    """What to run on a target, in order, and what is left undone and has to be told.

    `created_superusers` is part of `created_roles`. Tablespaces are never made: their directories
    belong to the machine that was backed up.
    """

    statements: tuple[str, ...] = field(repr=False)
    created_roles: tuple[str, ...]
    created_superusers: tuple[str, ...]
    existing_roles: tuple[str, ...]
    tablespaces: tuple[str, ...]


def statements_for(
    globals_sql: str,
    existing_roles: Collection[str],
    *,
    is_fresh: bool = False,
    bootstrap_superuser: str | None = None,
) -> GlobalsPlan:
    """Return the plan for a cluster that has `existing_roles`.

    A role that exists is never touched: its password and rights are in use there. Memberships are
    granted where one side at least is new. `is_fresh` is for a cluster that nobody uses: all is
    run but the creation of what exists. Grants made by `bootstrap_superuser`, the source's, are
    left to be made by the one who runs the plan: the target's may have another name.
    """
    statements = parse(globals_sql)
    named = {one.roles[0] for one in statements if one.kind == "create role"}
    created = named - set(existing_roles)
    wanted = [
        _without_grantor(one.text, bootstrap_superuser) if one.kind == "membership" else one.text
        for one in statements
        if _is_wanted(one, created, is_fresh=is_fresh)
    ]
    superusers = {one.roles[0] for one in statements if one.makes_superuser}
    tablespaces = {one.tablespace for one in statements if one.tablespace is not None}
    return GlobalsPlan(
        statements=tuple(wanted),
        created_roles=tuple(sorted(created)),
        created_superusers=tuple(sorted(created & superusers)),
        existing_roles=tuple(sorted(named - created)),
        tablespaces=tuple(sorted(tablespaces)),
    )


def parse(globals_sql: str) -> tuple[Statement, ...]:
    """Return all statements in order, without comments between them and psql's meta-commands.

    Raises IntegrityError when the text ends inside a statement, string or comment.
    """
    return tuple(_classified(text, tokens) for text, tokens in _split(globals_sql))


def _is_wanted(one: Statement, created: set[str], *, is_fresh: bool) -> bool:
    match one.kind:
        case "session":
            return True
        case "tablespace":
            return False
        case "create role":
            return one.roles[0] in created
        case "membership":
            return is_fresh or not created.isdisjoint(one.roles[:2])
        case "about role":
            return is_fresh or one.roles[0] in created
        case _:
            return is_fresh


def _split(sql: str) -> Iterator[tuple[str, list[Token]]]:
    tokens: list[Token] = []
    position = start = 0
    has_escapes = False
    while position < len(sql):
        if not tokens and (meta := _META_COMMAND.match(sql, position)):
            position = meta.end()
            continue
        found = _TOKEN.match(sql, position)
        if found is not None and found.lastgroup == "plain" and has_escapes:
            found = _PLAIN_WITH_ESCAPES.match(sql, position)
        if found is None:
            raise IntegrityError("the globals end inside a quoted name or string")
        kind = found.lastgroup or "plain"
        if kind == "block":
            position = _end_of_comment(sql, position)
            continue
        if kind != "space":
            start = position if not tokens else start
            tokens.append(_token(kind, found[0]))
        position = found.end()
        if kind == "end":
            if len(tokens) > 1:
                yield sql[start:position], tokens
                has_escapes = _has_escapes(tokens, now=has_escapes)
            tokens = []
    if tokens:
        raise IntegrityError("the globals end inside a statement")


def _token(kind: str, text: str) -> Token:
    match kind:
        case "word":
            return Token(kind="word", text=text)
        case "quoted":
            return Token(kind="quoted", text=text)
        case "plain" | "escape" | "dollar":
            return Token(kind="string", text=text)
        case _:
            return Token(kind="sign", text=text)


def _end_of_comment(sql: str, position: int) -> int:
    depth = 0
    for edge in _BLOCK_EDGE.finditer(sql, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise IntegrityError("the globals end inside a comment")


def _has_escapes(tokens: Sequence[Token], *, now: bool) -> bool:
    if [token.keyword for token in tokens[:2]] == ["SET", "STANDARD_CONFORMING_STRINGS"]:
        return tokens[3].text.strip("'").lower() == "off"
    return now


def _classified(text: str, tokens: Sequence[Token]) -> Statement:
    keywords = [token.keyword for token in tokens]
    if keywords[0] == "SET":
        return Statement(kind="session", text=text)
    if (name := _object("TABLESPACE", tokens)) is not None:
        return Statement(kind="tablespace", text=text, tablespace=name)
    if (name := _object("ROLE", tokens)) is not None:
        return Statement(
            kind="create role" if keywords[0] == "CREATE" else "about role",
            text=text,
            roles=(name,),
            makes_superuser=keywords[3:4] == ["WITH"] and "SUPERUSER" in keywords,
        )
    if keywords[0] == "GRANT" and "TO" in keywords[2:]:
        to = tokens[keywords.index("TO", 2) + 1].identifier
        if keywords[2] == "TO":
            return Statement(kind="membership", text=text, roles=(tokens[1].identifier, to))
        return Statement(kind="about role", text=text, roles=(to,))
    return Statement(kind="other", text=text)


def _object(kind: str, tokens: Sequence[Token]) -> str | None:
    """Return the name after `CREATE kind`, `ALTER kind` or `… ON kind`.

    A role may be called tablespace or role, without quotes: the place decides, not the word.
    """
    keywords = [token.keyword for token in tokens]
    if keywords[0] in {"CREATE", "ALTER"} and keywords[1] == kind:
        return tokens[2].identifier
    if "ON" in keywords:
        position = keywords.index("ON")
        if keywords[position + 1] == kind:
            return tokens[position + 2].identifier
    return None


def _without_grantor(text: str, grantor: str | None) -> str:
    [(_, tokens)] = _split(text)
    if (
        [token.keyword for token in tokens[-4:-2]] == ["GRANTED", "BY"]
        and grantor is not None
        and tokens[-2].identifier == grantor
    ):
        return " ".join(token.text for token in tokens[:-4]) + ";"
    return text
