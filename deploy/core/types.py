"""The base of every declared value, and the names and addresses that they are made of."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# PostgreSQL's own names: nobody may declare, change or drop them.
RESERVED_PREFIX: Final = "pg_"
# Debian's administrative role, which owns the cluster.
ADMINISTRATOR: Final = "postgres"


class Declared(BaseModel):
    """A declared value: frozen, and whatever is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _not_reserved(name: str) -> str:
    if name.startswith(RESERVED_PREFIX):
        raise ValueError(f"{name} is reserved: names that begin with pg_ are PostgreSQL's own")
    return name


def _text(value: Any) -> Any:  # noqa: ANN401 - whatever an inventory holds
    """Let numbers and switches be written as such: `200`, `True`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int | float) else value


# What needs no second thought in SQL, in pg_hba.conf, in a shell or as a file's name.
_IDENTIFIER: Final = r"^[A-Za-z_][A-Za-z0-9_.-]{0,62}$"
AnyName: TypeAlias = Annotated[str, Field(pattern=_IDENTIFIER)]
Name: TypeAlias = Annotated[str, Field(pattern=_IDENTIFIER), AfterValidator(_not_reserved)]
_LABEL: Final = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HostName: TypeAlias = Annotated[str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
# A place on the operator's machine; `~` is their home.
OperatorPath: TypeAlias = Annotated[Path, AfterValidator(Path.expanduser)]
# A value of postgresql.conf or ALTER ROLE … SET.
SettingValue: TypeAlias = Annotated[
    str, BeforeValidator(_text), Field(pattern=r"^[^\x00-\x1f\x7f]{0,1000}$")
]
SettingName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$")]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]


def endpoint(address: Address, port: int) -> str:
    """Return an address and a port as programs take them to listen on."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def network_of(address: Address) -> Network:
    """Return the network that holds this one address."""
    return ipaddress.ip_network(f"{address}/{address.max_prefixlen}")
