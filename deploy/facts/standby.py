"""What a host has of a server that it is to be a copy of, and which slots a primary has."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase

from deploy.core.replication import Holding
from deploy.facts.cluster import ask


class HoldingOf(FactBase[Holding]):
    """What a data directory holds, and the identifier that the primary tells of itself."""

    @staticmethod
    def default() -> Holding:
        """Nothing is there."""
        return Holding(is_empty=True)

    def command(self, data: str, binaries: str, connection: str) -> str:
        """Return what looks, and asks the primary the way the replica will come in."""
        quoted = shlex.quote(data)
        asked = shlex.quote(f"{connection} replication=true")
        return (
            f'if [ -n "$(ls -A {quoted} 2>/dev/null)" ]; then cd /; export LC_ALL=C; echo data;'
            f" [ -e {quoted}/standby.signal ] && echo standby || echo no;"
            f" {binaries}/pg_controldata {quoted} 2>/dev/null"
            " | sed -n 's/^Database system identifier: */system /p';"
            f" runuser -u postgres -- psql -XAtqw {asked} -c IDENTIFY_SYSTEM 2>/dev/null"
            " | sed 's/^\\([0-9]*\\)|.*/primary \\1/'; fi; true"
        )

    def process(self, output: list[str]) -> Holding:
        """Return what was found."""
        if not output:
            return Holding(is_empty=True)
        told = dict(line.split() for line in output[2:] if " " in line)
        return Holding(
            is_empty=False,
            is_standby=output[1] == "standby",
            system=told.get("system", ""),
            primary=told.get("primary", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A replication slot: whether what it promises is still there."""

    name: str
    is_lost: bool
    is_active: bool


class SlotsOf(FactBase[tuple[Slot, ...] | None]):
    """Every replication slot that is not for a session only; None while the server is down."""

    @staticmethod
    def default() -> tuple[Slot, ...] | None:
        """It is down."""
        return None

    def command(self, port: int) -> str:
        """Return what asks."""
        sql = (
            "SELECT 'slot' UNION ALL SELECT slot_name || ' ' || coalesce(wal_status = 'lost',"
            " false)::text || ' ' || active::text FROM pg_replication_slots WHERE NOT temporary"
        )
        return ask(sql, port=port, database="postgres")

    def process(self, output: list[str]) -> tuple[Slot, ...] | None:
        """Return the slots."""
        rows = [line.split() for line in output]
        if ["slot"] not in rows:
            return None
        return tuple(
            Slot(name=row[0], is_lost=row[1] == "true", is_active=row[2] == "true")
            for row in rows
            if len(row) == 3
        )


class ConfiguredData(FactBase[str]):
    """The data directory that a cluster's configuration names; empty if it has none yet."""

    @staticmethod
    def default() -> str:
        """There is no configuration."""
        return ""

    def command(self, configuration: str) -> str:
        """Return what reads it."""
        path = shlex.quote(f"{configuration}/postgresql.conf")
        return f"sed -n \"s/^data_directory *= *'\\([^']*\\)'.*/\\1/p\" {path} 2>/dev/null || true"

    def process(self, output: list[str]) -> str:
        """Return the path."""
        return output[-1].strip() if output else ""
