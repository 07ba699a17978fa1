"""Asking a host: all probes in one script over one SSH session, then its ports from here."""

from __future__ import annotations

import base64
import json
import shlex
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from deploy.core.checks import Answer, Probe, Target, databases_of
from deploy.remote import Remote, UnreachableError

# Not by functions or operators that somebody planted in a schema of his own (CVE-2018-1058).
_PGOPTIONS: Final = "-c search_path=pg_catalog -c statement_timeout=60s"
_PRELUDE: Final = r"""
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
answer() {
  out=$(echo "$3" | base64 -d | timeout 60 bash -s 2>&1); code=$?
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$code" "$(printf %s "$out" | base64 -w0)"
}
"""
_LISTENING: Final = "ss -Hltn | awk '{ print $4 }' | grep -vE '^(127[.]|\\[::1\\])'; true"
# timeout, not executable, not found: the probe said nothing about the host.
_DID_NOT_RUN: Final = frozenset({124, 126, 127})
_DIAL_SECONDS: Final = 2.0
_SQL: Final = "sql"


def gather(
    remote: Remote, target: Target, probes: Sequence[Probe]
) -> dict[tuple[str, str], Answer]:
    """Return the answers of one host. What could not be asked has an answer that says why."""
    asked = [probe for probe in probes if probe.applies(target)]
    try:
        lines = remote.run(_script(target, asked)).decode(errors="replace").splitlines()
    except UnreachableError as error:
        failure = Answer(failure=error.message)
        return {
            (probe.id, name): failure for probe in asked for name in databases_of(target, probe)
        }
    raw = {(kind, name): (int(code), _decoded(text)) for kind, name, code, text in _fields(lines)}
    found: dict[tuple[str, str], Answer] = {}
    for probe in asked:
        for name in databases_of(target, probe):
            if probe.language == "shell":
                found[probe.id, name] = _of_shell(raw.get((probe.id, "")))
            elif probe.language == "sql":
                found[probe.id, name] = _of_sql(raw.get((_SQL, name)), probe.id)
            else:
                found[probe.id, name] = _dial(remote.address, raw.get(("listening", "")))
    return found


def _script(target: Target, probes: Sequence[Probe]) -> str:
    lines = [_PRELUDE, _call("listening", "", _LISTENING)]
    lines += [_call(p.id, "", target.fill(p.text)) for p in probes if p.language == "shell"]
    sql = [probe for probe in probes if probe.language == "sql"]
    for name in sorted({name for probe in sql for name in databases_of(target, probe)}):
        asked = [probe for probe in sql if name in databases_of(target, probe)]
        lines.append(_call(_SQL, name, _psql(target, name, asked)))
    return "\n".join(lines)


def _call(kind: str, name: str, text: str) -> str:
    encoded = base64.b64encode(text.encode()).decode()
    return f"answer {shlex.quote(kind)} {shlex.quote(name)} {encoded} </dev/null"


def _psql(target: Target, name: str, probes: Sequence[Probe]) -> str:
    """Return shell that asks one database everything; each answer is one line of JSON."""
    assert target.server is not None
    statements = "".join(
        f"\\echo @@begin {probe.id}\n"
        f"SELECT coalesce(json_agg(item::text), '[]') FROM ({target.fill(probe.text)}) q (item);\n"
        f"\\echo @@end {probe.id} :ERROR :LAST_ERROR_MESSAGE\n"
        for probe in probes
    )
    encoded = base64.b64encode(statements.encode()).decode()
    database = shlex.quote(name or "postgres")
    return (
        f"echo {encoded} | base64 -d | PGOPTIONS={shlex.quote(_PGOPTIONS)} runuser -u postgres --"
        f" psql -XAtq -p {target.server.port} -d {database} -f -"
    )


def _fields(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for line in lines:
        fields = tuple(line.split("\t"))
        if len(fields) == 4 and fields[2].isdigit():
            yield fields


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")


def _of_shell(raw: tuple[int, str] | None) -> Answer:
    if raw is None:
        return Answer(failure="the host's answer is cut short")
    code, text = raw
    items = tuple(line.strip() for line in text.splitlines() if line.strip())
    if code in _DID_NOT_RUN or (code and not items):
        return Answer(failure=f"exit code {code}: {' '.join(items)[:200]}".rstrip(": "))
    return Answer(items=items)


def _of_sql(raw: tuple[int, str] | None, probe_id: str) -> Answer:
    if raw is None:
        return Answer(failure="the host's answer is cut short")
    code, text = raw
    _, begins, rest = text.partition(f"@@begin {probe_id}\n")
    body, ends, rest = rest.partition(f"@@end {probe_id} ")
    if not (begins and ends):
        return Answer(failure=f"psql ended with {code}: {text.strip()[-200:]}")
    status, _, message = rest.partition("\n")[0].partition(" ")
    if status != "false":
        return Answer(failure=message or "the statement failed")
    try:
        return Answer(items=tuple(map(str, json.loads(body))))
    except ValueError:
        return Answer(failure=f"psql said {body.strip()[:200]!r}")


def _dial(address: str, listening: tuple[int, str] | None) -> Answer:
    """Return `PORT from ADDRESS` for each port that answers this machine."""
    if listening is None or listening[0]:
        return Answer(failure="the host did not say what it listens on")
    ports = sorted({int(one.rpartition(":")[2]) for one in listening[1].split()})
    with ThreadPoolExecutor(max_workers=32) as pool:
        found = pool.map(lambda port: _answering(address, port), ports)
        return Answer(items=tuple(one for one in found if one is not None))


def _answering(address: str, port: int) -> str | None:
    try:
        with socket.create_connection((address, port), timeout=_DIAL_SECONDS) as connection:
            return f"{port} from {connection.getsockname()[0]}"
    except OSError:
        return None
