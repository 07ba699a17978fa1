"""Imports point down only, and the core has no clock, environment or input and output."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# From the shells down; a module may import its own layer and those below.
LAYERS = (
    ("backup.cli",),
    ("backup.demo",),
    ("backup.app",),
    ("backup.journeys",),
    (
        "backup.keyring",
        "backup.leases",
        "backup.lock",
        "backup.settings",
        "backup.unfinished",
        "backup.version",
    ),
    ("backup.environment", "backup.holders", "backup.sections"),
    ("backup.postgres", "backup.repository.stores.local", "backup.repository.stores.memory"),
    ("backup.evidence", "backup.repository"),
    ("backup.crypto", "backup.schedule"),
    ("backup.errors",),
)
CORE = ("backup.crypto", "backup.repository", "backup.evidence", "backup.schedule")
NOT_CORE = ("backup.repository.stores",)
FORBIDDEN_IN_CORE = {
    "asyncio", "subprocess", "socket", "time", "pathlib", "shutil", "tempfile", "logging", "sys",
}  # fmt: skip
CLOCK_OR_ENVIRONMENT = re.compile(r"\b(now|utcnow|environ)\b")
HOMES = {
    "asyncpg": "backup.postgres.database",
    "boto3": "backup.repository.stores.s3client",
    "pyfastcdc": "backup.repository.chunking",
    "blake3": "backup.repository.chunking",
    "zstandard": "backup.repository.chunks",
    "rfc3161_client": "backup.crypto.timestamp",
    "pydantic_settings": "backup.settings",
    "jinja2": "backup.evidence.render.html",
}


# Every statement begins its line, and ends it (ruff sees to that); a syntax tree takes ten times as
# long. What looks like one in a docstring counts too.
STATEMENT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>\S+)[ \t]+)?import[ \t]+(?P<names>\([^)]*\)|[^#\n]+)",
    re.MULTILINE,
)


@functools.cache
def modules() -> tuple[tuple[str, str], ...]:
    """Every module of the engine, with its text."""
    paths = sorted((ROOT / "backup").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return tuple(
        (name.removesuffix(".__init__"), path.read_text(encoding="utf-8"))
        for name, path in zip(names, paths, strict=True)
    )


@functools.cache
def imported(text: str) -> tuple[str, ...]:
    """Every module that is imported anywhere in a module, under its full name."""
    return tuple(_imported(text))


def _imported(text: str) -> Iterator[str]:
    for found in STATEMENT.finditer(text):
        lines = found["names"].strip("()").splitlines()
        items = ",".join(line.partition("#")[0] for line in lines).split(",")
        names = [item.split()[0] for item in items if item.strip()]
        module = found["module"]
        if module is None:
            yield from names
        else:
            assert not module.startswith("."), "relative imports hide where they point"
            yield from (f"{module}.{name}" for name in names)


def is_in(name: str, package: str) -> bool:
    """Whether a module is a package or lies in it."""
    return name == package or name.startswith(package + ".")


@functools.cache
def layer(name: str) -> int | None:
    """The layer of the longest package that fits."""
    found = [
        (len(package), number)
        for number, packages in enumerate(LAYERS)
        for package in packages
        if is_in(name, package)
    ]
    return max(found)[1] if found else None


def test_imports_point_down() -> None:
    """From the shells to the core, never back."""
    for name, text in modules():
        own = layer(name)
        for target in imported(text):
            below = layer(target)
            if own is not None and below is not None:
                assert own <= below, f"{name} imports {target}"


def test_the_core_is_pure() -> None:
    """Bytes in, bytes out: `now` and random bytes are arguments."""
    for name, text in modules():
        if any(is_in(name, package) for package in CORE) and not any(
            is_in(name, package) for package in NOT_CORE
        ):
            roots = {target.partition(".")[0] for target in imported(text)}
            assert not roots & FORBIDDEN_IN_CORE, name
            if not CLOCK_OR_ENVIRONMENT.search(text):
                continue
            calls = {
                ast.unparse(node)
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "environ"}
            }
            assert not calls & {"datetime.now", "datetime.utcnow", "os.environ"}, name


def test_each_foreign_library_has_one_home() -> None:
    """So that it can be replaced there."""
    for name, text in modules():
        for target in imported(text):
            home = HOMES.get(target.partition(".")[0])
            assert home in {None, name}, f"{name} imports {target}"
