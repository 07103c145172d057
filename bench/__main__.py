"""The bench: throughput and latency of the worker, and sending, beside the bare client."""

import argparse

from bench import latency, sending, throughput
from worker.kafka.broker import running_broker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=["throughput", "latency", "send"])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    tables = []
    with running_broker() as brokers:
        if options.mode in (None, "throughput"):
            tables.append(throughput.measure(brokers, options.records, options.repeats))
        if options.mode in (None, "latency"):
            tables.append(latency.measure(brokers, options.rate, options.seconds, options.repeats))
        if options.mode in (None, "send"):
            tables.append(sending.measure(brokers, options.records, options.repeats))
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
