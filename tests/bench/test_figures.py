"""Sums over measurements."""

import pytest

from bench.figures import percentile, ratios, spread


def test_a_percentile_lies_between_its_neighbours_by_proportion() -> None:
    values = [float(value) for value in range(101)]

    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([10, 20], 95) == pytest.approx(19.5)
    assert percentile([7], 99) == 7


def test_percentiles_do_not_depend_on_order() -> None:
    assert percentile([3, 1, 2], 50) == 2


def test_ratios_are_taken_within_a_repeat() -> None:
    own = {0: 10.0, 1: 40.0, 2: 9.0}
    base = {0: 20.0, 2: 90.0}

    assert ratios(own, base) == [0.5, 0.1]


def test_a_spread_is_told_as_median_and_range() -> None:
    assert spread([3000, 1000, 2000]).text() == "2,000 (1,000 - 3,000)"


def test_a_single_measurement_has_no_range() -> None:
    assert spread([1.5]).text(2) == "1.50"


def test_a_small_ratio_is_not_told_as_none() -> None:
    assert spread([0.004]).text(2) == "0.004"
