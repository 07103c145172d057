"""The bench: the worker beside the bare client and beside other systems, on one real broker.

Tables go to standard output and, with the raw figures and a plot, into files; progress goes to
standard error. A run replaces what it measured in the files and keeps the rest.
"""

import argparse
import datetime as dt
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from bench import (
    concurrency,
    exactly_once,
    growth,
    idle,
    lanes,
    latency,
    memory,
    plugin,
    pools,
    probes,
    processes,
    report,
    scrape,
    sending,
    simulation,
    spectests,
    throughput,
    waiting,
    watched,
)
from bench.machine import describe
from bench.process import PROC
from bench.registry import SYSTEMS, choose
from bench.section import Section
from bench.systems import System
from worker.errors import BrokerUnavailable
from worker.kafka.broker import running_broker

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LATEST = "latest"

Mode = Callable[[str, argparse.Namespace], list[Section]]

MODES: dict[str, Mode] = {
    "throughput": lambda brokers, options: [
        throughput.measure(
            brokers, options.systems, options.records, options.repeats, options.limit
        )
    ],
    "exactly-once": lambda brokers, options: exactly_once.measure(
        brokers, options.records, options.repeats, options.limit, options.seconds
    ),
    "latency": lambda brokers, options: latency.measure(
        brokers, options.systems, options.rate, options.seconds, options.repeats
    ),
    "memory": lambda brokers, options: [
        memory.measure(brokers, options.systems, options.backlog, options.repeats, options.limit)
    ],
    "concurrency": lambda brokers, options: [
        concurrency.measure(brokers, options.records, options.repeats, options.limit)
    ],
    "processes": lambda brokers, options: [
        processes.measure(brokers, options.records, options.repeats, options.limit)
    ],
    "pools": lambda brokers, options: [
        pools.measure(brokers, options.records, options.repeats, options.limit)
    ],
    "growth": lambda brokers, options: growth.measure(
        brokers, options.records, options.repeats, options.limit
    ),
    "lanes": lambda _brokers, options: [lanes.measure(options.repeats)],
    "plugin": lambda _brokers, options: [plugin.measure(options.repeats)],
    "scrape": lambda _brokers, options: [scrape.measure(options.repeats)],
    "idle": lambda brokers, options: [
        idle.measure(brokers, options.pipelines, options.idle_seconds, options.repeats)
    ],
    "probes": lambda brokers, options: [
        probes.measure(brokers, options.idle_seconds, options.repeats)
    ],
    "waiting": lambda brokers, options: [
        waiting.measure(brokers, options.records, options.repeats, options.limit)
    ],
    "watched": lambda brokers, options: [
        watched.measure(brokers, options.records, options.repeats, options.limit)
    ],
    "simulate": lambda _brokers, options: [simulation.measure(options.repeats)],
    "tests": lambda _brokers, options: [spectests.measure(options.repeats)],
    "send": lambda brokers, options: [sending.measure(brokers, options.records, options.repeats)],
}


def main() -> None:
    options = parser().parse_args()
    if not (PROC / "self" / "stat").exists():
        sys.exit("the bench reads /proc, which only Linux has")
    try:
        sections = run(options)
    except BrokerUnavailable as error:
        sys.exit(str(error))
    for section in sections:
        print("\n\n".join([f"### {section.title}", section.table, *section.notes]), end="\n\n")


def run(options: argparse.Namespace) -> list[Section]:
    """All chosen modes on one broker."""
    machine, sections = describe(), list[Section]()
    with running_broker() as brokers:
        for mode in options.modes or MODES:
            sections += MODES[mode](brokers, options)
            _keep(sections, machine, options)
    return sections


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("modes", nargs="*", type=_mode, metavar="MODE", help=f"of {', '.join(MODES)}; default: all")
    add(
        "--systems",
        type=_systems,
        default=SYSTEMS,
        metavar="A,B",
        help=f"for throughput, latency and memory, of {', '.join(one.name for one in SYSTEMS)}; "
        "default: all",
    )
    add(
        "--records",
        type=_number,
        default=1_000_000,
        help="of each but latency, memory, lanes, plugin, scrape, idle, probes, simulate, tests; "
        "those that wait, for waiting (1,000,000)",
    )
    add("--repeats", type=_number, default=3, help="of everything, in turn (3)")
    add("--limit", type=_number, default=20, help="seconds of steady rate for slow systems (20)")
    add(
        "--rate",
        type=_numbers,
        default=[100, 1_000, 20_000],
        metavar="A,B",
        help="messages/s of latency (100,1000,20000)",
    )
    add("--seconds", type=_number, default=10, help="of each latency run (10)")
    add("--backlog", type=_number, default=2_000, help="megabytes of the memory mode (2000)")
    add("--pipelines", type=_number, default=10, help="of the idle mode (10)")
    add("--idle-seconds", type=_number, default=30, help="of the modes idle and probes (30)")
    add("--out", type=Path, default=RESULTS, help="folder of the results (bench/results)")
    add("--name", default=LATEST, help="name of the files in it (latest)")
    return found


def _keep(sections: list[Section], machine: dict[str, str], options: argparse.Namespace) -> None:
    """Write after each mode: a run that is broken off has not been for nothing."""
    when = dt.datetime.now(dt.UTC).date().isoformat()
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    old = report.read(options.out, options.name)
    document = report.merged(old, sections, machine, when, command)
    report.write(document, options.out, options.name)
    if options.out == RESULTS and options.name == LATEST:
        page = HERE / "README.md"
        page.write_text(report.into(page.read_text(), document))


def _mode(text: str) -> str:
    if text not in MODES:
        raise argparse.ArgumentTypeError(f"there is no mode {text!r}; there are {', '.join(MODES)}")
    return text


def _systems(text: str) -> list[System]:
    try:
        return choose(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str) -> int:
    if not text.replace("_", "").isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _numbers(text: str) -> list[int]:
    return [_number(one) for one in text.split(",")]


if __name__ == "__main__":
    main()
