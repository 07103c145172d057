"""Rights on a cluster with access control: which are needed, which are granted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Kind = Literal["TOPIC", "GROUP", "TRANSACTIONAL_ID"]
Pattern = Literal["LITERAL", "PREFIXED"]

EVERYBODY: Final = "User:*"
ANYWHERE: Final = "*"

_IMPLIED: Final = {
    "DESCRIBE": {"READ", "WRITE", "DELETE", "ALTER"},
    "DESCRIBE_CONFIGS": {"ALTER_CONFIGS"},
}
"""Operations that come with others, by Kafka's own rule."""


class Right(NamedTuple):
    """An operation on a resource, or on all whose names begin so."""

    kind: Kind
    name: str
    operation: str
    """By Kafka's name, such as `READ`."""
    pattern: Pattern = "LITERAL"

    def __str__(self) -> str:
        """Such as `Read on topic flights`."""
        operation = "".join(map(str.capitalize, self.operation.split("_")))
        kind = self.kind.lower().replace("_", " ")
        return f"{operation} on {kind} {self.name}{'*' if self.pattern == 'PREFIXED' else ''}"


class Acl(NamedTuple):
    """A rule as a cluster has it; `kind` may be one that no `Right` has."""

    kind: str
    name: str
    pattern: str
    operation: str
    principal: str
    allows: bool
    host: str = ANYWHERE


def is_granted(right: Right, acls: Iterable[Acl]) -> bool:
    """Whether one of these rules of a principal allows it, from wherever it connects."""
    enough = {right.operation, "ALL", *_IMPLIED.get(right.operation, ())}
    return any(
        acl.allows and acl.host == ANYWHERE and acl.operation in enough and _covers(acl, right)
        for acl in acls
    )


def refusals(right: Right, acls: Iterable[Acl]) -> list[Acl]:
    """Rules that deny it, or some of it; these count more than all that allow it."""
    return [
        acl
        for acl in acls
        if not acl.allows and acl.operation in {right.operation, "ALL"} and _touches(acl, right)
    ]


def _covers(acl: Acl, right: Right) -> bool:
    """Whether a rule is about all that a right is about."""
    if acl.kind != right.kind:
        return False
    if acl.pattern == "PREFIXED":
        return right.name.startswith(acl.name)
    return acl.name == ANYWHERE or (right.pattern == "LITERAL" and acl.name == right.name)


def _touches(acl: Acl, right: Right) -> bool:
    begins_so = right.pattern == "PREFIXED" and acl.name.startswith(right.name)
    return _covers(acl, right) or (acl.kind == right.kind and begins_so)
