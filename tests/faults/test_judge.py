"""The judge finds each way in which a run can be bad, and calls it by its right name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.faults.judge import ENOUGH, expected, judge
from tests.faults.ledger import Fate
from tests.faults.plan import KINDS, Kind, plan
from tests.faults.run import Exit, Letter, Limits, Outcome, Phase, Promise, Result, Run, Stored
from tests.faults.verdict import drawing, verdict, write
from tests.faults.watch import Progress, Sample

MESSAGES = 8_000
PARTITIONS = 3
BEGAN = 1_000_000.0
MIB = 1 << 20


@cache
def stored() -> Mapping[int, Stored]:
    """An input of all kinds of messages."""
    ends = [0] * PARTITIONS
    found = {}
    for one in islice(plan(7, 0, 1, lambda: PARTITIONS), MESSAGES):
        found[one.id] = Stored(one, one.partition, ends[one.partition])
        ends[one.partition] += 1
    return found


def outcome(promise: Promise, inputs: Mapping[int, Stored]) -> Outcome:
    """What a worker without faults makes of it, a message every millisecond."""
    results: list[Result] = []
    letters: list[Letter] = []
    for number, (one, stored) in enumerate(inputs.items()):
        at = BEGAN + number / 1_000
        slots = expected(promise, stored.planned)
        if slots is None:
            reason = "timeout" if stored.planned.kind == "hangs" else "handler_error"
            letters.append(Letter(one, reason, at))
        for slot in sorted(slots or ()):
            key, of_key = stored.planned.key, stored.planned.number
            results.append(Result(one, slot, key, of_key, "a.0", 0, len(results), at))
    return Outcome(promise, results, letters)


def sample(second: int, **changes: object) -> Sample:
    known = Sample(BEGAN + second, "a.0", 100 * MIB, 60, 30, 200, ())
    return replace(known, **changes)  # type: ignore[arg-type]


@cache
def honest() -> Run:
    """A run in which all is well."""
    inputs = stored()
    ends = tuple(
        sum(one.partition == number for one in inputs.values()) for number in range(PARTITIONS)
    )
    nothing = (0,) * PARTITIONS
    return Run(
        fates=dict.fromkeys(inputs, Fate.STORED) | {-1: Fate.ABORTED, -2: Fate.DOUBTFUL},
        inputs=inputs,
        outcomes={
            "exact": outcome("exactly_once", inputs),
            "least": outcome("at_least_once", inputs),
        },
        progress=[
            Progress(BEGAN, {"exact": nothing, "least": nothing}, ends),
            Progress(BEGAN + 9, {"exact": ends, "least": ends}, ends),
        ],
        samples=[sample(second) for second in range(4 * ENOUGH)],
        exits=[Exit("a.0", 0, 0), Exit("b.0", -9, -9)],
        phases=[
            Phase("stop-worker", BEGAN, BEGAN + 1, BEGAN + 1, BEGAN + 2, "it ended", "nothing", 12),
            Phase(
                "kill-worker",
                BEGAN + 30,
                BEGAN + 40,
                BEGAN + 50,
                BEGAN + 60,
                "killed",
                "repeats",
                30,
            ),
        ],
        limits=Limits(slope=MIB, lasts=100.0),
    )


def codes(run: Run) -> set[str]:
    return {finding.code for finding in judge(run)}


def test_nothing_is_found_where_all_is_well() -> None:
    assert judge(honest()) == []


def changed(run: Run, name: str, change: Callable[[Outcome], Outcome]) -> Run:
    return replace(run, outcomes={**run.outcomes, name: change(run.outcomes[name])})


def of_kind(run: Run, kind: Kind) -> int:
    """A message of this kind; of several results if it is fanned out."""
    return next(one for one, stored in run.inputs.items() if stored.planned.kind == kind)


def without(outcome: Outcome, one: int, slots: set[int] | None = None) -> Outcome:
    """An outcome that lacks a message's results, or those in these slots, and its letters."""
    results = [
        two
        for two in outcome.results
        if two.id != one or (slots is not None and two.slot not in slots)
    ]
    letters = [letter for letter in outcome.letters if letter.id != one]
    return replace(outcome, results=results, letters=letters)


def again(outcome: Outcome, one: int, after: float) -> Outcome:
    """An outcome in which the results of a message come once more, so many seconds later."""
    late = [replace(two, at=two.at + after) for two in outcome.results if two.id == one]
    return replace(outcome, results=[*outcome.results, *late])


@pytest.mark.parametrize("name", ["exact", "least"])
@pytest.mark.parametrize("kind", ["plain", "fails", "flaky", "later"])
def test_a_message_of_which_nothing_became_is_a_loss(name: str, kind: Kind) -> None:
    run = honest()
    one = of_kind(run, kind)

    assert codes(changed(run, name, lambda outcome: without(outcome, one))) == {"NL"}


@pytest.mark.parametrize(("name", "code"), [("exact", "TX"), ("least", "NL")])
def test_a_part_of_the_results_is_a_torn_transaction_or_a_loss(name: str, code: str) -> None:
    run = honest()
    one = of_kind(run, "fanned out")

    assert codes(changed(run, name, lambda outcome: without(outcome, one, {0}))) == {code}


def test_a_message_that_was_given_up_without_need_is_a_loss() -> None:
    run = honest()
    one = of_kind(run, "filtered")
    letter = Letter(one, "timeout", BEGAN)

    def given_up(outcome: Outcome) -> Outcome:
        return replace(outcome, letters=[*outcome.letters, letter])

    assert codes(changed(run, "least", given_up)) == {"NL"}


@pytest.mark.parametrize(("by", "code"), [((-1, 1, 0), "NL"), ((0, 1, 0), "MC")])
def test_offsets_are_looked_at_in_each_partition(by: tuple[int, ...], code: str) -> None:
    run = honest()
    last = run.progress[-1]
    moved = tuple(end + more for end, more in zip(last.ends, by, strict=True))
    wrong = replace(last, committed={**last.committed, "least": moved})

    assert code in codes(replace(run, progress=[*run.progress[:-1], wrong]))


def test_a_group_that_has_committed_nothing_in_the_end_is_a_loss() -> None:
    run = honest()
    last = run.progress[-1]
    alone = replace(last, committed={"exact": last.committed["exact"]})

    assert codes(replace(run, progress=[*run.progress[:-1], alone])) == {"NL"}


def test_a_result_under_another_key_or_number_than_its_message_is_told() -> None:
    run = honest()

    def renamed(outcome: Outcome, **change: object) -> Outcome:
        first, *others = outcome.results
        return replace(outcome, results=[replace(first, **change), *others])  # type: ignore[arg-type]

    assert codes(changed(run, "exact", lambda outcome: renamed(outcome, key="x"))) == {"KO"}
    assert codes(changed(run, "least", lambda outcome: renamed(outcome, number=-1))) == {"KO"}


def test_a_dead_letter_has_the_reason_of_its_message() -> None:
    run = honest()

    def blamed(outcome: Outcome) -> Outcome:
        letters = [replace(one, reason="undecodable") for one in outcome.letters]
        return replace(outcome, letters=letters)

    assert codes(changed(run, "least", blamed)) == {"NL"}


@pytest.mark.parametrize(("name", "found"), [("least", set[str]()), ("exact", {"NL"})])
def test_only_where_handlers_have_a_time_out_one_that_fails_may_be_late_instead(
    name: str, found: set[str]
) -> None:
    run = honest()

    def late(outcome: Outcome) -> Outcome:
        return replace(outcome, letters=[replace(one, reason="timeout") for one in outcome.letters])

    assert codes(changed(run, name, late)) == found


def test_a_message_that_has_to_fail_has_no_results() -> None:
    run = honest()
    failed = run.inputs[of_kind(run, "fails")].planned

    def made_up(outcome: Outcome) -> Outcome:
        last = outcome.results[-1]
        result = replace(last, id=failed.id, slot=0, key=failed.key, number=failed.number)
        return replace(outcome, results=[*outcome.results, result])

    assert "BD" in codes(changed(run, "least", made_up))
    assert "ND" in codes(changed(run, "exact", made_up))


def test_offsets_that_do_not_reach_the_end_are_a_loss() -> None:
    run = honest()
    last = run.progress[-1]
    short = {group: tuple(one - 1 for one in ends) for group, ends in last.committed.items()}

    assert codes(replace(run, progress=[*run.progress[:-1], replace(last, committed=short)])) == {
        "NL"
    }


def test_a_result_twice_is_a_duplicate_where_exactly_once_is_promised() -> None:
    run = honest()
    one = of_kind(run, "plain")

    assert codes(changed(run, "exact", lambda outcome: again(outcome, one, 3.5))) == {"ND"}


def test_a_dead_letter_twice_or_beside_results_is_a_duplicate_too() -> None:
    run = honest()
    failed, plain = of_kind(run, "fails"), of_kind(run, "plain")

    def twice(outcome: Outcome) -> Outcome:
        letter = next(one for one in outcome.letters if one.id == failed)
        return replace(outcome, letters=[*outcome.letters, letter])

    def both(outcome: Outcome) -> Outcome:
        return replace(outcome, letters=[*outcome.letters, Letter(plain, "timeout", BEGAN)])

    assert codes(changed(run, "exact", twice)) == {"ND"}
    assert "ND" in codes(changed(run, "exact", both))


def test_a_result_again_is_fine_with_at_least_once_only_while_a_fault_explains_it() -> None:
    run = honest()
    last = run.outcomes["least"].results[-1].id

    assert codes(changed(run, "least", lambda outcome: again(outcome, last, 35))) == set()
    assert codes(changed(run, "least", lambda outcome: again(outcome, last, 15))) == {"BD"}
    assert codes(changed(run, "least", lambda outcome: again(outcome, last, 0.001))) == {"BD"}


def test_more_results_again_than_can_have_been_uncommitted_are_too_many() -> None:
    run = replace(honest(), limits=Limits(uncommitted=10.0))
    results = run.outcomes["least"].results

    def all_again(outcome: Outcome) -> Outcome:
        late = [replace(one, at=BEGAN + 50) for one in results]  # by one fault
        return replace(outcome, results=[*results, *late])

    seconds = 1.2 * (10.0 + 10.0)  # those of the fault, which is of ten, and those beside it
    for most, found in ((len(results), set()), (len(results) - 1, {"BD"})):
        slower = replace(run, rate=(most + 0.5) / seconds)
        assert codes(changed(slower, "least", all_again)) == found


def test_what_came_again_without_what_was_behind_it_is_out_of_order_but_for_stragglers() -> None:
    run = honest()
    first = run.outcomes["least"].results[0]
    stragglers = [*run.phases[:1], replace(run.phases[1], leaves="stragglers")]
    again_alone = changed(run, "least", lambda outcome: again(outcome, first.id, 35))

    assert codes(again_alone) == {"KO"}
    assert codes(replace(again_alone, phases=stragglers)) == set()


@pytest.mark.parametrize("name", ["exact", "least"])
def test_a_result_after_that_of_a_later_message_of_its_key_is_out_of_order(name: str) -> None:
    run = honest()

    def swapped(outcome: Outcome) -> Outcome:
        results = [*outcome.results]
        key = results[0].key
        one, two = [number for number, result in enumerate(results) if result.key == key][:2]
        results[one], results[two] = results[two], results[one]
        return replace(outcome, results=results)

    assert codes(changed(run, name, swapped)) == {"KO"}


def copied(run: Run, one: int) -> Run:
    """A run in whose input a message is twice."""
    return replace(run, inputs={**run.inputs, one: replace(run.inputs[one], times=2)})


def test_a_message_that_is_twice_in_the_input_has_twice_its_results_whenever() -> None:
    run = honest()
    one = of_kind(run, "plain")
    run = copied(run, one)
    for name in run.outcomes:
        run = changed(run, name, lambda outcome: again(outcome, one, 25.0))

    assert judge(run) == []


@pytest.mark.parametrize("kind", ["plain", "fails"])
def test_what_is_twice_in_the_input_and_of_which_something_became_once_was_lost_once(
    kind: Kind,
) -> None:
    run = honest()

    found = judge(copied(run, of_kind(run, kind)))

    assert [finding.code for finding in found] == ["NL", "NL"]


def test_what_is_twice_in_the_input_has_its_results_three_times_only_at_least_once() -> None:
    run = honest()
    one = of_kind(run, "plain")
    run = copied(run, one)
    for name in run.outcomes:
        run = changed(run, name, lambda outcome: again(again(outcome, one, 25.0), one, 26.0))

    assert {finding.text.split(":")[0] for finding in judge(run)} == {"exact"}
    assert codes(run) == {"ND"}


def test_a_transaction_that_stays_open_is_told() -> None:
    run = honest()

    def left_open(outcome: Outcome) -> Outcome:
        return replace(outcome, open=["exact[0]"])

    assert codes(changed(run, "exact", left_open)) == {"TX"}


def test_results_of_what_was_never_in_the_input_are_told() -> None:
    run = honest()
    invented = Result(-1, 0, "nobody's", 0, "a.0", 0, 0, BEGAN)

    def more(outcome: Outcome) -> Outcome:
        return replace(outcome, results=[*outcome.results, invented])

    assert codes(changed(run, "exact", more)) == {"TX"}


def test_a_committed_offset_that_falls_is_told() -> None:
    run = honest()
    first, last = run.progress
    middle = replace(last, committed={**last.committed, "exact": (1, 1, 1)})

    assert codes(replace(run, progress=[first, last, middle, last])) == {"MC"}


def test_offsets_of_a_topic_that_was_made_anew_begin_again() -> None:
    run = honest()
    first, last = run.progress
    anew = [replace(one, generation=1) for one in (first, last)]

    assert codes(replace(run, progress=[first, last, *anew])) == set()
    assert codes(replace(run, progress=[first, *anew, replace(first, generation=1)])) >= {"MC"}


@pytest.mark.parametrize(
    ("samples", "what"),
    [
        ([sample(0, rss=600 * MIB)], "600 MiB"),
        ([sample(one, rss=100 * MIB + one * 1_000) for one in range(200)], "MiB an hour"),
        ([sample(one, files=60 + 30 * (one > 150)) for one in range(200)], "90 files"),
        ([sample(one, files=60 + 300 * (one > 70)) for one in range(200)], "360 files"),
        ([sample(one, threads=30 + one // 10) for one in range(200)], "48 threads"),
        ([sample(one, threads=30 + 10 * (one > 150)) for one in range(200)], "40 threads"),
    ],
)
def test_a_worker_that_outgrows_its_limits_is_told(samples: list[Sample], what: str) -> None:
    (finding,) = judge(replace(honest(), samples=samples))

    assert finding.code == "BM"
    assert what in finding.text


@pytest.mark.parametrize(
    ("threads", "healed", "found"),
    [(44, 145.0, set()), (44, 135.0, {"BM"}), (60, 145.0, {"BM"})],
)
def test_a_client_that_hangs_may_be_left_for_a_minute_after_its_fault_and_no_other(
    threads: int, healed: float, found: set[str]
) -> None:
    run = honest()
    late = replace(run.phases[1], began=BEGAN + 120, healed=BEGAN + healed)
    samples = [sample(one, threads=threads if one > 150 else 30) for one in range(200)]

    assert codes(replace(run, phases=[*run.phases, late], samples=samples)) == found


def test_a_worker_that_was_looked_at_for_a_short_time_only_has_no_slope() -> None:
    run = honest()
    grows = replace(run, samples=[sample(one, rss=100 * MIB + one * 1_000) for one in range(200)])

    assert codes(replace(grows, limits=replace(run.limits, lasts=600.0))) == set()


@pytest.mark.parametrize(("creeps", "found"), [(0.0, set()), (0.01, {"BM"})])
def test_a_worker_whose_memory_goes_up_and_down_is_told_only_if_it_creeps(
    creeps: float, found: set[str]
) -> None:
    chance = Random(3)
    sizes = [100 + chance.choice((0, 5)) + creeps * second for second in range(1_200)]
    samples = [sample(one, rss=int(size * MIB)) for one, size in enumerate(sizes)]

    assert codes(replace(honest(), samples=samples)) == found


def test_a_worker_that_is_large_only_at_first_is_fine() -> None:
    samples = [sample(one, rss=(50 + min(one, 50)) * MIB) for one in range(400)]

    assert judge(replace(honest(), samples=samples)) == []


@pytest.mark.parametrize("progressed", [None, BEGAN])
def test_a_fault_after_which_not_all_gets_on_is_told(progressed: float | None) -> None:
    run = honest()
    stuck = replace(run.phases[0], progressed=progressed, recovered=None)

    assert codes(replace(run, phases=[stuck])) == {"RT"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"stuck": ["two-of-three-brokers: the replicas are not in sync"]}, "RT"),
        ({"broken": ["kill-leader: BrokerFailed('node 0 did not answer')"]}, "NV"),
        ({"is_read": False, "inputs": {}, "progress": []}, "NV"),
    ],
)
def test_what_stops_a_run_or_hides_what_it_has_left_is_told_and_nothing_made_up(
    change: dict[str, object], code: str
) -> None:
    assert codes(replace(honest(), **change)) == {code}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"exits": [Exit("a.0", 4, 0)]},
        {"exits": [Exit("a.0", None, 0)]},
        {"exits": [Exit("a.0", 1, None)]},
        {"unexpected": ["a.0: Traceback"]},
        {"exits": [Exit("a.0", 0, None)]},
        {"exits": [Exit("a.0", None, None)]},
        {"samples": [sample(0, live=503)]},
        {"samples": [sample(one, reasons=("not_joined",)) for one in range(30)]},
        {"samples": [sample(one, live=0, reasons=None) for one in range(30)]},
    ],
)
def test_an_exit_a_line_or_a_health_that_nobody_expects_is_told(change: dict[str, object]) -> None:
    assert codes(replace(honest(), **change)) == {"EX"}  # type: ignore[arg-type]


def test_a_fault_that_was_not_felt_makes_the_run_invalid() -> None:
    run = honest()

    assert codes(replace(run, phases=[replace(run.phases[0], felt=None)])) == {"NV"}


def test_a_run_with_few_messages_or_none_of_a_kind_is_invalid() -> None:
    run = honest()
    many = replace(run, limits=replace(run.limits, messages=MESSAGES + 1))
    (hangs,) = {"hangs"} & set(KINDS)
    left = {one: two for one, two in run.inputs.items() if two.planned.kind != hangs}
    outcomes: dict[str, Outcome] = {
        "exact": outcome("exactly_once", left),
        "least": outcome("at_least_once", left),
    }
    fates = dict.fromkeys(left, Fate.STORED) | {-1: Fate.ABORTED}

    assert codes(many) == {"NV"}
    assert codes(replace(run, inputs=left, outcomes=outcomes, fates=fates)) == {"NV"}


@pytest.mark.parametrize(
    "change",
    [
        {"phases": []},
        {"exits": []},
        {"wanted": 2 * MESSAGES + 2},
        {"fates": {}},
        {"fates": dict.fromkeys(range(MESSAGES), Fate.DOUBTFUL)},
    ],
)
def test_a_run_without_faults_workers_messages_or_a_ledger_is_invalid(
    change: dict[str, object],
) -> None:
    assert codes(replace(honest(), **change)) == {"NV"}  # type: ignore[arg-type]


def test_a_run_in_which_no_message_was_aborted_is_invalid() -> None:
    run = honest()
    fates = {one: fate for one, fate in run.fates.items() if fate is not Fate.ABORTED}

    assert codes(replace(run, fates=fates)) == {"NV"}


def test_a_run_that_lacks_what_a_pipeline_has_left_is_invalid() -> None:
    run = honest()

    assert codes(replace(run, outcomes={"exact": run.outcomes["exact"]})) == {"NV"}


@pytest.mark.parametrize(("fate", "one"), [(Fate.STORED, -5), (Fate.ABORTED, 0)])
def test_a_cluster_that_loses_or_shows_what_it_should_not_makes_the_run_invalid(
    fate: Fate, one: int
) -> None:
    run = honest()

    assert codes(replace(run, fates={**run.fates, one: fate})) == {"NV"}


def test_a_run_that_nobody_has_watched_is_invalid() -> None:
    assert codes(replace(honest(), samples=[], progress=[])) == {"NV"}


def test_the_verdict_tells_of_findings_and_how_to_have_the_run_again() -> None:
    run = honest()
    bad = replace(run, exits=[Exit("a.0", 4, 0)])

    told = verdict(bad, judge(bad), "python -m tests.faults --seed 1")

    assert not told["holds"]
    assert told["again"] == "python -m tests.faults --seed 1"
    assert [one["code"] for one in told["findings"]] == ["EX"]
    assert verdict(run, [], "")["holds"]


def test_a_run_that_has_left_nothing_has_a_verdict_and_a_time_line_too(tmp_path: Path) -> None:
    nothing = Run({}, {}, {}, [], [], [], [], stuck=["start: not all workers are ready"])

    write(nothing, verdict(nothing, judge(nothing), ""), tmp_path)

    told = json.loads((tmp_path / "verdict.json").read_text())
    assert "RT" in {one["code"] for one in told["findings"]}
    assert (tmp_path / "timeline.svg").read_text().endswith("</svg>")


def test_what_came_again_is_written_down_with_where_its_message_is_and_who_made_it(
    tmp_path: Path,
) -> None:
    run = honest()
    least = run.outcomes["least"]
    first = least.results[0]
    second = replace(first, by="b.0", at=first.at + 9.0)
    doubled = replace(least, results=[*least.results, second])

    write(replace(run, outcomes={"least": doubled}), {}, tmp_path)

    (line,) = (tmp_path / "again.jsonl").read_text().splitlines()
    stored = run.inputs[first.id]
    assert json.loads(line) == {
        "pipeline": "least",
        "message": first.id,
        "slot": first.slot,
        "kind": stored.planned.kind,
        "partition": stored.partition,
        "offset": stored.offset,
        "first": {"by": first.by, "at": first.at},
        "second": {"by": "b.0", "at": second.at},
    }


def test_the_time_line_shows_each_fault_and_each_worker() -> None:
    text = "\n".join(drawing(honest()))

    assert text.startswith("<svg")
    assert all(name in text for name in ("stop-worker", "kill-worker", "a.0", "b.0"))
