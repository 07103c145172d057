"""What a run is made of follows from its seed, and what cannot be is refused."""

from __future__ import annotations

import time
from itertools import islice
from random import Random

import click
import pytest
from confluent_kafka import Producer

from tests.faults.__main__ import NOT_IN_SOAK, SHORT, Names, ordered
from tests.faults.judge import AFTERMATH
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.nemesis import Course, drawn, happen
from tests.faults.plan import KINDS, plan
from tests.faults.run import Leaves, Phase
from tests.faults.scenarios import SCENARIOS, NotFelt, Scenario, blamed, taken_over, uncommitted
from tests.faults.told import Owned
from tests.faults.world import Stuck, World
from worker.errors import BrokerFailed


def test_scenarios_are_drawn_by_lot_each_before_one_comes_again() -> None:
    names = [*SCENARIOS]

    twice = drawn(1, names, 2 * len(names))

    assert sorted(twice[: len(names)]) == sorted(twice[len(names) :]) == sorted(names)
    assert twice == drawn(1, names, 2 * len(names)) != drawn(2, names, 2 * len(names))


def test_the_short_profile_is_of_scenarios_that_there_are() -> None:
    assert {*SHORT, *NOT_IN_SOAK} <= SCENARIOS.keys()
    assert all(one.about.endswith(".") for one in SCENARIOS.values())


def test_a_run_names_the_command_that_has_it_again() -> None:
    order = ordered(5, None, "short", None, None)
    soak = ordered(5, None, "short", None, 30.0)

    names = ",".join(order.scenarios)
    assert order.line == f"python -m tests.faults --seed 5 --rate 200 --scenarios {names}"
    assert soak.line == "python -m tests.faults --seed 5 --rate 1000 --soak 30"
    assert [*order.names()] == [*order.scenarios]
    assert not {*soak.scenarios} & {*NOT_IN_SOAK}


def test_a_soak_begins_with_the_longest_outage_and_goes_on_by_lot() -> None:
    soaks = [ordered(seed, None, "short", None, 30.0).scenarios for seed in range(5)]

    assert {one[0] for one in soaks} == {"all-brokers"}
    assert len({*map(tuple, soaks)}) == 5


def test_a_soak_of_named_scenarios_names_them_as_they_were_so_that_lots_fall_alike() -> None:
    names = ["resets", "storm", "delay", "kill-worker"]
    soak = ordered(5, None, "short", names, 30.0)

    assert soak.line.endswith("--soak 30 --scenarios resets,storm,delay,kill-worker")
    assert ordered(5, None, "short", names, 30.0).scenarios == soak.scenarios != names


def test_a_scenario_that_there_is_not_is_refused_by_name_with_those_there_are() -> None:
    with pytest.raises(
        click.BadParameter, match="no scenario is called hail, fire; there are kill"
    ):
        Names().convert("hail, resets,fire", None, None)


class Calm(World):
    """A world in which nothing is: it says how long it was to wait, and how often it was mended."""

    def __init__(self) -> None:
        self.chance = Random(1)
        self.waited = 0.0
        self.mended = 0
        self.is_ready = True

    def wait(self, seconds: float) -> None:
        """See `World`."""
        self.waited += seconds

    def until_ready(self) -> None:
        """See `World`."""
        if not self.is_ready:
            raise Stuck("not all workers are ready")

    def mend(self) -> None:
        """See `World`."""
        self.mended += 1

    def recovery(self) -> tuple[float | None, float | None]:
        """See `World`."""
        return 1.0, 2.0


def fails(error: Exception) -> Scenario:
    def happens(_: World) -> str:
        raise error

    return Scenario("hail", (), 1.0, "repeats", happens)


def passes(leaves: Leaves) -> Scenario:
    return Scenario("rain", (), 1.0, leaves, lambda _: "it was wet")


def test_a_worker_that_is_not_ready_after_a_fault_stops_the_run() -> None:
    world, course = Calm(), Course(lambda _: None)
    world.is_ready = False

    phase = happen(passes("repeats"), world, course)

    assert course.stuck == ["rain, to recover: not all workers are ready"]
    assert phase.recovered == 2.0


@pytest.mark.parametrize(
    ("before", "leaves", "waits"),
    [
        ("repeats", "nothing", True),
        ("stragglers", "nothing", True),
        ("nothing", "nothing", False),
        ("repeats", "repeats", False),
    ],
)
def test_a_fault_that_leaves_nothing_waits_until_those_before_it_excuse_nothing_any_more(
    before: Leaves, leaves: Leaves, *, waits: bool
) -> None:
    now = time.time()
    last = Phase("hail", now - 60, now, now, now, "it was cold", before, 1.0)
    world, course = Calm(), Course(lambda _: None, [last])

    happen(passes(leaves), world, course)

    assert (world.waited > AFTERMATH) == waits


@pytest.mark.parametrize(
    ("error", "stuck", "broken"),
    [
        (Stuck("no replica is in sync"), ["hail: no replica is in sync"], []),
        (BrokerFailed("it ended;\nits log:"), [], ["hail: BrokerFailed: it ended;"]),
    ],
)
def test_what_stops_a_fault_is_noted_and_mended_and_the_fault_told_of(
    error: Exception, stuck: list[str], broken: list[str]
) -> None:
    world, course = Calm(), Course(lambda _: None)

    phase = happen(fails(error), world, course)

    assert (course.stuck, course.broken) == (stuck, broken)
    assert course.is_stopped
    assert world.mended == 1
    assert (phase.scenario, phase.leaves, phase.recovered) == ("hail", "repeats", 2.0)
    assert phase.felt


def test_a_fault_that_was_not_felt_stops_nothing() -> None:
    world, course = Calm(), Course(lambda _: None)

    phase = happen(fails(NotFelt("all is well")), world, course)

    assert phase.felt is None
    assert not course.is_stopped
    assert not world.mended


def test_a_right_that_is_missing_is_felt_only_where_workers_name_it() -> None:
    assert blamed({"denied", "held_up"}, "denied") == "workers are not ready for denied, held_up"
    with pytest.raises(NotFelt, match="for no_broker, and for none of denied"):
        blamed({"no_broker"}, "denied")
    with pytest.raises(NotFelt, match="for nothing"):
        blamed(set(), "denied")


def test_a_worker_that_stands_still_is_missed_only_where_others_have_all_of_its_partitions() -> (
    None
):
    one, two, three = (("exact", "input", number) for number in range(3))

    assert taken_over({one, two}, {one, two, three}) == "others took over its 2 partitions"
    for had, others in (({one, two}, {two, three}), (set[Owned](), {one})):
        with pytest.raises(NotFelt, match=f"of {len(had)} partitions nobody took over"):
            taken_over(had, others)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [(3, 3, "nothing was committed"), (None, 3, "nobody said"), (3, None, "nobody said")],
)
def test_that_nothing_was_committed_is_said_only_where_somebody_knows(
    before: int | None, after: int | None, what: str
) -> None:
    assert uncommitted(before, after).startswith(what)
    with pytest.raises(NotFelt, match="committed with one broker: 1"):
        uncommitted(3, 4)


def test_what_fails_in_the_thread_of_the_load_is_raised_as_it_is_stopped_and_not_again() -> None:
    class Fails(Load):
        def _transactional(self) -> Producer:
            raise OSError("no room")

    load = Fails("127.0.0.1:1", "input", 1, 10.0, 1, Ledger())
    with load, pytest.raises(OSError, match="no room"):
        load.stop()


def test_messages_are_of_all_kinds_numbered_by_key_and_keys_stay_in_their_partition() -> None:
    sizes = iter([3] * 4_000 + [4] * 4_000)
    messages = [*islice(plan(1, 0, 2, lambda: next(sizes)), 8_000)]

    assert {one.kind for one in messages} == {*KINDS}
    assert {one.partition for one in messages[4_000:]} == {0, 1, 2, 3}
    numbers: dict[str, int] = {}
    for one in messages:
        assert one.number == numbers.get(one.key, 0)
        numbers[one.key] = one.number + 1
    assert len({(one.key, one.partition) for one in messages}) == len(numbers)
