"""Everything that runs: brokers, relays in front of them, workers, the load, and who watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import yaml
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (  # not re-exported for type checkers, as those below
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.coordinators import GROUPS, coordinator
from tests.faults import left, told
from tests.faults.certificates import RotatedCertificates
from tests.faults.crew import Crew
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.network import Network
from tests.faults.roles import QUORUM, TRANSACTIONS, Coordinated, going_on, quorum_leader
from tests.faults.run import Stored
from tests.faults.told import Owned
from tests.faults.watch import Cluster, Progress, Watch
from worker.kafka.admin import OffsetSpec
from worker.kafka.broker import KafkaCluster
from worker.kafka.listeners import BrokerSecurity
from worker.kafka.sockets import free_ports, reserve

NODES: Final = 3
NAMES: Final = ("a", "b", "c")
INPUT: Final = "input"
EXACT, LEAST = "exact", "least"
PIPELINES: Final = (EXACT, LEAST)
PARTITIONS: Final = 6
LARGEST: Final = 12
"""Partitions that the input may grow to: retry topics have so many from the start."""
TIERS: Final = ("1s", "5s")
LINGER: Final = "50ms"
"""Of results: with 5 ms two cores had no room to catch up, see `docs/reliability.md`."""
HELD: Final = 2.5
"""Seconds of the input that a pipeline of one worker may hold."""
LONGEST_SILENCE_MS: Final = 60_000
"""Milliseconds for which a group waits at most for a member that does not join again."""
DEADLINE: Final = 120.0
"""Seconds after which what does not recover counts as never recovering."""
LOOK_EVERY: Final = 0.25
LOOKS: Final = 40
"""How often a worker is looked at for something that it has soon."""
SHOWN_WITHIN: Final = 3.0
"""Seconds within which a producer sees new partitions."""
BROKERS: Final = {
    "broker.session.timeout.ms": "6000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "controlled.shutdown.retry.backoff.ms": "500",
    "unclean.leader.election.enable": "false",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "true",
    "connections.max.reauth.ms": "10000",
}
TLS: Final = {"listener.name.relayed.ssl.client.auth": "required", "ssl.allow.dn.changes": "true"}
"""Of brokers that have certificates."""
USER, PASSWORD = "worker", "worker-secret"
"""Of the workers; who breaks and watches is nobody, and may do everything."""


class Stuck(Exception):
    """The world itself does not come back, so that a run cannot go on."""


@dataclass
class World:
    """What a scenario can see and do."""

    chance: Random
    brokers: KafkaCluster
    network: Network
    crew: Crew
    watch: Watch
    cluster: Cluster
    load: Load
    ledger: Ledger
    certificates: RotatedCertificates | None = None
    """What brokers and workers show each other, where there is TLS."""
    spared: str | None = None
    """A worker that is never a victim, for its memory to be watched for long."""
    deleted: dict[int, Stored] = field(default_factory=dict)
    """Messages of the input that may be there no more, by their ids."""

    @property
    def groups(self) -> Sequence[str]:
        """The groups of the pipelines."""
        return [group(name) for name in PIPELINES]

    @property
    def admin(self) -> AdminClient:
        """A client that knows nothing yet; it has to live until it has answered."""
        return AdminClient({"bootstrap.servers": self.brokers.address, "log_level": 0})

    def wait(self, seconds: float) -> None:
        """Let this much time pass; a worker that ends by itself meanwhile is seen in the end."""
        time.sleep(seconds)

    def victim(self) -> str:
        """One of the workers that something may be done to."""
        return self.chance.choice([name for name in self.crew.names if name != self.spared])

    def others(self, name: str) -> list[str]:
        """All workers but this one."""
        return [one for one in self.crew.names if one != name]

    def stats(self, name: str) -> object:
        """What a worker tells of itself; see `tests.faults.told`."""
        return self.crew.of(name).get("/stats")[1]

    def owned(self, *names: str) -> set[Owned]:
        """The partitions that these workers have."""
        return {one for name in names for one in told.owned(self.stats(name))}

    def rebalances(self, *names: str) -> int:
        """How many rebalances these workers have seen."""
        return sum(told.rebalances(self.stats(name)) for name in names)

    def at_work(self, name: str) -> int:
        """How many messages a worker has in flight, once it has some; none in the end."""
        return self._once(lambda: told.in_flight(self.stats(name)))

    def joins(self, name: str) -> bool:
        """Whether a worker becomes a member of its groups: true as soon as it is."""
        return self._once(lambda: told.is_joined(self.stats(name))) > 0

    def _once(self, look: Callable[[], int]) -> int:
        """What is there to see, once there is something; nothing in the end."""
        for _ in range(LOOKS):
            if number := look():
                return number
            self.wait(LOOK_EVERY)
        return 0

    def reasons(self) -> set[str]:
        """The codes of why workers are not ready."""
        told = [worker.get("/readyz")[1] for worker in self.crew.living]
        return {
            one["code"] for ready in told if isinstance(ready, dict) for one in ready["reasons"]
        }

    def committed(self) -> int | None:
        """How much the groups have committed; None when nobody says so."""
        found = self.cluster.progress()
        return None if found is None else sum(sum(one) for one in found.committed.values())

    # --- who does what among the brokers ---

    def leader(self, partition: int) -> int:
        """The node that leads a partition of the input."""
        metadata = self.admin.list_topics(INPUT, timeout=10)
        return int(metadata.topics[INPUT].partitions[partition].leader)

    def leads(self, node: int) -> int:
        """How many partitions a node leads."""
        topics = self.admin.list_topics(timeout=10).topics.values()
        return sum(one.leader == node for topic in topics for one in topic.partitions.values())

    def controller(self) -> int:
        """The node that leads the controllers; to clients brokers name one of them at random."""
        for _ in _ticks("nobody leads the controllers"):
            leader = quorum_leader(self._tool(QUORUM, "describe", "--status"))
            if leader is not None:
                return leader
        raise AssertionError

    def group_coordinator(self, name: str) -> int:
        """The node that coordinates a group."""
        return coordinator(self.brokers.address, GROUPS, name)

    def transaction_coordinator(self) -> Coordinated:
        """The node that coordinates a transaction of a worker which is going on."""
        for _ in _ticks("no worker has a transaction"):
            found = going_on(self._tool(TRANSACTIONS, "list"), f"{group(EXACT)}.")
            if found:
                return self.chance.choice(found)
        raise AssertionError

    def _tool(self, name: str, *arguments: str) -> str:
        """What a tool of Kafka's says; nothing when brokers do not answer it."""
        address = ["--bootstrap-server", self.brokers.address]
        return self.brokers.tool(name, [*address, *arguments]).stdout.decode()

    # --- what is done to topics and rights ---

    @contextmanager
    def denied(
        self, kind: ResourceType, names: Sequence[str], right: AclOperation
    ) -> Iterator[None]:
        """Take a right from the workers for as long as the block lasts."""
        admin = self.admin
        rules = [
            (kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", right) for name in names
        ]
        denials = [AclBinding(*rule, AclPermissionType.DENY) for rule in rules]
        for made in admin.create_acls(denials).values():
            made.result()
        try:
            yield
        finally:
            filters = [AclBindingFilter(*rule, AclPermissionType.DENY) for rule in rules]
            for gone in admin.delete_acls(filters).values():
                gone.result()

    @contextmanager
    def password(self, password: str) -> Iterator[None]:
        """Let the brokers know the user of the workers by another one while the block lasts."""
        self._change_password(password)
        try:
            yield
        finally:
            self._change_password(PASSWORD)

    def _change_password(self, password: str) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(USER, info, password.encode())
        admin = self.admin
        for future in admin.alter_user_scram_credentials([change]).values():
            future.result()

    def change_certificates(self) -> RotatedCertificates:
        """Have brokers, and workers that start from now on, show those of the other authority."""
        assert self.certificates is not None
        self.certificates.change()
        name, file = "listener.name.relayed.ssl.keystore.location", str(self.certificates.broker)
        change = ConfigEntry(name, file, incremental_operation=AlterConfigOpType.SET)
        admin = self.admin
        brokers = admin.describe_cluster(request_timeout=10).result().nodes
        for one in brokers:
            resource = ConfigResource(
                ResourceType.BROKER, str(one.id), incremental_configs=[change]
            )
            admin.incremental_alter_configs([resource])[resource].result()
        return self.certificates

    def grow(self) -> None:
        """Give the input one partition more."""
        number = self.cluster.partitions + 1
        admin = self.admin
        admin.create_partitions([NewPartitions(INPUT, number)])[INPUT].result()
        self.until_in_sync()
        self.wait(SHOWN_WITHIN)
        self.cluster.partitions = self.load.partitions = number

    def delete(self) -> int:
        """Delete what all groups have committed of the input; what it was is kept for the judge."""
        ends: list[int] = [*map(min, zip(*self.now().committed.values(), strict=True))]
        self.deleted.update(left.inputs(self.brokers.address, INPUT))
        wanted = [Place(INPUT, number, end) for number, end in enumerate(ends)]
        admin = self.admin
        starts = admin.list_offsets(dict.fromkeys(wanted, OffsetSpec.earliest()))
        before: int = sum(start.result().offset for start in starts.values())
        for future in admin.delete_records(wanted).values():
            future.result()
        return sum(ends) - before

    @contextmanager
    def without_input(self) -> Iterator[None]:
        """Delete the input once all is through, and have it made anew behind the block."""
        with self.load.resting():
            self.recovery()
            self.until_quiet()
            self.deleted.update(left.inputs(self.brokers.address, INPUT))
            admin = self.admin
            admin.delete_topics([INPUT])[INPUT].result()
            self.cluster.generation += 1
            yield
            new = NewTopic(INPUT, self.cluster.partitions, NODES)
            admin.create_topics([new])[INPUT].result()
            self.until_in_sync()
            self.wait(SHOWN_WITHIN)
        for _ in _ticks("nothing is written into the input that was made anew"):
            if sum(self.now().ends):
                return

    def mend(self) -> None:
        """Have everything run that a scenario, stopped before its end, may have left behind."""
        self.network.suffer()
        for node in range(NODES):
            self.brokers.resume_node(node)
            self.brokers.start_node(node, wait=False)
        for name in self.crew.names:
            if self.crew.of(name).lives:
                self.crew.resume(name)
            else:
                self.crew.start(name)
        self.until_in_sync()

    # --- waiting ---

    def until_in_sync(self) -> None:
        """Wait until every partition has all its replicas in sync, and a leader."""
        for _ in _ticks("the replicas are not in sync"):
            try:
                topics = self.admin.list_topics(timeout=5).topics.values()
            except KafkaException:
                continue
            partitions = [one for topic in topics for one in topic.partitions.values()]
            if all(len(one.isrs) == len(one.replicas) and one.leader >= 0 for one in partitions):
                return

    def until_ready(self) -> None:
        """Wait until every worker says that it is ready."""
        for _ in _ticks("not all workers are ready"):
            if all(self.crew.of(name).get("/readyz")[0] == 200 for name in self.crew.names):
                return

    def until_quiet(self) -> None:
        """Wait until nothing waits in a retry topic."""
        places = [Place(topic, number) for topic in tiers() for number in range(LARGEST)]
        for _ in _ticks("messages wait in retry topics"):
            with suppress(KafkaException, TimeoutError):
                if self.cluster.committed(group(LEAST), places) == self.cluster.ends(places):
                    return

    def now(self) -> Progress:
        """How far the groups are, once somebody says so."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            found = self.cluster.progress()
            if found is not None:
                return found
            time.sleep(LOOK_EVERY)
        raise Stuck(f"nobody says how far the groups are: {self.cluster.silence}")

    def recovery(self) -> tuple[float | None, float | None]:
        """When the groups have got on, and when they were through with all that is there now."""
        start = self.now()
        progressed: float | None = None
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            found = self.cluster.progress()
            if found is not None:
                if progressed is None and found.committed != start.committed:
                    progressed = time.time()
                if found.covers(start.ends):
                    return progressed or time.time(), time.time()
            time.sleep(LOOK_EVERY)
        return progressed, None


def group(pipeline: str) -> str:
    """The group of a pipeline."""
    return f"faults.{pipeline}"


def tiers() -> Sequence[str]:
    """The retry topics."""
    return [f"{group(LEAST)}.retry.{tier}" for tier in range(len(TIERS))]


def topics() -> Sequence[str]:
    """The topics that there are from the start."""
    return [INPUT, *PIPELINES, *(f"{name}.dlq" for name in PIPELINES)]


@contextmanager
def made(
    folder: Path,
    seed: int,
    rate: float,
    program: Sequence[str] = ("worker", "run"),
    certificates: RotatedCertificates | None = None,
) -> Iterator[World]:
    """Start everything but the workers, and end it with the block; TLS takes certificates."""
    free = free_ports(NODES + len(NAMES), taken=())
    relays, ports = free[:NODES], dict(zip(NAMES, free[NODES:], strict=True))
    with ExitStack() as stack:
        for kept in reserve(free):
            stack.enter_context(kept)
        tls = (certificates.broker, certificates.trusted) if certificates else (None, None)
        brokers = KafkaCluster(
            NODES,
            folder=folder / "brokers",
            properties={**BROKERS, **(TLS if certificates else {})},
            security=BrokerSecurity({USER: PASSWORD}, *tls),
            relays=relays,
        )
        stack.enter_context(brokers)
        targets = [brokers.port_of(node, "RELAYED") for node in range(NODES)]
        network = stack.enter_context(Network([*zip(relays, targets, strict=True)]))
        admin = AdminClient({"bootstrap.servers": brokers.address})
        new = [NewTopic(topic, PARTITIONS, NODES) for topic in topics()]
        for future in admin.create_topics(new).values():
            future.result()
        spec = folder / "faults.yaml"
        address = brokers.address_of("RELAYED")
        spec.write_text(yaml.safe_dump(text(address, int(HELD * rate), certificates)))
        crew = Crew(spec, folder, ports, program)
        cluster = Cluster(brokers.address, INPUT, PARTITIONS, tuple(map(group, PIPELINES)))
        watch = stack.enter_context(Watch(crew, cluster))
        ledger = Ledger()
        load = stack.enter_context(Load(brokers.address, INPUT, PARTITIONS, rate, seed, ledger))
        chance = Random(seed)
        yield World(chance, brokers, network, crew, watch, cluster, load, ledger, certificates)


def text(
    address: str, in_flight: int, certificates: RotatedCertificates | None
) -> dict[str, object]:
    """The spec of the workers: the same input exactly once, and at least once with retries."""
    protocol = {"protocol": "SASL_PLAINTEXT"} if certificates is None else certificates.settings

    def pipeline(name: str, **settings: object) -> dict[str, object]:
        common = {
            "from": INPUT,
            "to": name,
            "ordering": "key",
            "in_flight": {"messages": in_flight},
        }
        given_up = {"dead_letter": f"{name}.dlq", "on_offset_lost": "oldest"}
        return {**common, **given_up, **settings}

    return {
        "version": 1,
        "name": "faults",
        "kafka": {
            "brokers": address,
            "security": {
                **protocol,
                "mechanism": "SCRAM-SHA-512",
                "username": USER,
                "password": PASSWORD,
            },
            "group": {"session_timeout": "6s", "heartbeat": "1500ms"},
            "librdkafka": {"max.poll.interval.ms": LONGEST_SILENCE_MS},
            "producer": {"delivery_timeout": "12s", "linger": LINGER},
        },
        "handlers": ["tests.faults.handlers"],
        "server": {"port": "${FAULTS_PORT}"},
        "topics": {tier: {"partitions": LARGEST, "replication": NODES} for tier in tiers()},
        "drain_timeout": "20s",
        "revoke_timeout": "5s",
        "pipelines": {
            EXACT: pipeline(
                EXACT,
                handler="exactly",
                delivery="exactly_once",
                concurrency=16,
                transaction={"interval": "500ms", "timeout": "15s"},
                retry={"attempts": 2},
            ),
            LEAST: pipeline(
                LEAST,
                handler="at_least",
                timeout="3s",
                retry={"attempts": 2, "topics": [*TIERS]},
            ),
        },
    }


def _ticks(what: str) -> Iterator[None]:
    """Begin to look every quarter of a second; raises `Stuck` in the end."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        yield
        time.sleep(LOOK_EVERY)
    raise Stuck(f"{what} after {DEADLINE:g} s")
