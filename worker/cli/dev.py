"""`worker dev`: a spec on a broker of its own, fed with files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from worker.app import Options, build
from worker.cli.arrival import Ends, Watch
from worker.cli.cluster import Cluster, embedded, kafka
from worker.cli.ending import leave, stopped_by_signals
from worker.cli.exit_codes import FAILED, OK
from worker.cli.feed import Assignment, Feed, Feeder, feeds_of
from worker.cli.live import view
from worker.cli.options import SETTINGS, log_options, only_option, path_option, spec_argument
from worker.cli.summary import Summary, examples_of, show
from worker.engine.worker import Worker
from worker.kafka.reader import Reader
from worker.observe import logs
from worker.settings import Spec
from worker.spec import load
from worker.spec.testfile import topics_of

BROKERS = {"embedded": embedded, "kafka": kafka}


@click.command("dev", context_settings=SETTINGS)
@spec_argument()
@click.option(
    "--broker",
    type=click.Choice(list(BROKERS)),
    default="embedded",
    show_envvar=True,
    help="embedded starts at once and keeps 5 MiB a partition; kafka is a real Apache Kafka.",
)
@click.option(
    "--feed",
    "feeds",
    type=Assignment("TOPIC=FILE"),
    multiple=True,
    metavar="TOPIC=FILE",
    help="Send the lines of a file of JSON lines, gzipped or not, to a topic, and end when all are "
    "through all pipelines. May be given more than once.",
)
@click.option(
    "--feed-key",
    "keys",
    type=Assignment("TOPIC=FIELD"),
    multiple=True,
    metavar="TOPIC=FIELD",
    help="The field that becomes the key of a topic's records; they have none without it.",
)
@only_option()
@path_option()
@log_options()
def command(
    spec: Path,
    broker: str,
    feeds: Sequence[tuple[str, str]],
    keys: Sequence[tuple[str, str]],
    only: tuple[str, ...],
    path: tuple[Path, ...],
    log_level: str,
    log_format: logs.Format,
) -> None:
    """Run a spec on a broker of its own, fed with files.

    The spec's brokers and security are set aside and all its topics are made. With --feed it ends
    when everything is through, and says where every record went; without it, at Ctrl-C.

    \b
    Example:
      worker dev config/flights.yaml --feed flights=flights.jsonl.gz --feed-key flights=tailnum
    """  # noqa: D301 - click's own mark
    logs.configure(log_level, log_format)
    document = load(spec, os.environ)
    sources = _sources(document.spec, only)
    files = feeds_of(feeds, keys, {topic for topics in sources.values() for topic in topics})
    with BROKERS[broker](document) as cluster:
        options = Options(only=only, path=[str(folder) for folder in path], wrap=cluster.wrap)
        worker = build(cluster.document, options)
        code = _run(cluster, worker, files, sources)
    leave(code)


def _sources(spec: Spec, only: Sequence[str]) -> dict[str, list[str]]:
    """The topics that each pipeline reads; names that are unknown are left to `build`."""
    return {
        name: pipeline.source
        for name, pipeline in spec.pipelines.items()
        if not only or name in only
    }


def _run(
    cluster: Cluster, worker: Worker, files: Sequence[Feed], sources: Mapping[str, Sequence[str]]
) -> int:
    settings = cluster.document.spec.kafka
    topics = sorted({topic for names in sources.values() for topic in names})
    feeder = Feeder(settings, files) if files else None
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(settings))

        def ends() -> Ends:
            return {source: bounds.end for source, bounds in reader.bounds(topics).items()}

        screen = view(lambda: 0 if feeder is None else sum(feeder.sent.values()))
        watch = Watch(worker, screen.show, feeder, sources, ends)
        with stopped_by_signals(worker), screen:
            begun = time.monotonic()
            watch.start()
            if feeder is not None:
                feeder.start()
            try:
                code = worker.run()
            finally:
                watch.end()
                if feeder is not None:
                    feeder.stop()
        if feeder is None or code == FORCED:
            return code
        ...
