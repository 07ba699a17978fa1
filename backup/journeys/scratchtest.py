"""The second part of a restore test: restored into a scratch cluster, then looked at. Level 3.

What goes wrong is a finding, told by where it went wrong; only an interruption leaves as an
exception. The cluster is removed on every path, and it is looked whether it is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from backup.errors import (
    IntegrityError,
    KeyUnavailableError,
    SettingsError,
    StalledError,
    StoreError,
    StrongroomError,
    ToolMissingError,
)
from backup.evidence.messages import is_unreadable, redacted_error
from backup.evidence.report import Destruction
from backup.evidence.verdict import Code, Finding
from backup.journeys.archives import OpenBackup
from backup.journeys.progress import Progress
from backup.journeys.restore import restore
from backup.journeys.restoreplan import Destination, plan
from backup.journeys.scratchlook import Seen, Workshop, look, smoke
from backup.journeys.stored import finding_of
from backup.journeys.testrecord import Record
from backup.journeys.threads import to_end
from backup.postgres.scratch import Cluster, scratch_cluster, throw_away_for
from backup.postgres.tools import Tools, find_tools
from backup.repository.catalog import Catalog
from backup.testpolicy import RestoreTestPolicy

_GONE = "the cluster's directory is not there any more, and its server process has ended"
# In every cluster from the start: the restored database needs another name.
_TAKEN = frozenset({"postgres", "template0", "template1"})
_MAJOR = re.compile(r"\d+")
# What the server says of one that its packages do not have: `extension.c`.
_EXTENSION = re.compile(r'extension "([^"]+)" (?:is not available|has no installation script)')
# What the server says when its machine fails it.
_MACHINE = re.compile(
    r"[Nn]o space left|could not (?:extend|write|fsync)|[Oo]ut of memory|server closed the"
    r" connection|terminating connection|could not (?:reach|talk to)|Input/output error"
)


async def restore_and_look(
    backup: OpenBackup,
    expected: Catalog,
    policy: RestoreTestPolicy,
    workshop: Workshop,
    record: Record,
    *,
    clock: Callable[[], datetime],
    progress: Progress,
) -> Seen:
    """Restore, compare, ask, and destroy; everything goes into the record."""
    seen = Seen(expected=expected)
    try:
        tools = find_tools(
            int(_MAJOR.findall(backup.manifest.server_version)[0]),
            bin_directories=workshop.tool_directories,
            with_server=True,
        )
    except (ToolMissingError, IndexError) as error:
        record.stop("restore", Code.VERSION_MISMATCH, "server", str(error))
        return seen
    with ExitStack() as stack:
        cluster = await _start(backup, tools, workshop, record, stack)
        if cluster is None:
            return seen
        try:
            database = cluster.dsn.with_database(_name(backup.manifest.database_name))
            destination = Destination(
                dsn=database,
                jobs=workshop.jobs,
                stall_timeout=workshop.stall_timeout,
                tool_directories=(tools.bin,),
            )
            if await _restore(backup, destination, record, clock, progress):
                seen = await look(seen, database, policy, workshop, record, tools=tools)
                await smoke(database, policy, record, clock)
        finally:
            await _destroy(stack, cluster, record, clock)
    return seen


async def _start(
    backup: OpenBackup, tools: Tools, workshop: Workshop, record: Record, stack: ExitStack
) -> Cluster | None:
    making = scratch_cluster(
        tools,
        superuser=backup.catalog.bootstrap_superuser,
        directory=workshop.directory,
        settings=throw_away_for(len(backup.catalog.relations)),
    )
    try:
        with record.phase("start-cluster", is_recovery=True):
            return await to_end(lambda: stack.enter_context(making))
    except (StrongroomError, OSError) as error:
        record.stop("restore", Code.ENVIRONMENT_FAILURE, "scratch cluster", str(error))
        return None


async def _restore(
    backup: OpenBackup,
    destination: Destination,
    record: Record,
    clock: Callable[[], datetime],
    progress: Progress,
) -> bool:
    """Restore as people do; whether there is something to look at."""
    try:
        with record.phase("restore", is_recovery=True):
            await restore(
                backup,
                await plan(backup, destination),
                destination,
                is_fresh=True,
                counts=False,
                heard=record.heard,
                clock=clock,
                progress=progress,
            )
    except StrongroomError as error:
        record.is_stopped = True
        record.ran("restore", compared=len(record.commands), findings=[_failure(error)])
        return False
    lies = [
        Finding(code=Code.EXIT_CODE_LIED, what=message.source, observed=message.text)
        for message in record.messages
        if message.classified == "error"
    ]
    unknown = [
        Finding(code=Code.WARNINGS_UNCLASSIFIED, what=message.source, observed=message.text)
        for message in record.messages
        if message.classified == "warning"
    ]
    record.ran("restore", compared=len(record.commands), findings=lies)
    record.ran("messages", compared=len(record.commands), findings=unknown)
    return True


def _failure(error: StrongroomError) -> Finding:
    """Return what a restore that ended with an error says, by the kind of the error."""
    if isinstance(error, (IntegrityError, KeyUnavailableError, StoreError)):
        return finding_of(error, "restore")
    text = redacted_error(error.message)
    if (lacking := _EXTENSION.search(error.message)) is not None:
        return Finding(
            code=Code.EXTENSION_DIFF,
            what=f"extension {lacking[1]}",
            expected="installed on this host",
            observed=text,
        )
    if isinstance(error, (SettingsError, ToolMissingError)):
        code = Code.VERSION_MISMATCH
    elif isinstance(error, StalledError) or _MACHINE.search(text):
        code = Code.ENVIRONMENT_FAILURE
    elif is_unreadable(error.message):
        code = Code.ARCHIVE_UNREADABLE
    else:
        code = Code.RESTORE_ERRORS
    return Finding(code=code, what="restore", observed=text)


async def _destroy(
    stack: ExitStack, cluster: Cluster, record: Record, clock: Callable[[], datetime]
) -> None:
    """Stop and remove the cluster, and look whether it is gone."""
    problem = None
    with record.phase("destroy"):
        try:
            await to_end(stack.close)
        except (StrongroomError, OSError) as error:
            problem = str(error)
    problem = problem or _left(cluster)
    record.destruction = Destruction(is_destroyed=problem is None, how=problem or _GONE, at=clock())
    finding = Finding(
        code=Code.RESTORED_DATA_NOT_DESTROYED, what=str(cluster.directory), observed=problem
    )
    record.ran("destruction", compared=1, findings=[finding] if problem else [])


def _left(cluster: Cluster) -> str | None:
    """Return what is still there of a cluster, or None."""
    if cluster.directory.exists():
        return f"{cluster.directory} is still there"
    if Path(f"/proc/{cluster.server.pid}").exists():
        return f"the server process {cluster.server.pid} is still there"
    return None


def _name(database: str) -> str:
    return f"{database}_restored" if database in _TAKEN else database
