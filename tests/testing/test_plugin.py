"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.cli.test_help import HEAVY

HOME = os.environ.get("HOME", "")

kafka = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _nothing_of_this_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine of users: with a home where jars are kept, without what this run is told."""
    monkeypatch.setenv("HOME", HOME)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS", "CI"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]\naddopts = -p no:cloudcoil -p no:cacheprovider")


@pytest.fixture
def no_kafka(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which none can be had."""
    monkeypatch.delenv("KAFKA_BROKERS", raising=False)
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))


def test_a_run_that_uses_no_fixture_imports_nothing_that_takes_long(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        f"""
        import sys

        def test_it():
            assert "worker.testing.plugin" in sys.modules
            assert not set({HEAVY}) & set(sys.modules)
            assert not [name for name in sys.modules if name.startswith("worker.kafka")]
        """
    )

    assert pytester.runpytest_subprocess().ret == 0


def test_kafka_in_memory_has_a_clock_that_stands_still(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from worker.testing import ManualClock, MemoryBroker

        def test_it(memory_broker: MemoryBroker) -> None:
            assert isinstance(memory_broker.clock, ManualClock)
            memory_broker.create("orders")
            memory_broker.append("orders", b"1", b"key")
            assert [one.value for one in memory_broker.records("orders")] == [b"1"]

        def test_another_one_has_nothing_of_it(memory_broker: MemoryBroker) -> None:
            assert memory_broker.topics == {}
        """
    )

    pytester.runpytest_subprocess().assert_outcomes(passed=2)


ROUND_TRIP = """
    from worker.testing import KafkaBroker

    def test_one(kafka_broker: KafkaBroker) -> None:
        topic = kafka_broker.topic("orders", partitions=2)
        kafka_broker.client.send(topic, "1", key="a")
        kafka_broker.client.send(topic, "2", key="a")

        assert topic.startswith("orders-")
        assert [one.value for one in kafka_broker.wait_for(topic, 2)] == [b"1", b"2"]
        (found,) = kafka_broker.wait_for(topic, where=lambda one: one.value == b"2")
        assert found.offset == 1
        assert [one.value for one in kafka_broker.records(topic)] == [b"1", b"2"]
        assert kafka_broker.committed(kafka_broker.unique("group")) == {}
        print("AT", kafka_broker.address, topic)

    def test_another(kafka_broker: KafkaBroker) -> None:
        assert kafka_broker.topic("orders") != kafka_broker.topic("orders")
        print("AT", kafka_broker.address, kafka_broker.topic())
"""


def places(result: pytest.RunResult) -> list[list[str]]:
    """Address and topic of each test."""
    return [line.split()[1:] for line in result.outlines if line.startswith("AT ")]


PROJECT = {
    "jobs": """
        from worker import Reject, handler, resource

        @resource
        def rates():
            raise RuntimeError("a real one, which tests have not")
            yield

        @handler
        async def price(order: dict, rates: dict) -> dict:
            if order["n"] < 0:
                raise Reject("negative")
            return {"price": order["n"] * rates["EUR"]}
    """,
    "test_jobs": """
        import pytest
        from worker.testing import Drive

        def test_it(pipeline: Drive) -> None:
            prices = pipeline("config/shop.yaml", resources={"rates": {"EUR": 2}})
            prices.send("orders", {"n": 3}, "a").send("orders", {"n": -1}, "a").run()

            assert [one.value for one in prices.topic("prices")] == [b'{"price":6}']
            assert [letter.reason for letter in prices.dead_letters] == ["rejected"]
            assert sum(prices.committed["prices"].values()) == 2

        @pytest.mark.asyncio
        async def test_it_within_a_loop(pipeline: Drive) -> None:
            prices = pipeline("config/shop.yaml", resources={"rates": {"EUR": 3}})
            assert prices.send("orders", {"n": 3}).run().values("prices") == [{"price": 9}]

        def test_that_nothing_is_left_of_it(pipeline: Drive) -> None:
            prices = pipeline("config/shop.yaml", resources={"rates": {"EUR": 2}})
            assert prices.run().topic("prices") == []
    """,
}

SHOP = """
version: 1
name: shop
kafka: {brokers: "nowhere.invalid:1"}
handlers: [jobs]
topics: {orders: {partitions: 2}}
pipelines:
  prices: {from: orders, handler: price, to: prices, dead_letter: orders.dlq}
"""


@pytest.fixture
def shop(pytester: pytest.Pytester) -> Path:
    """A project with a spec, handlers and tests."""
    pytester.makepyfile(**PROJECT)
    pytester.mkdir("config").joinpath("shop.yaml").write_text(SHOP)
    return pytester.path


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_pipelines_of_a_spec_run_in_tests_of_every_kind(
    pytester: pytest.Pytester, processes: str
) -> None:
    result = pytester.runpytest_subprocess("-n", processes)

    result.assert_outcomes(passed=3)


def test_a_spec_is_found_from_any_folder_of_the_project(
    pytester: pytest.Pytester, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pytester.mkdir("elsewhere"))

    result = pytester.runpytest_subprocess("--rootdir", shop, shop / "test_jobs.py")

    result.assert_outcomes(passed=3)


@pytest.mark.usefixtures("shop")
def test_what_is_wrong_with_a_spec_is_told_with_its_place(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_wrong="""
        def test_it(pipeline):
            pipeline("config/wrong.yaml")
        """
    )
    wrong = SHOP.replace("handler: price", "handler: prize")
    pytester.path.joinpath("config", "wrong.yaml").write_text(wrong)

    result = pytester.runpytest_subprocess("test_wrong.py")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*config/wrong.yaml:8:*did you mean 'price'?*"])


def test_fixtures_are_for_async_tests_as_well(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_it(memory_broker):
            memory_broker.create("orders")
            assert memory_broker.append("orders", b"1").offset == 0
        """
    )

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=1)


def answers(address: str) -> bool:
    try:
        AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=0.5)
    except KafkaException:
        return False
    return True


@kafka
def test_a_kafka_that_is_named_is_used_and_left_without_topics_of_the_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, kafka_address: str
) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", kafka_address)
    pytester.makepyfile(ROUND_TRIP)

    result = pytester.runpytest_subprocess("-rP")

    result.assert_outcomes(passed=2)
    assert {address for address, _ in places(result)} == {kafka_address}
    left = AdminClient({"bootstrap.servers": kafka_address}).list_topics(timeout=10).topics
    assert not {topic for _, topic in places(result)} & left.keys()


def test_a_kafka_that_is_named_and_does_not_answer_fails_tests_with_a_sentence(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", "127.0.0.1:1")
    pytester.makepyfile(
        """
        def test_one(kafka_broker): ...
        def test_another(kafka_broker): ...
        """
    )

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(errors=2)
    told = "KAFKA_BROKERS: no broker of 127.0.0.1:1 answered*"
    assert len([line for line in result.outlines if fnmatch(line, told)]) == 2
    result.stdout.no_fnmatch_line("*Traceback*")


@kafka
def test_processes_of_a_run_share_one_kafka_of_its_own_which_ends_with_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BROKERS", raising=False)
    pytester.makepyfile(ROUND_TRIP)

    result = pytester.runpytest_subprocess("-rP", "-n", "2")

    result.assert_outcomes(passed=2)
    (address,) = {address for address, _ in places(result)}
    assert not answers(address)


@kafka
def test_a_cluster_has_three_nodes_and_ends_with_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from worker import Kafka, TopicConfig
        from worker.testing import KafkaCluster

        def test_it(kafka_cluster: KafkaCluster) -> None:
            with Kafka(kafka_cluster.address) as client:
                client.create_topic("orders", TopicConfig(1, replication_factor=3))
                assert client.send("orders", "kept three times").offset == 0
            print("AT", kafka_cluster.address, "orders")
        """
    )

    result = pytester.runpytest_subprocess("-rP")

    result.assert_outcomes(passed=1)
    ((address, _),) = places(result)
    assert not answers(address)


WITHOUT = """
    def test_one(kafka_broker): ...
    def test_another(kafka_broker): ...
    def test_a_third(kafka_cluster): ...
"""


@pytest.mark.usefixtures("no_kafka")
def test_without_kafka_tests_skip_and_the_end_of_the_run_says_so(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(WITHOUT)

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(
        ["tests skipped: 3; no real Apache Kafka: KAFKA_HOME is *, but its folder libs *"]
    )


@pytest.mark.usefixtures("no_kafka")
def test_without_kafka_tests_fail_where_it_has_to_be_there(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(WITHOUT)

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*Failed: no real Apache Kafka: KAFKA_HOME is *"])
