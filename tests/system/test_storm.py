"""How much of its throughput a group keeps while a member joins or leaves every two seconds.

Calm is that of three members; in the storm the third leaves, another joins, and so on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids, keyed
from tests.system.test_rebalances import GROUPS, KEYS

pytestmark = [pytest.mark.kafka, pytest.mark.long]

PARTITIONS = 8
CALM, STORM = 20.0, 60.0
CHANGE_EVERY = 2.0
RECORDS = 400_000


def through(kafka: Kafka, spec: Spec) -> int:
    """How many messages are committed."""
    committed = kafka.committed(spec.group, spec.source, PARTITIONS)
    return sum(max(0, offset) for offset in committed)


def rate(kafka: Kafka, spec: Spec, seconds: float, meanwhile: Callable[[], None]) -> float:
    """Messages per second while `meanwhile` is done every so often."""
    before, begun = through(kafka, spec), time.monotonic()
    changes = 0
    while (elapsed := time.monotonic() - begun) < seconds:
        if elapsed >= changes * CHANGE_EVERY:
            changes += 1
            meanwhile()
        time.sleep(0.05)
    return (through(kafka, spec) - before) / (time.monotonic() - begun)


@pytest.mark.parametrize("way", ["sticky", "consumer", "range"])
def test_a_storm_of_rebalances_leaves_a_group_a_third_of_its_throughput(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo_slowly", client={"group": GROUPS[way]})
    kafka.create(spec.source, spec.target, partitions=PARTITIONS)
    kafka.produce(spec.source, keyed(0, RECORDS, KEYS))
    with ExitStack() as stack:
        *members, guest = [stack.enter_context(spec.worker()) for _ in range(3)]
        guest.until(lambda: sum(one.owned() for one in (*members, guest)) == PARTITIONS)
        guest.until(lambda: guest.owned() > 0)
        guests = [guest]

        def change() -> None:
            if guests:
                guests.pop().send(signal.SIGTERM)
            else:
                guests.append(stack.enter_context(spec.worker()))

        calm = rate(kafka, spec, CALM, lambda: None)
        storm = rate(kafka, spec, STORM, change)
        failures = sum(one.count("commit_failures") for one in members)
        dropped = sum(one.count("dropped") for one in members)
        done = through(kafka, spec)
        assert [one.stop() for one in members] == [0, 0]

    results = ids(kafka.read(spec.target))
    doubles = len(results) - len(set(results))
    print(  # noqa: T201 - the figures are what it is run for
        f"\n{way}: calm {calm:.0f}/s, storm {storm:.0f}/s, {storm / calm:.2f}; "
        f"{done} through, {doubles} doubles, {failures} commits failed, {dropped} dropped"
    )
    assert storm >= calm / 3
