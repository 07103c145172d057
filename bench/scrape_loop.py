"""Makes the text of a scrape again and again; says how long each took, in seconds, and its size.

python -m bench.scrape_loop PARTITIONS TIMES
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from worker.flow.health import Counts, PartitionState, PipelineState, Snapshot
from worker.observe.exposition import metrics_text
from worker.types import BrokerTotals, ClientTotals

PIPELINES = 10
BROKERS = [f"broker-{number}.example:9092" for number in range(6)]
CLIENT = ClientTotals(
    brokers=dict.fromkeys(BROKERS, "UP"),
    round_trips=dict.fromkeys(BROKERS, 0.004),
    traffic=dict.fromkeys(BROKERS, BrokerTotals()),
)


def snapshot(partitions: int) -> Snapshot:
    """A worker with so many partitions, spread over pipelines."""
    return Snapshot(
        "bench",
        "1",
        0.0,
        0.0,
        pipelines=tuple(
            PipelineState(
                f"pipeline-{name}",
                f"bench.pipeline-{name}",
                "running",
                counts=Counts(dead_lettered={"rejected": 1}),
                partitions=tuple(
                    PartitionState(
                        f"topic-{name}", number, 9, 8, 7, 10, 1, paused=False, held_by=8, behind=0.5
                    )
                    for number in range(partitions // PIPELINES)
                ),
                clients={"consumer": CLIENT, "producer": CLIENT},
            )
            for name in range(PIPELINES)
        ),
    )


def main(partitions: int, times: int) -> None:
    state, took, text = snapshot(partitions), [], b""
    for _ in range(times):
        begun = perf_counter()
        text = metrics_text(state)
        took.append(perf_counter() - begun)
    print(json.dumps({"seconds": took, "bytes": len(text), "lines": text.count(b"\n")}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
