"""The faults. Each does its worst, heals it, and says what shows that it was felt.

A scenario is given the world and returns what was felt; it raises `NotFelt` when nothing was. The
numbers are those of the table in `docs/reliability.md`.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.faults.proxy import Trouble
from tests.faults.run import Leaves
from tests.faults.told import Owned
from tests.faults.world import INPUT, NODES, PIPELINES, World

WORK: Final = 12.0
"""Seconds after which work goes on without a worker that is dead: its session and a rebalance."""
TRANSACTION: Final = 30.0
"""Likewise, when the transactions that it had open are to time out."""
BROKER: Final = 12.0
"""Seconds after which the others lead what a broker that is dead has led."""
NETWORK: Final = 12.0
"""Seconds after which clients are back."""
SESSION: Final = 6.0
"""Seconds after which workers, and brokers, that are silent count as dead."""
FULL_FOR: Final = 12.0
"""Seconds within which a broker meets that its disk is full."""
DENIED_FOR: Final = 12.0
"""Seconds for which workers may not do what they have to."""
GONE_FOR: Final = 15.0
"""Seconds for which a topic is not there; clients ask for topics every few seconds."""
FEW: Final = 8
"""Files that a worker may have that is to open none: it has more."""


class NotFelt(Exception):
    """A fault was not there, so that a run with it says nothing."""


@dataclass(frozen=True)
class Scenario:
    """A fault by its name."""

    name: str
    rows: tuple[int, ...]
    """Rows of the table of faults."""
    bound: float
    """Seconds that recovery is to take at most."""
    leaves: Leaves
    """What it may leave behind where messages may be handled again."""
    happen: Callable[[World], str]
    errors: tuple[str, ...] = ()
    """What workers may log besides, as errors."""
    tls: bool = False
    """Whether it takes TLS, which costs brokers and workers much."""

    @property
    def about(self) -> str:
        """What happens, in a sentence."""
        return (self.happen.__doc__ or "").strip()


SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(
    name: str,
    *rows: int,
    bound: float,
    leaves: Leaves = "stragglers",
    errors: tuple[str, ...] = (),
    tls: bool = False,
) -> Callable[[Callable[[World], str]], Callable[[World], str]]:
    """Make a function a scenario of this name."""

    def made(happen: Callable[[World], str]) -> Callable[[World], str]:
        SCENARIOS[name] = Scenario(name, rows, bound, leaves, happen, errors, tls)
        return happen

    return made


# --- workers ---


@scenario("kill-worker", 1, bound=TRANSACTION, leaves="repeats")
def kill_worker(world: World) -> str:
    """A worker is killed, and another starts in its place some seconds later."""
    name = world.victim()
    killed = world.crew.kill(name)
    world.wait(world.chance.uniform(0, SESSION))
    world.crew.start(name)
    return _ended(killed.name, killed.process.returncode)


@scenario("kill-all-workers", 6, bound=TRANSACTION, leaves="repeats")
def kill_all_workers(world: World) -> str:
    """All workers are killed at once, and start again."""
    codes = [_ended(name, world.crew.kill(name).process.returncode) for name in world.crew.names]
    world.wait(2.0)
    for name in world.crew.names:
        world.crew.start(name)
    return "; ".join(codes)


@scenario("stop-worker", 7, bound=WORK, leaves="nothing")
def stop_worker(world: World) -> str:
    """A worker is told to end while it has messages in flight, and another takes its place."""
    name = world.victim()
    number = world.at_work(name)
    stopped = world.crew.stop(name)
    world.wait(1.0)
    world.crew.start(name)
    code = stopped.process.returncode
    if code is None or not number:
        raise NotFelt(f"{stopped.name} had {number} in flight, and ended with {code}")
    return f"{stopped.name} had {number} in flight, and ended with {code}"


@scenario("pause-worker", 10, 11, bound=TRANSACTION)
def pause_worker(world: World) -> str:
    """A worker stands still for longer than its session, and goes on as if nothing had been."""
    name = world.victim()
    had = world.owned(name)
    paused = world.crew.pause(name)
    world.wait(2.5 * SESSION)
    still = paused.stands_still
    others = world.owned(*world.others(name))
    world.crew.resume(name)
    if not still:
        raise NotFelt(f"{paused.name} went on")
    return f"{paused.name} stood still for {2.5 * SESSION:g} s, and {taken_over(had, others)}"


@scenario("rolling-workers", 16, bound=WORK, leaves="nothing")
def rolling_workers(world: World) -> str:
    """One worker after the other is stopped and started again."""
    codes = []
    for name in world.crew.names:
        stopped = world.crew.stop(name)
        codes.append(f"{stopped.name} ended with {stopped.process.returncode}")
        world.crew.start(name)
        world.until_ready()
    return "; ".join(codes)


@scenario("storm", 14, bound=TRANSACTION, leaves="repeats")
def storm(world: World) -> str:
    """A worker comes and goes, by force or in good order, each time once it has joined."""
    name = world.victim()
    codes, joined = [], 0
    for _ in range(6):
        in_order = world.chance.random() < 0.5
        listens = world.crew.of(name).get("/livez")[0] > 0
        gone = (world.crew.stop if in_order and listens else world.crew.kill)(name)
        codes.append(gone.process.returncode)
        world.wait(1.0)
        world.crew.start(name)
        joined += world.joins(name)
    felt = f"{name} went with {codes}, and had joined its groups {joined} times since"
    if None in codes or not joined:
        raise NotFelt(felt)
    return felt


@scenario("few-files", 42, bound=NETWORK, errors=("no connection is accepted: Too many open",))
def few_files(world: World) -> str:
    """A worker loses its connections for 10 s, and may open no file meanwhile."""
    worker = world.crew.of(world.victim())
    before = world.network.done().get("reset", 0)
    with limited(worker.process.pid, resource.RLIMIT_NOFILE, FEW):
        for _ in range(10):
            world.network.reset()
            world.wait(1.0)
        answer, _ = worker.get("/livez")
    number = world.network.done().get("reset", 0) - before
    if answer:
        raise NotFelt(f"{worker.name} could open a file and answered with {answer}")
    return f"{worker.name} could open none while {number} connections were reset"


# --- brokers ---


@scenario("kill-leader", 20, bound=BROKER)
def kill_leader(world: World) -> str:
    """The broker that leads a partition of the input is killed, and comes back."""
    return _kill(world, world.leader(world.chance.randrange(world.cluster.partitions)))


@scenario("kill-group-coordinator", 21, bound=BROKER)
def kill_group_coordinator(world: World) -> str:
    """The broker that coordinates a group is killed, and comes back."""
    return _kill(world, world.group_coordinator(world.chance.choice(world.groups)))


@scenario("kill-transaction-coordinator", 22, bound=TRANSACTION)
def kill_transaction_coordinator(world: World) -> str:
    """The broker that coordinates the transactions of a worker is killed, and comes back."""
    found = world.transaction_coordinator()
    return f"{_kill(world, found.node)}; it coordinated {found.identity}"


@scenario("kill-controller", 23, bound=BROKER)
def kill_controller(world: World) -> str:
    """The broker that leads the controllers is killed, and comes back."""
    before = world.controller()
    told, after = _kill(world, before), world.controller()
    if after == before:
        raise NotFelt(f"node {before} leads the controllers as before")
    return f"{told}; it led the controllers, which node {after} does now"


@scenario("rolling-brokers", 24, bound=TRANSACTION)
def rolling_brokers(world: World) -> str:
    """One broker after the other is stopped, or killed, and started again."""
    told, up = [], []
    for node in range(NODES):
        if world.chance.random() < 0.5:
            world.brokers.kill_node(node)
            told.append(f"node {node} was killed")
        else:
            world.brokers.stop_node(node)
            told.append(f"node {node} was stopped")
        up += _running(world, node)
        world.brokers.start_node(node)
        world.until_in_sync()
    _require_down(up)
    return "; ".join(told)


@scenario("two-of-three-brokers", 25, bound=TRANSACTION)
def two_of_three_brokers(world: World) -> str:
    """Two brokers of three are killed, so that nothing can be written, and come back."""
    nodes = world.chance.sample(range(NODES), 2)
    for node in nodes:
        world.brokers.kill_node(node)
    before = world.committed()
    world.wait(15.0)
    after, up = world.committed(), _running(world, *nodes)
    for node in nodes:
        world.brokers.start_node(node, wait=False)
    world.until_in_sync()
    _require_down(up)
    return f"nodes {nodes} were down for 15 s, and {uncommitted(before, after)}"


@scenario("all-brokers", 26, bound=TRANSACTION)
def all_brokers(world: World) -> str:
    """All brokers are killed, and come back a minute later."""
    for node in range(NODES):
        world.brokers.kill_node(node)
    world.wait(60.0)
    silent, up = world.committed() is None, _running(world, *range(NODES))
    for node in range(NODES):
        world.brokers.start_node(node, wait=False)
    world.until_in_sync()
    _require_down(up)
    if not silent:
        raise NotFelt("somebody answered for the groups")
    return "no broker answered for 60 s"


@scenario("pause-broker", 28, bound=BROKER)
def pause_broker(world: World) -> str:
    """A broker stands still, its connections open, for longer than its session."""
    return _pause(world, world.leader(world.chance.randrange(world.cluster.partitions)))


@scenario("pause-transaction-coordinator", 29, bound=TRANSACTION)
def pause_transaction_coordinator(world: World) -> str:
    """The broker that coordinates the transactions of a worker stands still, and goes on."""
    found = world.transaction_coordinator()
    return f"{_pause(world, found.node)}; it coordinated {found.identity}"


@scenario("full-disk", 39, bound=TRANSACTION)
def full_disk(world: World) -> str:
    """The disk of a broker takes no more, so that it ends, and it comes back with room."""
    node = world.leader(world.chance.randrange(world.cluster.partitions))
    pid = world.brokers.pid_of(node)
    with limited(pid, resource.RLIMIT_FSIZE, 0):
        world.wait(FULL_FOR)
    up = _running(world, node)
    world.brokers.kill_node(node)
    world.brokers.start_node(node)
    world.until_in_sync()
    _require_down(up)
    return f"node {node} ended, for want of room on its disk"


# --- the network between workers and brokers ---


@scenario("resets", 34, bound=NETWORK)
def resets(world: World) -> str:
    """Every connection is reset twice a second for 10 s."""
    before = world.network.done().get("reset", 0)
    for _ in range(20):
        world.network.reset()
        world.wait(0.5)
    number = world.network.done().get("reset", 0) - before
    if number < 20:
        raise NotFelt(f"{number} connections were reset")
    return f"{number} connections were reset"


@scenario("answers-held", 32, bound=NETWORK)
def answers_held(world: World) -> str:
    """Requests reach a broker for 15 s, and its answers do not come back."""
    node = world.leader(world.chance.randrange(world.cluster.partitions))
    return _suffer(world, Trouble(hold=("answers",)), 15.0, "held", {node})


@scenario("coordinator-cut-off", 30, 31, bound=TRANSACTION)
def coordinator_cut_off(world: World) -> str:
    """Nothing passes between the workers and the coordinator of a group for 15 s."""
    node = world.group_coordinator(world.chance.choice(world.groups))
    return _suffer(world, Trouble(hold=("answers", "requests")), 15.0, "held", {node})


@scenario("delay", 35, bound=NETWORK, leaves="nothing")
def delay(world: World) -> str:
    """Everything takes 100 ms longer, more or less, and then a second."""
    before = world.rebalances(*world.crew.names)
    first = _suffer(world, Trouble(delay=0.1, jitter=0.5), 8.0, "delayed")
    second = _suffer(world, Trouble(delay=1.0, jitter=0.2), 8.0, "delayed")
    number = world.rebalances(*world.crew.names) - before
    return f"{first}; {second}; workers saw {number} rebalances"


@scenario("bandwidth", 36, bound=NETWORK, leaves="nothing")
def bandwidth(world: World) -> str:
    """Each connection passes 64 kB a second."""
    return _suffer(world, Trouble(rate=64_000.0), 15.0, "slowed")


# --- rights and passwords ---


@scenario("deny-writing", 48, bound=WORK)
def deny_writing(world: World) -> str:
    """The workers may not write results for 12 s."""
    world.until_ready()
    with world.denied(ResourceType.TOPIC, PIPELINES, AclOperation.WRITE):
        world.wait(DENIED_FOR)
        return blamed(world.reasons(), "cannot_deliver")


@scenario("deny-group", 50, bound=WORK)
def deny_group(world: World) -> str:
    """The workers may not be in their groups for 12 s."""
    world.until_ready()
    with world.denied(ResourceType.GROUP, world.groups, AclOperation.READ):
        world.wait(DENIED_FOR)
        return blamed(world.reasons(), "denied")


@scenario("change-password", 62, bound=TRANSACTION)
def change_password(world: World) -> str:
    """The password of the workers is another one, for as long as they have to show it again."""
    world.until_ready()
    with world.password("another-secret"):
        world.network.reset()
        world.wait(DENIED_FOR)
        return blamed(world.reasons(), "denied", "no_broker")


@scenario("change-certificates", 64, bound=TRANSACTION, tls=True)
def change_certificates(world: World) -> str:
    """Brokers show certificates of another authority, and so do workers, by a rolling restart."""
    certificates = world.change_certificates()
    world.network.reset()
    world.recovery()
    told = rolling_workers(world)
    ports = [world.brokers.port_of(node, "RELAYED") for node in range(NODES)]
    showing = [*map(certificates.shows, ports)]
    if not all(showing):
        raise NotFelt(f"brokers show the certificate: {showing}")
    return f"brokers show another certificate, and {told}"


# --- topics ---


@scenario("topic-made-anew", 51, bound=WORK)
def topic_made_anew(world: World) -> str:
    """The input, of which everything is through, is deleted, and made anew later."""
    with world.without_input():
        world.wait(GONE_FOR)
        reasons = world.reasons()
    return f"the input was gone for {GONE_FOR:g} s, and {blamed(reasons, 'no_topic')}"


@scenario("delete-records", 53, bound=WORK)
def delete_records(world: World) -> str:
    """What both groups have committed of the input is deleted while a worker stands still."""
    name = world.victim()
    paused = world.crew.pause(name)
    world.wait(1.5 * SESSION)
    number = world.delete()
    world.crew.resume(name)
    if not number:
        raise NotFelt("nothing was there to delete")
    return f"{number} messages were deleted while {paused.name} stood still"


@scenario("add-partitions", 52, bound=WORK, leaves="repeats")
def add_partitions(world: World) -> str:
    """The input gets one partition more."""
    before = world.cluster.partitions
    world.grow()
    there = len(world.admin.list_topics(INPUT, timeout=10).topics[INPUT].partitions)
    if there != before + 1:
        raise NotFelt(f"there are {there} partitions")
    return f"from {before} to {there} partitions"


def blamed(reasons: Collection[str], *codes: str) -> str:
    """What workers are not ready for; raises `NotFelt` when none of these codes is among it."""
    told = ", ".join(sorted(reasons)) or "nothing"
    if not {*codes} & {*reasons}:
        raise NotFelt(f"workers are not ready for {told}, and for none of {', '.join(codes)}")
    return f"workers are not ready for {told}"


def taken_over(had: AbstractSet[Owned], others: AbstractSet[Owned]) -> str:
    """What others have of a worker's partitions; raises `NotFelt` unless it is all of some."""
    if not had or had - others:
        raise NotFelt(f"of {len(had)} partitions nobody took over {sorted(had - others)}")
    return f"others took over its {len(had)} partitions"


def uncommitted(before: int | None, after: int | None) -> str:
    """What is known of commits while a broker was alone; raises `NotFelt` when there were some."""
    if before is None or after is None:
        return "nobody said what was committed"
    if after > before:
        raise NotFelt(f"something was committed with one broker: {after - before}")
    return "nothing was committed"


def _kill(world: World, node: int) -> str:
    world.brokers.kill_node(node)
    world.wait(world.chance.uniform(5, 15))
    up = _running(world, node)
    world.brokers.start_node(node)
    world.until_in_sync()
    _require_down(up)
    return f"node {node} was killed"


def _running(world: World, *nodes: int) -> list[int]:
    return [node for node in nodes if world.brokers.runs(node)]


def _require_down(up: Sequence[int]) -> None:
    if up:
        raise NotFelt(f"nodes {up} ran all the time")


def _pause(world: World, node: int) -> str:
    world.brokers.pause_node(node)
    world.wait(2.5 * SESSION)
    led = world.leads(node)
    world.brokers.resume_node(node)
    world.until_in_sync()
    if led:
        raise NotFelt(f"node {node} still led {led} partitions as it stood still")
    return f"node {node} stood still, and others led its partitions"


def _suffer(
    world: World, trouble: Trouble, seconds: float, what: str, only: set[int] | None = None
) -> str:
    before = world.network.suffer(trouble, only).get(what, 0)
    world.wait(seconds)
    number = world.network.suffer().get(what, 0) - before
    if not number:
        raise NotFelt(f"nothing was {what}")
    where = "all relays" if only is None else f"the relay of node {next(iter(only))}"
    return f"{number} parts were {what} by {where}"


def _ended(name: str, code: int | None) -> str:
    if code != -signal.SIGKILL:
        raise NotFelt(f"{name} ended with {code}")
    return f"{name} was killed"


@contextmanager
def limited(pid: int, what: int, number: int) -> Iterator[None]:
    """Let a process have no more than this of something; what has ended needs nothing back."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (number, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)
