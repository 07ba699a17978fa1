"""Two catalogues side by side, and what several checks ask of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from backup.repository.catalog import (
    RIGHTS,
    SECURITY_LABELS,
    SUBSCRIPTIONS,
    Catalog,
    SchemaObject,
)

ROW_SECURITY: Final = frozenset({"policy", "row security"})
# What initdb or an extension made: it is there anyway, and listed for the rights that somebody
# gave on it.
_RIGHTS_ONLY: Final = "rights on "
_COVERED: Final = {
    "rights on extension ": RIGHTS,
    "rights on system ": RIGHTS,
    "security label": SECURITY_LABELS,
    "subscription": SUBSCRIPTIONS,
}


def is_rights_only(kind: str) -> bool:
    """Return whether a kind of object is there for the rights on it alone."""
    return kind.startswith(_RIGHTS_ONLY)


def covered(catalog: Catalog, expected: Catalog) -> Catalog:
    """Return a catalogue without the kinds that the reference does not tell of."""
    unknown = tuple(kind for kind, what in _COVERED.items() if what not in expected.covers)
    return replace(
        catalog, objects=tuple(one for one in catalog.objects if not one.kind.startswith(unknown))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both catalogues, and what several checks ask of them."""

    expected: Catalog
    observed: Catalog
    before: dict[tuple[str, str], SchemaObject]
    after: dict[tuple[str, str], SchemaObject]
    absent_roles: frozenset[str]

    @classmethod
    def of(cls, expected: Catalog, observed: Catalog) -> Sides:
        """Return both, with what is asked often looked up once."""
        observed = covered(observed, expected)
        return cls(
            expected=expected,
            observed=observed,
            before={(one.kind, one.name): one for one in expected.objects},
            after={(one.kind, one.name): one for one in observed.objects},
            absent_roles=frozenset(one.name for one in expected.roles)
            - {one.name for one in observed.roles},
        )

    def both(self) -> Iterator[tuple[SchemaObject, SchemaObject]]:
        """Yield what is defined on both sides, in order."""
        for key, one in self.before.items():
            if key in self.after and not is_rights_only(key[0]):
                yield one, self.after[key]

    def missing_tables(self) -> set[str]:
        """Return the identities of relations that only one side has."""
        only_one = self.before.keys() ^ self.after.keys()
        return {
            name for kind, name in only_one if kind not in ROW_SECURITY and not is_rights_only(kind)
        }

    def is_of_absent_role(self, key: tuple[str, str]) -> bool:
        """Return whether it went with a role: a user mapping."""
        return key[0] == "user mapping" and key[1].split(" on ")[0] in self.absent_roles

    def changed(self) -> set[str]:
        """Return the identities of what is defined otherwise on the two sides."""
        return {
            one.name
            for one, other in self.both()
            if one.definition_sha256 != other.definition_sha256
        }
