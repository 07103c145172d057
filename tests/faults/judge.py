"""What must hold of every run, as pure functions: each names what it finds by a code.

The codes: no loss (NL), no duplicates (ND), bounded and explained duplicates (BD), order by key
(KO), all or none of a transaction (TX), monotone commits (MC), bounded memory (BM), recovery (RT),
exit codes, health and logs (EX); and that a run says something at all (NV).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, linear_regression, median
from typing import Final, get_args

from tests.faults.ledger import Fate
from tests.faults.plan import KINDS, Planned
from tests.faults.run import Leaves, Letter, Limits, Outcome, Phase, Promise, Result, Run
from tests.faults.watch import Progress, Sample

SHOWN: Final = 5
"""Places that a finding shows."""
ANY: Final[Sequence[Leaves]] = ("repeats", "stragglers")
MINUTE: Final = 60.0
HOUR: Final = 3_600.0
EARLY: Final = 0.25
"""Part of a worker's life in which it still grows to its size."""
AFTERMATH: Final = 15.0
"""Seconds after its recovery within which a fault may still make a member lose its session."""
ENOUGH: Final = 20
"""Samples of a worker that count as its end; with fewer than twice as many it is not judged."""
RESULTS: Final = 1.2
"""Results that messages have on average, and some more."""
REASONS: Final[Mapping[str, Sequence[str]]] = {
    "fails": ("handler_error", "crash"),
    "hangs": ("timeout", "crash"),
}
"""Why messages may be given up: for what they are, or as owners have ended at them."""
LATE: Final[Mapping[Promise, str]] = {"at_least_once": "timeout"}
"""Why besides, in the pipeline whose handlers have a time-out: where a worker stands still for
longer, that ends them as it goes on, whatever they were about to do."""


@dataclass(frozen=True)
class Finding:
    """Something that does not hold."""

    code: str
    text: str


def judge(run: Run) -> list[Finding]:
    """Say everything that does not hold of a run; of what was not read back nothing is said."""
    checks = CHECKS if run.is_read else UNREAD
    return [Finding(code, text) for check in checks for code, text in check(run)]


Found = Iterator[tuple[str, str]]


def _accounts(run: Run) -> Found:
    """Every message has all its results once, or its dead letter once, as it is promised."""
    for name, outcome in run.outcomes.items():
        slots = _slots(outcome.results)
        letters = Counter(letter.id for letter in outcome.letters)
        missing: list[int] = []
        torn: list[int] = []
        given_up: list[int] = []
        both: list[int] = []
        seldom: list[int] = []
        for one, stored in run.inputs.items():
            wanted = expected(outcome.promise, stored.planned)
            has = slots.get(one, Counter())
            if wanted is None and not letters[one]:
                missing.append(one)
            elif wanted is not None and letters[one]:
                given_up.append(one)
            elif wanted is not None and has.keys() != wanted:
                (torn if has else missing).append(one)
            elif wanted != set() and letters[one] + min(has.values(), default=0) < stored.times:
                seldom.append(one)
            if has and (letters[one] or wanted is None):
                both.append(one)
        yield from _told("NL", name, "nothing became of", missing)
        yield from _told("NL", name, "more often in the input than what became of it:", seldom)
        kinds = sorted({run.inputs[one].planned.kind for one in given_up})
        what = f"given up, though it can be handled ({', '.join(kinds)})"
        yield from _told("NL", name, what, given_up)
        is_exact = outcome.promise == "exactly_once"
        yield from _told("TX" if is_exact else "NL", name, "only a part of the results of", torn)
        what = "both results and a dead letter, or the end of one, of"
        yield from _told("ND" if is_exact else "BD", name, what, _both(outcome, run, both))
        odd = [
            f"{one.id} ({one.reason})"
            for one in outcome.letters
            if not _is_reason(one, outcome.promise, run)
        ]
        yield from _told("NL", name, "a dead letter for a reason that is not its own, of", odd)
        renamed = [one.id for one in outcome.results if not _is_of_its_message(one, run)]
        yield from _told("KO", name, "a result of another key or number than that of", renamed)
        invented = (slots.keys() | letters.keys()) - run.inputs.keys()
        yield from _told("TX", name, "results of what is not in the input", sorted(invented))


def _both(outcome: Outcome, run: Run, both: Sequence[int]) -> Sequence[int]:
    """At least once a message may have results and, when it came again, a dead letter."""
    if outcome.promise == "exactly_once":
        return both
    return [one for one in both if expected(outcome.promise, run.inputs[one].planned) is None]


def _is_reason(letter: Letter, promise: Promise, run: Run) -> bool:
    """Whether a dead letter says why its message was given up, as far as that one is known."""
    stored = run.inputs.get(letter.id)
    if stored is None or stored.planned.kind not in REASONS:
        return True
    return letter.reason in (*REASONS[stored.planned.kind], LATE.get(promise))


def _is_of_its_message(result: Result, run: Run) -> bool:
    stored = run.inputs.get(result.id)
    named = result.key, result.number
    return stored is None or named == (stored.planned.key, stored.planned.number)


def _duplicates(run: Run) -> Found:
    """Nothing comes twice where that is promised, and elsewhere only because of a fault."""
    for name, outcome in run.outcomes.items():
        if outcome.promise == "exactly_once":
            results = Counter((one.id, one.slot) for one in outcome.results)
            twice = [one for (one, _), times in results.items() if times > _times(run, one)]
            yield from _told("ND", name, "a result too often of", twice)
            letters = Counter(letter.id for letter in outcome.letters)
            twice = [one for one, times in letters.items() if times > _times(run, one)]
            yield from _told("ND", name, "a dead letter too often of", twice)
            continue
        doubles = [pair for pair in again(outcome.results) if _times(run, pair[1].id) == 1]
        strange = [two.id for one, two in doubles if not _is_explained(run, one.at, two.at)]
        yield from _told("BD", name, "a result again without a reason of", strange)
        strange = [
            one
            for one, at in _letter_times(outcome.letters).items()
            if _times(run, one) == 1 and not _is_explained(run, at[0], at[-1])
        ]
        yield from _told("BD", name, "a dead letter again without a reason of", strange)
        for phase, number in _by_fault(run, doubles).items():
            most, when = _most_again(run, phase), f"{phase.scenario} at {phase.began:.0f}"
            if number > most:
                yield "BD", f"{name}: {number} came again after {when}, and at most {most} may"


def _times(run: Run, one: int) -> int:
    """How often a message is in the input, and is to be handled."""
    stored = run.inputs.get(one)
    return 1 if stored is None else stored.times


def _by_fault(run: Run, doubles: Sequence[tuple[Result, Result]]) -> Counter[Phase]:
    """How many results came again, by the last fault before them that may leave such."""
    found = Counter[Phase]()
    for _, two in doubles:
        before = [one for one in run.phases if one.leaves in ANY and one.began <= two.at]
        if before:
            found[max(before, key=lambda one: one.began)] += 1
    return found


def _most_again(run: Run, phase: Phase) -> int:
    """How many results a fault may have come again: those that were not committed, at the rate."""
    return int(run.rate * RESULTS * (phase.healed - phase.began + run.limits.uncommitted))


def _order(run: Run) -> Found:
    """The results of a key come in the order of its messages.

    With exactly once always. With at least once a fault may have some come again: then what counts
    of each message, its last results, are in order, as far as no straggler comes behind them.
    Of messages that are in the input again the first results count, as they came first there, too.
    """
    for name, outcome in run.outcomes.items():
        if outcome.promise == "exactly_once":
            wrong = [two.id for _, two in _misplaced(outcome.results)]
        else:
            once = [one for one in outcome.results if _times(run, one.id) == 1]
            looked_at: list[tuple[Iterable[Result], Sequence[Leaves]]] = [
                (outcome.results, ANY),
                (reversed(_last(once)), ("stragglers",)),
            ]
            wrong = [
                two.id
                for results, excuses in looked_at
                for one, two in _misplaced(results)
                if not _is_explained(run, one.at, two.at, excuses)
            ]
        yield from _told("KO", name, "a result after those of later messages of its key:", wrong)


def _transactions(run: Run) -> Found:
    """No transaction stays open."""
    for name, outcome in run.outcomes.items():
        if outcome.open:
            yield "TX", f"{name}: a transaction is open in {', '.join(outcome.open)}"


def _commits(run: Run) -> Found:
    """What is committed never falls, and reaches the end."""
    for before, after in pairwise(run.progress):
        if before.generation == after.generation:
            yield from _falls(before, after)
    if not run.progress:
        yield "NV", "nobody has seen what the groups commit"
        return
    last = run.progress[-1]
    for group in run.progress[0].committed:
        for partition, end in enumerate(last.ends):
            offset = dict(enumerate(last.committed.get(group, ()))).get(partition, 0)
            if offset < end:
                yield "NL", f"{group}: {end - offset} of partition {partition} are not committed"
            elif offset > end:
                yield "MC", f"{group}: {offset} is committed of partition {partition}, beyond {end}"


def _falls(before: Progress, after: Progress) -> Found:
    for group, offsets in after.committed.items():
        pairs = zip(before.committed[group], offsets, strict=False)
        for partition, (one, two) in enumerate(pairs):
            if two < one:
                yield "MC", f"{group}: partition {partition} fell from {one} to {two}"


def _memory(run: Run) -> Found:
    """No worker outgrows its limits, nor creeps."""
    for name, samples in _by_worker(run.samples).items():
        late = [one for one in run.phases if _lingers(one, samples, run.limits)]
        yield from _sizes(name, samples, run.limits, len(late))
    if not run.samples:
        yield "NV", "nobody has seen the workers"


def _by_worker(samples: Iterable[Sample]) -> Mapping[str, Sequence[Sample]]:
    found = defaultdict[str, list[Sample]](list)
    for one in samples:
        found[one.name].append(one)
    return found


def _lingers(phase: Phase, samples: Sequence[Sample], limits: Limits) -> bool:
    """Whether a fault of a worker's life was so late that a client of its may still hang of it."""
    began, ended = samples[0].at, samples[-1].at
    return began < phase.healed and phase.began < ended < phase.healed + limits.lingers


def _sizes(name: str, samples: Sequence[Sample], limits: Limits, hanging: int) -> Found:
    """`hanging` is how many clients may be left behind in the end, one for each such fault."""
    most = max(sample.rss for sample in samples)
    if most > limits.rss:
        yield "BM", f"{name} took {most >> 20} MiB, more than {limits.rss >> 20}"
    late = [*late_samples(samples)]
    if len(late) < 2 * ENOUGH:
        return
    early = samples[len(samples) // 10 : len(samples) // 2]
    files = limits.files + hanging * limits.client_files
    threads = limits.threads + hanging * limits.client_threads
    for what, limit in (("files", files), ("threads", threads)):
        usual = median(getattr(one, what) for one in early)
        now = min(getattr(one, what) for one in late[-ENOUGH:])
        if now > usual + limit:
            yield (
                "BM",
                f"{name} has {now} {what} or more in the end, and {usual:g} in its first half",
            )
    lasts = late[-1].at - late[0].at >= limits.lasts
    if limits.slope is not None and lasts and (found := slope(late)):
        grows, error = found
        if grows - 2 * error > limits.slope:
            yield "BM", f"{name} grows by {_mib(grows)} MiB an hour, +-{_mib(2 * error)}"


def late_samples(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Those after the first quarter of a worker's life."""
    began, ended = samples[0].at, samples[-1].at
    return (one for one in samples if one.at >= began + EARLY * (ended - began))


def slope(samples: Sequence[Sample]) -> tuple[float, float] | None:
    """By how many bytes a worker grows in an hour, by the method of least squares; and its error.

    None where there are too few samples.

    What is looked at are means of minutes, as memory goes up and down with each fault. The error is
    the standard one: the slope is within twice as much for 19 of 20 workers that do not grow.
    """
    minutes = defaultdict[float, list[int]](list)
    for one in samples:
        minutes[one.at // MINUTE * MINUTE].append(one.rss)
    if len(minutes) <= 2:
        return None
    at, rss = [*minutes], [*map(fmean, minutes.values())]
    line, middle = linear_regression(at, rss), fmean(at)
    off = sum(
        (size - line.slope * one - line.intercept) ** 2 for one, size in zip(at, rss, strict=True)
    )
    spread = sum((one - middle) ** 2 for one in at)
    error = sqrt(off / (len(at) - 2) / spread)
    return line.slope * HOUR, error * HOUR


def _mib(size: float) -> str:
    return f"{size / (1 << 20):.1f}"


def _recovery(run: Run) -> Found:
    """After each fault everything gets on again."""
    for phase in run.phases:
        if phase.progressed is None:
            yield "RT", f"{phase.scenario}: nothing was committed after it was healed"
        elif phase.recovered is None:
            yield "RT", f"{phase.scenario}: not all was through that was there as it was healed"


def _course(run: Run) -> Found:
    """Nothing stopped the run, nor hid what it has left."""
    yield from (("RT", text) for text in run.stuck)
    yield from (("NV", text) for text in run.broken)
    if not run.is_read:
        yield "NV", "not everything could be read back"


def _ends(run: Run) -> Found:
    """Workers end as they are told, are live all the time, and log nothing that nobody expects."""
    for one in run.exits:
        if one.code is None:
            yield "EX", f"{one.name} has not ended"
        elif one.expected is None:
            yield "EX", f"{one.name} ended by itself, with {one.code}"
        elif one.code != one.expected:
            yield "EX", f"{one.name} ended with {one.code}, not {one.expected}"
    by_worker = _by_worker(run.samples)
    for name, samples in by_worker.items():
        if any(one.live not in (0, 200) for one in samples):
            yield "EX", f"{name} said that it is not live"
        elif len(samples) >= ENOUGH and not any(one.reasons == () for one in samples):
            yield "EX", f"{name} never said that it is ready"
    for line in run.unexpected[:SHOWN]:
        yield "EX", f"one of {len(run.unexpected)} unexpected lines: {line}"


def _validity(run: Run) -> Found:
    """The faults were there, messages of every kind and fate, and the cluster kept what it took."""
    for phase in run.phases:
        if phase.felt is None:
            yield "NV", f"{phase.scenario}: the fault was not felt"
    least = max(run.limits.messages, int(run.limits.share * run.wanted))
    if len(run.inputs) < least:
        yield "NV", f"only {len(run.inputs)} messages, fewer than {least}"
    if not run.phases or not run.exits:
        yield "NV", "there was no fault, or no worker"
    if {one.promise for one in run.outcomes.values()} != set(get_args(Promise)):
        yield "NV", "not both promises were looked at"
    known = sum(run.fates.get(one) is Fate.STORED for one in run.inputs)
    if known < run.limits.share * len(run.inputs):
        yield "NV", f"only of {known} messages it is known that they were written"
    if Fate.ABORTED not in run.fates.values():
        yield "NV", "no message of the input was aborted"
    for kind in sorted(set(KINDS) - {stored.planned.kind for stored in run.inputs.values()}):
        yield "NV", f"there was no message that is {kind}"
    lost = [one for one, fate in run.fates.items() if fate is Fate.STORED and one not in run.inputs]
    yield from _told("NV", "input", "the cluster has lost", lost)
    seen = [one for one, fate in run.fates.items() if fate is Fate.ABORTED and one in run.inputs]
    yield from _told("NV", "input", "the cluster shows, though aborted,", seen)


UNREAD: Final[Sequence[Callable[[Run], Found]]] = (_course, _memory, _recovery, _ends)
CHECKS: Final[Sequence[Callable[[Run], Found]]] = (
    *UNREAD,
    _accounts,
    _duplicates,
    _order,
    _transactions,
    _commits,
    _validity,
)


def expected(promise: Promise, planned: Planned) -> set[int] | None:
    """The slots of the results of a message; None when it is to become a dead letter."""
    never = planned.kind == "hangs" and promise == "at_least_once"
    return None if never or planned.kind == "fails" else {*range(planned.results)}


def _slots(results: Iterable[Result]) -> Mapping[int, Counter[int]]:
    found = defaultdict[int, Counter[int]](Counter)
    for one in results:
        found[one.id][one.slot] += 1
    return dict(found)


def again(results: Iterable[Result]) -> Iterator[tuple[Result, Result]]:
    """Results that came before, with how they came the time before."""
    seen: dict[tuple[int, int], Result] = {}
    for one in results:
        before = seen.get((one.id, one.slot))
        if before is not None:
            yield before, one
        seen[one.id, one.slot] = one


def _letter_times(letters: Iterable[Letter]) -> Mapping[int, Sequence[float]]:
    """When dead letters came that came more than once."""
    times = defaultdict[int, list[float]](list)
    for one in letters:
        times[one.id].append(one.at)
    return {one: sorted(at) for one, at in times.items() if len(at) > 1}


def _misplaced(results: Iterable[Result]) -> Iterator[tuple[Result, Result]]:
    """Results that come at first behind later ones of their key, with the last of these."""
    seen: set[tuple[int, int]] = set()
    latest: dict[str, Result] = {}
    for one in results:
        if (one.id, one.slot) in seen:
            continue
        seen.add((one.id, one.slot))
        before = latest.get(one.key, one)
        if (one.number, one.slot) < (before.number, before.slot):
            yield before, one
        else:
            latest[one.key] = one


def _last(results: Sequence[Result]) -> list[Result]:
    """What came last of each result, the last of all first."""
    found: dict[tuple[int, int], Result] = {}
    for one in reversed(results):
        found.setdefault((one.id, one.slot), one)
    return [*found.values()]


def _is_explained(run: Run, first: float, second: float, excuses: Sequence[Leaves] = ANY) -> bool:
    """Whether there was a fault between two results that may leave such behind.

    What it sets off may come later than all is through: a session that ends, a rebalance.
    """
    return any(
        phase.leaves in excuses
        and phase.began <= second
        and first <= (phase.recovered or second) + AFTERMATH
        for phase in run.phases
    )


def _told(code: str, name: str, what: str, ids: Sequence[int | str]) -> Found:
    if ids:
        shown = ", ".join(str(one) for one in ids[:SHOWN])
        yield (
            code,
            f"{name}: {what} {shown}" + (f" and {len(ids)} in all" if len(ids) > SHOWN else ""),
        )
