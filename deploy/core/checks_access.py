"""What is asked of pg_hba.conf, of TLS, and of what answers from outside."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as parsed_dataclass

from deploy.core import hba
from deploy.core.checks import Judge, Probe, Target
from deploy.core.types import ADMINISTRATOR, Network

_APPLY: Final = "strongroom host apply"
_WIDEST: Final = {4: 16, 6: 48}
RULES: Final = "SELECT row_to_json(r) FROM pg_hba_file_rules r ORDER BY line_number"
_WEAK: Final = frozenset({"trust", "md5", "password", "ident"})
_FROM_AFAR: Final = frozenset({"host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"})


@parsed_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="ignore"))
class Line:
    """A line of pg_hba.conf as the server reads it (pg_hba_file_rules)."""

    line_number: int
    type: str | None = None
    database: tuple[str, ...] | None = None
    user_name: tuple[str, ...] | None = None
    address: str | None = None
    netmask: str | None = None
    auth_method: str | None = None
    error: str | None = None

    @property
    def label(self) -> str:
        """The line as people write it."""
        fields = (self.type, ",".join(self.database or ()), ",".join(self.user_name or ()))
        rest = (self.address, self.netmask, self.auth_method)
        said = " ".join(field for field in (*fields, *rest) if field)
        return f"line {self.line_number}: {said}"

    @property
    def is_from_afar(self) -> bool:
        """It is not about the socket."""
        return self.type in _FROM_AFAR

    @property
    def admits(self) -> bool:
        """It lets somebody in, given the right proof."""
        return self.auth_method not in {None, "reject"}

    @property
    def network(self) -> Network | None:
        """The addresses; None for the socket, and for names, which the server looks up."""
        if self.address == "all":
            return None
        try:
            return ipaddress.ip_network(f"{self.address}/{self.netmask}")
        except ValueError:
            return None

    def names_role(self, role: str) -> bool:
        """It is about this role, or about all."""
        return bool({role, "all"} & set(self.user_name or ()))


Lines: TypeAlias = Sequence[Line]
_LINE: Final = TypeAdapter(Line)


def lines_of(items: Sequence[str]) -> tuple[Line, ...]:
    """Return the lines that a server told of. Raises `ValueError`."""
    return tuple(_LINE.validate_python(json.loads(item)) for item in items)


def _labels(lines: Iterator[Line]) -> tuple[str, ...]:
    return tuple(line.label for line in lines)


def _errors(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    del target
    found = [f"line {x.line_number}: {x.error}" for x in lines_of(items) if x.error is not None]
    return tuple(found) if items else ("no line at all",)


def _weak(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    del target
    return _labels(line for line in lines_of(items) if line.auth_method in _WEAK)


def _plain(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    del target
    return _labels(
        line
        for line in lines_of(items)
        if line.is_from_afar and line.type != "hostssl" and line.admits
    )


def _wide(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    del target

    def is_wide(line: Line) -> bool:
        network = line.network
        return network is None or network.prefixlen < _WIDEST[network.version]

    return _labels(x for x in lines_of(items) if x.is_from_afar and x.admits and is_wide(x))


def _everybody(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    del target
    return _labels(
        line
        for line in lines_of(items)
        if line.is_from_afar
        and line.admits
        and "all" in (line.database or ())
        and "all" in (line.user_name or ())
    )


def _superusers(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines that admit a superuser from afar, unless one before rejects it everywhere."""
    assert target.server is not None
    lines = lines_of(items)
    declared = (role.name for role in target.server.all_roles() if role.is_superuser)
    found: list[str] = []
    for role in (ADMINISTRATOR, *declared):
        rejected: set[str] = set()
        for line in lines:
            if not (line.is_from_afar and line.names_role(role)):
                continue
            if line.admits:
                network = line.network
                versions = {str(network.version)} if network is not None else {"4", "6"}
                if not versions <= rejected:
                    found.append(f"{role}: {line.label}")
            elif "all" in (line.database or ()) and line.type in {"host", "hostssl"}:
                rejected |= _whole(line)
    return tuple(found)


def _whole(line: Line) -> set[str]:
    """Return the versions of addresses of which a line holds all."""
    if line.address == "all":
        return {"4", "6"}
    network = line.network
    return {str(network.version)} if network is not None and network.prefixlen == 0 else set()


def _final_reject(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    del target
    lines = [x for x in lines_of(items) if "replication" not in (x.database or ())]
    closing = {
        line.type
        for line in lines[-2:]
        if line.auth_method == "reject"
        and line.database == ("all",)
        and line.user_name == ("all",)
        and (line.type == "local" or line.address == "all")
    }
    return tuple(
        f"no reject ends the {kind} lines" for kind in ("local", "host") if kind not in closing
    )


def _shadowed(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    del target
    lines = lines_of(items)
    found = []
    for position, line in enumerate(lines):
        for earlier in lines[:position]:
            if line.admits and _covers(earlier, line):
                found.append(f"{line.label} never counts after {earlier.label}")
                break
    return tuple(found)


def _covers(one: Line, other: Line) -> bool:
    if one.error is not None or other.error is not None:
        return False
    same_way = one.type == other.type or (one.type == "host" and other.is_from_afar)
    databases, others = set(one.database or ()), set(other.database or ())
    is_of_all = "all" in databases and "replication" not in others
    return (
        same_way
        and (is_of_all or others <= databases)
        and (
            "all" in (one.user_name or ()) or set(other.user_name or ()) <= set(one.user_name or ())
        )
        and _network_covers(one, other)
    )


def _network_covers(one: Line, other: Line) -> bool:
    if one.type == "local" or one.address == "all":
        return True
    left, right = one.network, other.network
    if isinstance(left, ipaddress.IPv4Network) and isinstance(right, ipaddress.IPv4Network):
        return right.subnet_of(left)
    if isinstance(left, ipaddress.IPv6Network) and isinstance(right, ipaddress.IPv6Network):
        return right.subnet_of(left)
    return left is right is None and one.address == other.address


def _as_declared(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    assert target.server is not None
    rules = hba.effective_rules(target.estate, target.server)
    declared = _meant(hba.render(rules).splitlines())
    found = _meant(items)
    extra = [f"undeclared: {line}" for line in found if line not in declared]
    missing = [f"missing: {line}" for line in declared if line not in found]
    moved = ["the order is another"] if not extra and not missing and found != declared else []
    return (*extra, *missing, *moved)


def _meant(lines: Sequence[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines if line.strip() and line.strip()[0] != "#"]


def _hba(id_: str, what: str, expected: str, judged: Judge) -> Probe:
    return Probe(
        id=f"hba-{id_}",
        what=what,
        language="sql",
        scope="cluster",
        text=RULES,
        expected=expected,
        hint=f"{_APPLY} writes the file out of the access rules of the inventory",
        judge=judged,
    )


def _certificate(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    if target.certificate_problems is None:
        return ("it can't be judged: its CA is not on this machine",)
    return target.certificate_problems("\n".join(items))


def _serial(target: Target) -> frozenset[str]:
    return frozenset({f"serial={target.served_serial}"})


def _ca_keys(target: Target, items: tuple[str, ...]) -> tuple[str, ...]:
    """Judge lines of a public key's SHA-256 and the file that holds its private key."""
    return tuple(
        f"the key of a CA: {path}"
        for sha256, _, path in (item.partition(" ") for item in items)
        if sha256 in target.ca_keys
    )


_S_CLIENT: Final = "openssl s_client -starttls postgres -connect @address@:@port@"
_SAYS_NO: Final = "pg_hba.conf rejects|no pg_hba.conf entry"

HBA_PROBES: Final = (
    _hba("parsed", "the server understands every line", "no line in error", _errors),
    _hba("methods", "no method that is weak", "no trust, md5, password or ident", _weak),
    _hba("plain", "no line admits a connection without TLS", "hostssl, or reject", _plain),
    _hba("wide", "no line admits half the world", "/16 (IPv6: /48) or narrower", _wide),
    _hba("all-all", "no line admits everybody to everything", "none", _everybody),
    _hba("superuser", "no superuser comes in from afar", "rejected before any line", _superusers),
    _hba("final-reject", "a reject ends the list", "local and host, all all all", _final_reject),
    _hba("shadowed", "no line is dead", "none that an earlier one covers", _shadowed),
    Probe(
        id="hba-declared",
        what="pg_hba.conf is what the inventory says",
        language="shell",
        text="cat @conf@/pg_hba.conf",
        expected="the declared lines, in order",
        hint="strongroom host plan shows the difference, apply undoes it",
        judge=_as_declared,
    ),
)
TLS_PROBES: Final = (
    Probe(
        id="tls-minimum",
        what="TLS 1.3 is spoken, and nothing older",
        language="shell",
        text=f"{_S_CLIENT} -tls1_3 </dev/null >/dev/null 2>&1 || echo 'TLS 1.3 is not spoken';"
        f" {_S_CLIENT} -tls1_2 </dev/null >/dev/null 2>&1 && echo 'TLS 1.2 is spoken'; true",
        expected="a handshake with TLS 1.3, none with TLS 1.2",
        hint=f"ssl_min_protocol_version = TLSv1.3; {_APPLY}",
    ),
    Probe(
        id="served-certificate",
        what="the certificate that is shown: names, usage, authority, life",
        language="shell",
        text=f"{_S_CLIENT} </dev/null 2>/dev/null | openssl x509",
        expected="exactly the declared names, for servers only, from the trusted CA, in its time",
        hint="strongroom host pki issue, then strongroom host rotate certificates",
        judge=_certificate,
    ),
    Probe(
        id="served-serial",
        what="the certificate that is shown is the newest one",
        language="shell",
        text=f"{_S_CLIENT} </dev/null 2>/dev/null | openssl x509 -noout -serial",
        expected="the serial number of the certificate on the operator's machine",
        hint="strongroom host rotate certificates; the server's log says why it kept the old one",
        required=_serial,
    ),
    Probe(
        id="plaintext-refused",
        what="a connection without TLS is refused",
        language="shell",
        text="runuser -u postgres -- psql -w 'host=@address@ port=@port@ dbname=postgres"
        " user=postgres sslmode=disable connect_timeout=5' -c '' 2>&1"
        f" | grep -vE '{_SAYS_NO}'; true",
        expected="refused by pg_hba.conf",
        hint=f"hostssl lines only; {_APPLY}",
    ),
    Probe(
        id="remote-superuser-refused",
        what="the administrator does not come in over the network",
        language="shell",
        text="runuser -u postgres -- psql -w 'host=@address@ port=@port@ dbname=postgres"
        " user=postgres sslmode=require connect_timeout=5' -c '' 2>&1"
        f" | grep -vE '{_SAYS_NO}'; true",
        expected="refused by pg_hba.conf",
        hint=f"reject lines for the administrator come first; {_APPLY}",
    ),
)
CA_KEY: Final = Probe(
    id="ca-key-absent",
    what="no key of an authority is on the host",
    language="shell",
    text="find /etc /home /root /srv /var/lib /opt -xdev -type f -size -64k \\( -name '*.key'"
    " -o -name '*.pem' -o -name '*.p8' \\) 2>/dev/null | while read -r f; do"
    ' k=$(openssl pkey -in "$f" -passin pass: -pubout -outform DER 2>/dev/null | sha256sum)'
    ' && echo "${k%% *} $f"; done',
    expected="none",
    hint="take the key away, then make new authorities: strongroom host pki init --next",
    judge=_ca_keys,
)
