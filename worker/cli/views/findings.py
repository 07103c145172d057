"""What `worker doctor` has found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from worker.flow.doctor.facts import Facts, Working
from worker.flow.doctor.finding import Finding
from worker.observe.text import escaped
from worker.operate.diagnosis import Diagnosis, Examined


def has_problems(found: Diagnosis) -> bool:
    """Whether anything stands in the way now."""
    every = [*found.findings, *(one for each in found.pipelines for one in each.findings)]
    return bool(found.problems) or any(one.severity == "problem" for one in every)


def show(found: Diagnosis) -> None:
    """Print what was found, and on standard error what could not be looked at."""
    click.echo(", ".join(f"{name} {version}" for name, version in found.versions.items()))
    for problem in found.problems:
        click.echo(escaped(f"problem: {problem}"))
    _show(_lines(found.findings, ""))
    for examined in found.pipelines:
        click.echo()
        click.echo(escaped(f"{examined.facts.name}: {headline(examined.facts)}"))
        _show(_time(examined.facts.working))
        _show(_lines(examined.findings, "  "))
    if found.silent is not None:
        text = f"{found.silent}; so only the cluster was looked at"
        click.echo(escaped(text), err=True)
    for name, why in found.unread.items():
        click.echo(escaped(f"{name}: {why}"), err=True)


def headline(facts: Facts) -> str:
    """How it is with the lag of a pipeline, in words."""
    if not facts.sources:
        return "nothing is known of its topics"
    coming, going = f"{facts.arriving:,.1f}/s come", f"{facts.finishing:,.1f}/s are finished"
    if not facts.lag:
        return f"no lag; {coming}, {going}"
    gain = facts.finishing - facts.arriving
    trend = f"none is left in {facts.lag / gain:,.0f} s" if gain > 0 else "it does not get less"
    return f"a lag of {facts.lag:,}; {coming}, {going}: {trend}"


def value_of(found: Diagnosis) -> dict[str, Any]:
    """The same for programs."""
    return {
        "name": found.name,
        "versions": dict(found.versions),
        "worker": found.worker,
        "problems": [
            {"place": f"{one.file}:{one.line}:{one.column}", "text": one.text}
            for one in found.problems
        ],
        "findings": [one._asdict() for one in found.findings],
        "pipelines": {one.facts.name: _examined(one) for one in found.pipelines},
        "silent": found.silent,
        "unread": found.unread,
    }


def _examined(examined: Examined) -> dict[str, Any]:
    facts = examined.facts
    return {
        "group": facts.group,
        "lag": facts.lag,
        "arriving": round(facts.arriving, 2),
        "finishing": round(facts.finishing, 2),
        "members": facts.members,
        "partitions": len(facts.sources),
        "sampled": facts.sampled,
        "shares": {} if facts.working is None else dict(facts.working.shares),
        "findings": [one._asdict() for one in examined.findings],
    }


def _time(working: Working | None) -> Iterator[str]:
    """Where the time of its loop goes, the most first."""
    if working is not None and working.shares:
        shares = sorted(working.shares.items(), key=lambda item: -item[1])
        yield "  its time: " + ", ".join(f"{stage} {share:.0%}" for stage, share in shares)


def _lines(findings: Sequence[Finding], indent: str) -> Iterator[str]:
    for one in findings:
        yield f"{indent}{one.severity}: {one.what}"
        yield f"{indent}  evidence: {one.evidence}"
        yield f"{indent}  advice:   {one.advice}"


def _show(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(escaped(line))
