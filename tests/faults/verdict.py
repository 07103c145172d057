"""What is told of a run: a verdict as JSON, and a time line as SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson

from tests.faults.judge import Finding, again, late_samples, slope
from tests.faults.run import Phase, Run
from tests.faults.watch import Sample

WIDTH, LEFT, ROW, PLOT = 1200.0, 190.0, 22.0, 90.0
COLOURS: Final = {"ready": "#3a9", "not ready": "#e90", "silent": "#bbb", "not live": "#c33"}
MIB: Final = 1 << 20


def verdict(run: Run, findings: Sequence[Finding], line: str) -> dict[str, Any]:
    """Everything that counts of a run, as JSON has it."""
    kinds = Counter(stored.planned.kind for stored in run.inputs.values())
    return {
        "holds": not findings,
        "again": line,
        "findings": [asdict(one) for one in findings],
        "messages": len(run.inputs),
        "kinds": dict(sorted(kinds.items())),
        "there again": sum(stored.times - 1 for stored in run.inputs.values()),
        "written": dict(Counter(fate.value for fate in run.fates.values())),
        "outcomes": {
            name: {
                "promise": one.promise,
                "results": len(one.results),
                "again": len(one.results) - len({(two.id, two.slot) for two in one.results}),
                "dead letters": dict(Counter(letter.reason for letter in one.letters)),
            }
            for name, one in run.outcomes.items()
        },
        "phases": [_phase(one) for one in run.phases],
        "workers": [*_workers(run)],
    }


def write(run: Run, told: dict[str, Any], folder: Path) -> None:
    """Write the verdict and the time line into a folder."""
    (folder / "verdict.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    _lines(folder / "samples.jsonl", map(asdict, run.samples))
    _lines(folder / "progress.jsonl", map(asdict, run.progress))
    _lines(folder / "again.jsonl", _doubles(run))
    (folder / "timeline.svg").write_text("\n".join(drawing(run)))


def _lines(file: Path, records: Iterable[dict[str, Any]]) -> None:
    with file.open("wb") as lines:
        lines.writelines(orjson.dumps(one) + b"\n" for one in records)


def _doubles(run: Run) -> Iterator[dict[str, Any]]:
    """Results that came again, with where their messages are, and who made them when."""
    for name, outcome in run.outcomes.items():
        for first, second in again(outcome.results):
            stored = run.inputs.get(second.id)
            yield {
                "pipeline": name,
                "message": second.id,
                "slot": second.slot,
                "kind": stored and stored.planned.kind,
                "partition": stored and stored.partition,
                "offset": stored and stored.offset,
                "first": {"by": first.by, "at": first.at},
                "second": {"by": second.by, "at": second.at},
            }


def _phase(one: Phase) -> dict[str, Any]:
    return {
        "scenario": one.scenario,
        "began": one.began,
        "felt": one.felt,
        "seconds": round(one.healed - one.began, 1),
        "progress after": None if one.progressed is None else round(one.progressed - one.healed, 1),
        "through after": None if one.recovered is None else round(one.recovered - one.healed, 1),
        "bound": one.bound,
    }


def _workers(run: Run) -> Iterator[dict[str, Any]]:
    for one in run.exits:
        samples = [sample for sample in run.samples if sample.name == one.name]
        known: dict[str, Any] = {"name": one.name, "exit code": one.code}
        if len(samples) > 1:
            late = [*late_samples(samples)]
            known |= {
                "MiB at most": round(max(sample.rss for sample in samples) / MIB, 1),
                "files": _range(sample.files for sample in late),
                "threads": _range(sample.threads for sample in late),
            }
            if found := slope(late):
                grows, error = found
                known["MiB an hour"] = [round(grows / MIB, 2), round(2 * error / MIB, 2)]
        yield known


def _range(values: Iterator[int]) -> list[int]:
    found = [*values]
    return [min(found), max(found)]


def drawing(run: Run) -> Iterator[str]:
    """Draw a run: faults, the health of each worker, and the lag, over time."""
    names = [one.name for one in run.exits]
    seen = [*(one.at for one in run.progress), *(one.at for one in run.samples)] or [0.0]
    began, ended = min(seen), max(min(seen) + 1.0, *seen)
    height = ROW * (len(names) + 3) + PLOT

    def x(at: float) -> float:
        return LEFT + (at - began) / (ended - began) * (WIDTH - LEFT - 10)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" '
        f'font-family="sans-serif" font-size="11">'
    )
    yield f'<rect width="{WIDTH:g}" height="{height:g}" fill="#fff"/>'
    for number, phase in enumerate(run.phases):
        until = phase.recovered or ended
        yield _bar(x(phase.began), x(phase.healed), 0, height - ROW, "#fdd")
        yield _bar(x(phase.healed), x(until), 0, height - ROW, "#ffd")
        yield _text(x(phase.began), 10 + 10 * (number % 3), phase.scenario)
    for number, name in enumerate(names):
        top = ROW * (number + 2)
        yield _text(4, top + 13, name)
        samples = [one for one in run.samples if one.name == name]
        for one in samples:
            at = x(one.at)
            yield _bar(at, at + 2, top + 3, ROW - 6, COLOURS[_state(one)])
    yield from _lag(run, x, height)
    yield "</svg>"


def _lag(run: Run, x: Callable[[float], float], height: float) -> Iterator[str]:
    most = max([1, *(one.lag for one in run.progress)])
    bottom = height - ROW
    points = " ".join(
        f"{x(one.at):.1f},{bottom - one.lag / most * (PLOT - 20):.1f}" for one in run.progress
    )
    yield f'<polyline points="{points}" fill="none" stroke="#36c" stroke-width="1.2"/>'
    yield _text(4, bottom - PLOT + 30, f"lag, at most {most}")
    legend = "   ".join(COLOURS)
    yield _text(4, height - 6, f"red: a fault; yellow: until all is through; {legend}")


def _state(one: Sample) -> str:
    if one.live == 0 or one.reasons is None:
        return "silent"
    if one.live != 200:
        return "not live"
    return "not ready" if one.reasons else "ready"


def _bar(left: float, right: float, top: float, height: float, colour: str) -> str:
    width = max(0.5, right - left)
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
