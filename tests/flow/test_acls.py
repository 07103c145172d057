"""Whether rules of a cluster grant what is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from worker.flow.acls import Acl, Right, is_granted, refusals

READ = Right("TOPIC", "orders", "READ")
DESCRIBE = Right("TOPIC", "orders", "DESCRIBE")
EVERY_ID = Right("TRANSACTIONAL_ID", "shop.", "WRITE", "PREFIXED")


@dataclass(frozen=True)
class Rule:
    kind: str = "TOPIC"
    name: str = "orders"
    pattern: str = "LITERAL"
    operation: str = "READ"
    allows: bool = True
    host: str = "*"


def acl(**changes: Any) -> Acl:
    rule = Rule(**changes)
    return Acl(
        rule.kind, rule.name, rule.pattern, rule.operation, "User:bob", rule.allows, rule.host
    )


@pytest.mark.parametrize(
    ("right", "rule"),
    [
        (READ, acl()),
        (READ, acl(operation="ALL")),
        (READ, acl(name="*")),
        (READ, acl(name="ord", pattern="PREFIXED")),
        (DESCRIBE, acl()),
        (DESCRIBE, acl(operation="WRITE")),
        (Right("TOPIC", "orders", "DESCRIBE_CONFIGS"), acl(operation="ALTER_CONFIGS")),
        (
            EVERY_ID,
            acl(kind="TRANSACTIONAL_ID", name="shop.", pattern="PREFIXED", operation="WRITE"),
        ),
        (
            EVERY_ID,
            acl(kind="TRANSACTIONAL_ID", name="sh", pattern="PREFIXED", operation="WRITE"),
        ),
        (EVERY_ID, acl(kind="TRANSACTIONAL_ID", name="*", operation="ALL")),
    ],
)
def test_a_rule_grants_a_right(right: Right, rule: Acl) -> None:
    assert is_granted(right, [acl(name="other"), rule])


@pytest.mark.parametrize(
    ("right", "rule"),
    [
        (READ, acl(name="orders2")),
        (READ, acl(name="orders2", pattern="PREFIXED")),
        (READ, acl(kind="GROUP")),
        (READ, acl(operation="DESCRIBE")),
        (READ, acl(allows=False)),
        (READ, acl(host="10.1.2.3")),
        (EVERY_ID, acl(kind="TRANSACTIONAL_ID", name="shop.", operation="WRITE")),
        (
            EVERY_ID,
            acl(kind="TRANSACTIONAL_ID", name="shop.a", pattern="PREFIXED", operation="WRITE"),
        ),
    ],
)
def test_a_rule_does_not_grant_a_right(right: Right, rule: Acl) -> None:
    assert not is_granted(right, [rule])


@pytest.mark.parametrize(
    ("right", "rule"),
    [
        (READ, acl(allows=False)),
        (READ, acl(allows=False, operation="ALL", name="*")),
        (READ, acl(allows=False, host="10.1.2.3")),
        (
            EVERY_ID,
            acl(allows=False, kind="TRANSACTIONAL_ID", name="shop.x", operation="WRITE"),
        ),
    ],
)
def test_a_rule_denies_a_right_or_some_of_it(right: Right, rule: Acl) -> None:
    assert refusals(right, [acl(), rule]) == [rule]


def test_other_rules_deny_nothing() -> None:
    assert refusals(READ, [acl(), acl(allows=False, name="other")]) == []
    assert refusals(READ, [acl(allows=False, operation="WRITE")]) == []


def test_a_right_is_told_in_kafkas_words() -> None:
    assert str(READ) == "Read on topic orders"
    assert str(EVERY_ID) == "Write on transactional id shop.*"
    assert str(Right("TOPIC", "a", "DESCRIBE_CONFIGS")) == "DescribeConfigs on topic a"
