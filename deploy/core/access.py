"""Who may come in how: the typed lines of pg_hba.conf (PostgreSQL manual, "The pg_hba.conf File").

There is no trust, no md5, no password in clear, no ident, and no line that admits a connection
without TLS: what must not be said cannot be written down.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from deploy.core.types import ADMINISTRATOR, AnyName, Declared, Network

ConnectionType: TypeAlias = Literal["local", "hostssl"]
Method: TypeAlias = Literal["scram-sha-256", "cert", "peer", "reject"]
ALL: Final = "all"
REPLICATION: Final = "replication"


class AccessRule(Declared):
    """One line of pg_hba.conf. `databases` and `roles` may be `("all",)`.

    `certificate` asks for a client certificate on top of a password: signed by the client CA, and
    in the role's name (`verify-full`). The method `cert` takes it in the place of a password.
    """

    type: ConnectionType = "hostssl"
    databases: Annotated[tuple[AnyName, ...], Field(min_length=1)]
    roles: Annotated[tuple[AnyName, ...], Field(min_length=1)]
    address: Network | None = None
    method: Method
    certificate: bool = False
    comment: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{0,120}$")] = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.address is None) != (self.type == "local"):
            raise ValueError("a hostssl rule needs an address, and a local one has none")
        if self.method == "peer" and self.type != "local":
            raise ValueError("peer asks the kernel who is calling, which only a local rule can")
        if self.method == "cert" and self.type == "local":
            raise ValueError("cert needs TLS, which a local rule has not")
        if self.certificate and (self.type == "local" or self.method != "scram-sha-256"):
            raise ValueError("certificate goes with hostssl and scram-sha-256")
        for names in (self.databases, self.roles):
            if ALL in names and len(names) > 1:
                raise ValueError('"all" stands alone')
        return self

    def admits_administrator(self) -> bool:
        """Whether the administrator gets in through the socket by this rule."""
        return (
            self.type == "local"
            and self.method == "peer"
            and bool({ALL, ADMINISTRATOR} & set(self.roles))
            and bool({ALL, ADMINISTRATOR} & set(self.databases))
        )


# What every server begins with, before anything that is declared: the way in for these deploys.
ADMINISTRATION: Final = AccessRule(
    type="local",
    databases=(ALL,),
    roles=(ADMINISTRATOR,),
    method="peer",
    comment="administration, from the host itself",
)
