"""What messages and lanes take that wait."""

from bench.rounds import Attempt
from bench.waiting import table


def attempt(case: str, repeat: int, rss: float) -> Attempt:
    return Attempt(case, case, repeat, {"rss": rss, "start": 1.0, "rate": 2.0, "cpu": 3.0})


def test_what_each_takes_is_what_a_worker_takes_more_than_in_the_same_repeat_without_any() -> None:
    attempts = [
        attempt("none", 0, 100),
        attempt("none", 1, 110),
        attempt("fenced", 0, 101),
        attempt("fenced", 1, 113),
    ]

    first, last = table(attempts, 2**20).splitlines()[2:]

    assert first == "| none | 105 (100 - 110) | - | 1.0 | 2 | 3.00 |"
    assert last == "| fenced | 107 (101 - 113) | 2 (1 - 3) | 1.0 | 2 | 3.00 |"
