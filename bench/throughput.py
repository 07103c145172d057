"""Messages per second, processor time and memory, by the end offsets of the output topic."""

from __future__ import annotations

from statistics import median

from bench.cluster import Ends, create, load, unique
from bench.systems import SYSTEMS

WARM = 0.2
"""Share of the records that counts as start-up."""


def measure(brokers: str, records: int, repeats: int) -> str:
    """Run every system `repeats` times in turn; a markdown table of medians and ratios."""
    source = unique("source")
    create(brokers, source, f"{source}.dlq")
    load(brokers, source, records)
    rates: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    cpus: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    peaks: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for repeat in range(repeats):
        for name, start in SYSTEMS.items():
            group = unique(f"{name}-{repeat}")
            create(brokers, group)
            ends = Ends(brokers, group)
            with start(brokers, group, source, group) as process:
                warm = ends.reach(int(records * WARM), 120, process.alive)
                warm_count = ends.count()
                done = ends.reach(records, 300, process.alive)
                usage = process.stop()
            rates[name].append((records - warm_count) / (done - warm))
            cpus[name].append(usage.cpu / records * 1e6)
            peaks[name].append(usage.rss)
            print(f"{name}: {rates[name][-1]:,.0f}/s, {cpus[name][-1]:.2f} us, {usage.rss:.0f} MiB")
    return table(rates, cpus, peaks)


def table(
    rates: dict[str, list[float]], cpus: dict[str, list[float]], peaks: dict[str, list[float]]
) -> str:
    """The figures as markdown; ratios are taken pair by pair within a repeat."""
    lines = [
        "| system | messages/s, median (range) | to the bare loop | CPU us/message | peak MiB |",
        "|--|--|--|--|--|",
    ]
    for name, measured in rates.items():
        ratios = [own / bare for own, bare in zip(measured, rates["bare loop"], strict=True)]
        lines.append(
            f"| {name} | {median(measured):,.0f} ({min(measured):,.0f} - {max(measured):,.0f}) "
            f"| {median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f}) "
            f"| {median(cpus[name]):.2f} | {max(peaks[name]):.0f} |"
        )
    return "\n".join(lines)
