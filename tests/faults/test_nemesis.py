"""What a run is made of follows from its seed, and what cannot be is refused."""

from __future__ import annotations

from itertools import islice

import click
import pytest

from tests.faults.__main__ import NOT_IN_SOAK, SHORT, Names, ordered
from tests.faults.nemesis import drawn
from tests.faults.plan import KINDS, plan
from tests.faults.scenarios import SCENARIOS


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
