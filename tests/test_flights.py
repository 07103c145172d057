"""The example's data and handlers."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from pathlib import Path

import pytest

from handlers.flights import DATA, Delay, Flight, Names, alerts, delays, punctuality
from worker import Reject
from worker.testing.spectests.suites import run

CONFIG = Path(__file__).parents[1] / "config"
NAMES = Names({"UA": "United"}, {"EWR": "Newark"})
FLIGHT = Flight("2013-02-01T10:00:00Z", "UA", 1018, "EWR", "SJU", 130)


def lines() -> list[bytes]:
    with gzip.open(DATA / "flights.jsonl.gz") as stream:
        return stream.read().splitlines()


def what_is_wrong(line: bytes) -> str | None:
    try:
        flight = json.loads(line)
    except ValueError:
        return "truncated"
    if flight["carrier"] == "ZZ":
        return "unknown carrier"
    return "no departure" if flight["dep_time"] is None else None


def test_the_data_holds_as_many_broken_flights_as_its_readme_says() -> None:
    readme = (DATA / "README.md").read_text()
    found = Counter(map(what_is_wrong, lines()))

    assert f"{len(lines()):,} lines" in readme
    assert found["truncated"] == 3
    assert found["unknown carrier"] == 4
    assert f"| {found['no departure']:,} | yes" in readme


def test_no_partition_of_the_embedded_broker_gets_more_than_it_keeps() -> None:
    sizes: Counter[int] = Counter()
    for line in lines():
        cut = what_is_wrong(line) == "truncated"
        key = b"" if cut else str(json.loads(line)["tailnum"]).encode()
        sizes[zlib.crc32(key) % 4] += len(line) + len(key) + 100

    assert max(sizes.values()) < 5 * 1024 * 1024


def test_a_flight_gets_names_and_a_punctuality() -> None:
    assert delays(FLIGHT, NAMES) == Delay(
        "UA 1018", "2013-02-01T10:00:00Z", "United", "Newark", "SJU", 130, "very_late"
    )


def test_flights_that_never_left_or_have_no_known_carrier_are_rejected() -> None:
    with pytest.raises(Reject, match="departure missing"):
        delays(Flight("", "UA", 1, "EWR", "SJU", None), NAMES)
    with pytest.raises(Reject, match="unknown carrier"):
        delays(Flight("", "ZZ", 1, "EWR", "SJU", 0), NAMES)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(-5, "on_time"), (14, "on_time"), (15, "late"), (119, "late"), (120, "very_late")],
)
def test_a_flight_is_late_from_a_quarter_of_an_hour_and_very_late_from_two_hours(
    minutes: int, expected: str
) -> None:
    assert punctuality(minutes) == expected


def test_only_long_delays_are_alerted() -> None:
    late = delays(FLIGHT, NAMES)
    punctual = delays(Flight("", "UA", 1, "EWR", "SJU", 10), NAMES)

    alert = alerts(late)

    assert alert is not None
    assert alert.text == "UA 1018 to SJU left 130 minutes late"
    assert alerts(punctual) is None


def test_the_tests_of_the_spec_pass() -> None:
    ran = run([CONFIG / "flights.test.yaml"], {}, [str(CONFIG.parent)], "")

    assert ran.problems == []
    assert [result.differences for result in ran.results] == [[]] * 3
