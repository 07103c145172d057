"""`worker dev`: a spec on a broker of its own, fed with files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import click

from worker.app import Check, Options, build, load, tiers_of
from worker.cli.arrival import Ends, Watch
from worker.cli.cluster import Cluster, embedded, kafka, refused
from worker.cli.ending import leave, stopped_by_signals
from worker.cli.exit_codes import FAILED, FORCED
from worker.cli.feed import Assignment, Feed, Feeder, feeds_of
from worker.cli.options import SETTINGS, log_options, only_option, path_option, spec_argument
from worker.cli.views.live import View, view
from worker.cli.views.summary import Summary, examples_of, show
from worker.engine.worker import Worker
from worker.kafka.reader import Reader
from worker.observe import logs
from worker.settings import Spec
from worker.settings.patterns import is_pattern
from worker.settings.secrets import secrets_of
from worker.spec.topics import topics_of
from worker.types import Message

BROKERS = {"embedded": embedded, "kafka": kafka}
REFUSED: Mapping[str, Check] = {"embedded": refused, "kafka": lambda _: []}
"""What of a spec these brokers cannot do."""


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
    "through all pipelines, those included that wait in retry topics. May be given more than once.",
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
    path: tuple[str, ...],
    log_level: str,
    log_format: logs.Format,
) -> None:
    """Run a spec on a broker of its own, fed with files.

    The spec's brokers and security are set aside and all its topics are made. With --feed it ends
    when everything is through, and says where every record went; without it, at Ctrl-C.

    \b
    Example:
      worker dev config/flights.yaml --feed flights=flights.jsonl.gz --feed-key flights=tailnum
    """
    logs.configure(log_level, log_format)
    options = Options(only=only, path=path)
    document = load(spec, os.environ, options, REFUSED[broker])
    prepare = partial(logs.configure, log_level, log_format, secrets=secrets_of(document.spec))
    prepare()
    sources = _sources(document.spec, only)
    files = feeds_of(feeds, keys, {topic for topics in sources.values() for topic in topics})
    with BROKERS[broker](document) as cluster:
        worker = build(cluster.document, replace(options, prepare=prepare, wrap=cluster.wrap))
        code = _run(cluster, worker, files, sources)
    leave(code)


def _sources(spec: Spec, only: Sequence[str]) -> dict[str, list[str]]:
    """The topics that each pipeline reads by their names."""
    return {
        name: [topic for topic in pipeline.source if not is_pattern(topic)]
        for name, pipeline in spec.pipelines.items()
        if not only or name in only
    }


def _retry_topics(spec: Spec, names: Iterable[str]) -> dict[str, list[str]]:
    """The topics in which the messages of each pipeline wait to be tried again."""
    return {name: [tier.topic for tier in tiers_of(spec, name)] for name in names}


def _run(
    cluster: Cluster, worker: Worker, files: Sequence[Feed], sources: Mapping[str, Sequence[str]]
) -> int:
    spec = cluster.document.spec
    tiers = _retry_topics(spec, sources)
    read = {name: [*topics, *tiers[name]] for name, topics in sources.items()}
    topics = sorted({topic for names in read.values() for topic in names})
    feeder = Feeder(spec.kafka, files) if files else None
    with Reader(spec.kafka) as reader:
        screen = view(lambda: 0 if feeder is None else sum(feeder.sent.values()))
        watch = Watch(worker, screen.show, feeder, read, lambda: _ends(reader, topics))
        begun = time.monotonic()
        code = _watched(worker, screen, [watch] if feeder is None else [watch, feeder])
        seconds = time.monotonic() - begun
        for failed in (watch.failed, None if feeder is None else feeder.failed):
            if failed is not None:
                raise failed
        if feeder is None:
            return code
        summary = Summary(
            worker.snapshot().pipelines,
            reader.bounds(sorted({*topics_of(spec), *chain.from_iterable(tiers.values())})),
            examples_of(_dead_letters(reader, spec, list(sources))),
            seconds,
            arrived=watch.arrived,
            keeps_all=cluster.keeps_all,
        )
    show(summary)
    return code if code or summary.is_good() else FAILED


def _watched(worker: Worker, screen: View, threads: Sequence[Watch | Feeder]) -> int:
    """Run the worker with the threads beside it; they have ended when this returns."""
    try:
        with stopped_by_signals(worker), screen:
            for thread in threads:
                thread.start()
            code = worker.run()
        if code == FORCED:
            leave(code)
    finally:
        for thread in threads:
            thread.end()
    return code


def _ends(reader: Reader, topics: Sequence[str]) -> Ends:
    return {source: bounds.end for source, bounds in reader.bounds(topics).items()}


def _dead_letters(reader: Reader, spec: Spec, names: Sequence[str]) -> Iterator[Message]:
    targets = (spec.pipelines[name].dead_letter for name in names)
    for topic in sorted({topic for target in targets if target for topic in target.topics}):
        yield from reader.records(topic)
