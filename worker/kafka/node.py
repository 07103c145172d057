"""One node of a cluster: its number, its ports, its process and what is written for it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.kafka.listeners import CONTROLLER, RELAYED
from worker.kafka.sockets import HOST


@dataclass(slots=True)
class Node:
    """A node by its number; it keeps its ports, one for each listener by name."""

    number: int
    ports: dict[str, int]
    relay: int | None = None
    """Where clients of the listener RELAYED are told to come."""
    process: subprocess.Popen[bytes] | None = None
    _frozen: subprocess.Popen[bytes] | None = None

    def address(self, listener: str) -> str:
        """Name the host and port of a listener; raises `KeyError` when there is none such."""
        return f"{HOST}:{self.ports[listener]}"

    def advertised(self, listener: str) -> str:
        """Name where clients of a listener are told to come; raises likewise."""
        is_relayed = listener == RELAYED and self.relay is not None
        return f"{HOST}:{self.relay}" if is_relayed else self.address(listener)

    def runs(self) -> bool:
        """Say whether the process is there, paused or not."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there ever was one."""
        if self.process is not None:
            self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop the process in its tracks; it stands still when this returns."""
        if self.process is None or self.process is self._frozen or not self.runs():
            return
        self.process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self._frozen = self.process
        else:
            self.process.returncode = os.waitstatus_to_exitcode(status)

    def go_on(self) -> None:
        """Let a frozen process go on."""
        self._frozen = None
        self.signal(signal.SIGCONT)


def end(nodes: Sequence[Node], grace: float) -> None:
    """End nodes together, by force after `grace` seconds; without any by force at once."""
    running = [node for node in nodes if node.runs()]
    for node in running:
        node.go_on()
        node.signal(signal.SIGTERM if grace else signal.SIGKILL)
    deadline = time.monotonic() + grace
    for node in running:
        if node.process is None:
            continue
        try:
            node.process.wait(max(0.01, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            node.process.kill()
            node.process.wait()


def server_properties(node: Node, nodes: Sequence[Node], data: Path) -> dict[str, str]:
    """Give the properties of one of `nodes`, a combined broker and controller.

    What its listeners speak is not among them: see `listeners.py`.
    """
    listeners = [f"{name}://{node.address(name)}" for name in node.ports]
    names = [name for name in node.ports if name != CONTROLLER]
    advertised = [f"{name}://{node.advertised(name)}" for name in names]
    voters = (f"{peer.number}@{peer.address(CONTROLLER)}" for peer in nodes)
    return {
        **_replication(len(nodes)),
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(voters),
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(advertised),
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "500",  # a rebalance takes a few of them
        "group.consumer.heartbeat.interval.ms": "500",
        "group.consumer.min.session.timeout.ms": "6000",
        "group.consumer.session.timeout.ms": "10000",
        "log.cleaner.backoff.ms": "200",  # compaction, retention and time-outs show soon
        "log.initial.task.delay.ms": "500",
        "log.retention.check.interval.ms": "500",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        "log.cleaner.dedupe.buffer.size": "4194304",  # by default half of a small heap
        "log.retention.ms": "-1",  # records keep the time of their source, which may be years ago
    }


def property_file(properties: Mapping[str, str]) -> str:
    """Write properties as the text of a Java property file."""

    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace("\n", "\\n")

    return "".join(f"{escaped(name)}={escaped(value)}\n" for name, value in properties.items())


def _replication(nodes: int) -> dict[str, str]:
    copies = str(min(nodes, 3))
    in_sync = "2" if nodes >= 3 else "1"
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
