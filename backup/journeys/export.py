"""`restore --export`: a backup's archives as files, for stock `psql` and `pg_restore`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backup.errors import SettingsError, StoreError
from backup.files import create, sync_directory
from backup.journeys.archives import OpenBackup
from backup.journeys.progress import Progress
from backup.journeys.threads import Running, run_each
from backup.postgres.database import quote_identifier
from backup.postgres.globals import statements_for
from backup.postgres.target import Surroundings, completion_sql, create_sql
from backup.repository.catalog import DatabaseProperties
from backup.repository.manifest import StoredPart

_README = "README.txt"
# Stands for the name that psql will be given; from Unicode's private use area, so nobody's name.
_NEW = "\ue000new database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files that were written, and the commands that restore them."""

    directory: Path
    files: tuple[str, ...]
    instructions: str


async def export(backup: OpenBackup, directory: Path, *, jobs: int, progress: Progress) -> Exported:
    """Write every part into a new directory that only this user can read; durable on return.

    What was written is plaintext. Raises `SettingsError` if the directory holds anything. A file
    gets its name only when it is whole.
    """
    await asyncio.to_thread(_make_directory, directory)
    running = Running()

    def write(part: StoredPart) -> str:
        running.check()
        path = directory / file_name(part)
        _write(backup, part, path, running, progress)
        return path.name

    progress.begin("exporting", backup.manifest.plain_bytes)
    largest_first = sorted(backup.manifest.parts, key=lambda part: -part.plain_bytes)
    files = await run_each(write, largest_first, jobs=jobs, running=running)
    instructions = await asyncio.to_thread(_instructions, backup)
    texts = {
        "create.sql": _create_sql(backup.catalog.database),
        "properties.sql": _properties_sql(backup.catalog.database),
        _README: instructions,
    }
    await asyncio.to_thread(_write_texts, directory, texts)
    return Exported(directory=directory, files=(*sorted(files), *texts), instructions=instructions)


def file_name(part: StoredPart) -> str:
    """Return the file that a part is exported to."""
    return f"{part.name}.sql" if part.kind == "globals" else f"{part.name}.dump"


def _write(
    backup: OpenBackup, part: StoredPart, path: Path, running: Running, progress: Progress
) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            for chunk in backup.chunks(part):
                running.check()
                view = memoryview(chunk)
                while view:
                    view = view[os.write(descriptor, view) :]
                progress.advance(len(chunk))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.rename(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreError(
            f"writing {path}: {error.strerror}", hint="name a directory with enough space"
        ) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise SettingsError(
                f"{directory} is not empty and was left as it is", hint="name a new directory"
            )
    except OSError as error:
        raise SettingsError(f"{directory}: {error.strerror}") from error


def _write_texts(directory: Path, texts: Mapping[str, str]) -> None:
    try:
        for name, text in texts.items():
            create(directory / name, text.encode())
        sync_directory(directory)
    except OSError as error:
        raise StoreError(
            f"writing into {directory}: {error.strerror}",
            hint="name a directory with enough space",
        ) from error


def _create_sql(properties: DatabaseProperties) -> str:
    """Return what makes the database, for `psql --set=new=NAME`."""
    around = Surroundings(
        server_version=sys.maxsize,
        roles=frozenset({properties.owner}),
        tablespaces=frozenset(),
    )
    sql, _ = create_sql(_NEW, properties, around, has_owner=True)
    return _with_variable(f"{sql};\n")


def _properties_sql(properties: DatabaseProperties) -> str:
    """Return comment, grants and settings of the database, for `psql --set=new=NAME`."""
    statements = completion_sql(_NEW, properties)
    return _with_variable("".join(f"{statement.sql};\n" for statement in statements))


def _with_variable(sql: str) -> str:
    return sql.replace(quote_identifier(_NEW), ':"new"')


def _instructions(backup: OpenBackup) -> str:
    # Sessions that each lock several tables of a tree of partitions deadlock now and then.
    sessions = "" if backup.catalog.has_partitions else " --jobs=2"
    globals_sql = b"".join(backup.chunks(backup.part("globals"))).decode("utf-8")
    has_tablespaces = bool(statements_for(globals_sql, ()).tablespaces)
    options = "--exit-on-error --dbname=NEW" + " --no-tablespaces" * has_tablespaces
    data = [
        f"pg_restore {options} --section=data {file_name(part)}"
        for part in backup.manifest.parts
        if part.kind in {"rest", "table"}
    ]
    manifest = backup.manifest
    return "\n".join(
        [
            f"# Backup {manifest.backup_id}: plaintext, keep it safe. With psql and pg_restore of",
            "# the server's major version, as a superuser, into a new database NEW:",
            "",
            "# Gives roles that exist the passwords and settings of the backup, and complains of",
            "# them: on a cluster in use delete from it what is about such roles.",
            "psql --file=globals.sql postgres",
            "psql --set=ON_ERROR_STOP=1 --set=new=NEW --file=create.sql postgres",
            f"pg_restore {options} --section=pre-data schema.dump",
            *data,
            "# Event triggers come back before materialised views are filled, and must not fire.",
            "PGOPTIONS='-c session_replication_role=replica'"
            f" pg_restore {options} --section=post-data{sessions} schema.dump",
            "psql --set=new=NEW --file=properties.sql postgres",
            "vacuumdb --analyze-only NEW",
            "",
        ]
    )
