"""Imports point down only, and the core has no clock, environment or input and output."""

from __future__ import annotations

import ast
import functools
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


@functools.cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Every module of the engine."""
    paths = sorted((ROOT / "backup").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return tuple(
        (name.removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8")))
        for name, path in zip(names, paths, strict=True)
    )


@functools.cache
def imported(tree: ast.AST) -> tuple[str, ...]:
    """Every module that is imported anywhere in a module, under its full name."""
    return tuple(_imported(tree))


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement of a module, however deep; no expressions, which are most of it."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(tree, field, ()):
            yield node
            yield from statements(node)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
    for name, tree in modules():
        own = layer(name)
        for target in imported(tree):
            below = layer(target)
            if own is not None and below is not None:
                assert own <= below, f"{name} imports {target}"


def test_the_core_is_pure() -> None:
    """Bytes in, bytes out: `now` and random bytes are arguments."""
    for name, tree in modules():
        if any(is_in(name, package) for package in CORE) and not any(
            is_in(name, package) for package in NOT_CORE
        ):
            roots = {target.partition(".")[0] for target in imported(tree)}
            assert not roots & FORBIDDEN_IN_CORE, name
            calls = {
                ast.unparse(node)
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "environ"}
            }
            assert not calls & {"datetime.now", "datetime.utcnow", "os.environ"}, name


def test_each_foreign_library_has_one_home() -> None:
    """So that it can be replaced there."""
    for name, tree in modules():
        for target in imported(tree):
            home = HOMES.get(target.partition(".")[0])
            assert home in {None, name}, f"{name} imports {target}"
