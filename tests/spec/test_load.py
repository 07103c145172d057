"""What a user reads who has made a mistake in a spec."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.errors import BadConfiguration
from worker.settings.secrets import secrets_of
from worker.spec import check, load
from worker.spec.text import read

EXAMPLE = Path(__file__).parents[2] / "config" / "flights.yaml"
TEXT = EXAMPLE.read_text()


def problems(tmp_path: Path, text: str | bytes, environ: Mapping[str, str] = {}) -> list[str]:
    """The problems of a spec, without the name of its file."""
    file = tmp_path / "spec.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    try:
        load(file, environ)
    except BadConfiguration as error:
        return [str(problem).removeprefix(f"{file}:") for problem in error.problems]
    return []


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def test_the_example_loads_with_the_defaults_of_the_design() -> None:
    spec = load(EXAMPLE, {}).spec

    delays = spec.pipelines["delays"]
    assert spec.group("delays") == "flights.delays"
    assert spec.kafka.brokers == ["localhost:9092"]
    assert (delays.start, delays.on_offset_lost, delays.isolation) == (
        "oldest",
        "stop",
        "read_committed",
    )
    assert (delays.commit.interval, delays.commit.messages) == (1.0, 10_000)
    transaction = delays.transaction
    assert (transaction.interval, transaction.messages, transaction.timeout) == (0.1, 10_000, 30.0)
    assert (delays.in_flight.messages, delays.in_flight.bytes) == (10_000, 32 * 1024**2)
    assert (delays.drain_timeout, delays.revoke_timeout) == (25.0, 20.0)


def test_many_keys_that_stand_twice_take_steps_by_their_number(tmp_path: Path) -> None:
    keys = "".join(f"k{number}: 1\n" for number in range(40_000))
    file = tmp_path / "spec.yaml"
    file.write_text(keys + keys)

    assert len(read(file, {}).problems) == 40_000


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("version: 1", "version: 2", "2:1: version: 2 is not legal; legal is 1"),
        (
            "handler: delays",
            "handlr: delays",
            "19:5: pipelines.delays.handlr: no such key; did you mean `handler`?",
        ),
        (
            "    to: delays",
            "    retry: {topics: [1m]}",
            "20:5: pipelines.delays.retry: with `ordering: partition` the messages behind one that "
            "goes to `topics` overtake it: say `keep_order: false`, or",
        ),
        (
            "    to: delays",
            "    retry: {topics: [10m, 1m], keep_order: false}",
            "20:13: pipelines.delays.retry.topics: each must be longer than the one before; "
            "60s follows 600s",
        ),
        (
            "    to: delays",
            "    retry: {topics: [1m, 60s], keep_order: false}",
            "20:13: pipelines.delays.retry.topics: each must be longer than the one before; "
            "60s follows 60s",
        ),
        (
            "    to: delays",
            "    retry: {topics: [0s], keep_order: false}",
            "20:22: pipelines.delays.retry.topics[0]: '0s' is out of range; legal is more than 0s",
        ),
        (
            "    to: delays",
            "    retry: {topics: [5]}",
            "20:22: pipelines.delays.retry.topics[0]: 5 is not a duration such as 200ms, 10s, 5m",
        ),
        (
            "    to: delays",
            f"    retry: {{topics: [{', '.join(f'{n}s' for n in range(1, 22))}]}}",
            "20:13: pipelines.delays.retry.topics: a list is too long; legal are 20 items at most",
        ),
        (
            "    to: delays",
            "    retry: {attempts: 2, keep_order: true}\n    ordering: key",
            "20:5: pipelines.delays.retry: `keep_order: true` needs `topics`, which messages could "
            "overtake, and `ordering: key`",
        ),
        (
            "    to: delays",
            "    retry: {topics: [1m], keep_order: true}\n    ordering: none",
            "20:5: pipelines.delays.retry: `keep_order: true` needs `topics`, which messages could",
        ),
        (
            "    to: delays",
            "    retry: {topics: [1m], keep_order: true}",
            "20:5: pipelines.delays.retry: `keep_order: true` needs `topics`, which messages could",
        ),
        (
            "    to: delays",
            "    retry: {topics: [1m]}\n    ordering: key\n    group: two words",
            "22:5: pipelines.delays.group: 'two words' cannot name the topics of `retry.topics`: "
            "'two words.retry.0' is not a topic name",
        ),
        (
            "    to: delays",
            f"    retry: {{topics: [1m]}}\n    ordering: none\n    group: {'a' * 242}",
            f"22:5: pipelines.delays.group: '{'a' * 242}' cannot name the topics of `retry.topics`",
        ),
        (
            "    to: delays",
            "    retry: {topics: [1m]}\n    ordering: none\n    to: flights.delays.retry.0",
            "22:5: pipelines.delays.to: 'flights.delays.retry.0' belongs to `retry.topics` of this",
        ),
        (
            "    to: delays",
            "    retry: {topics: [1m]}\n    ordering: key\n    to: flights.delays.fence",
            "22:5: pipelines.delays.to: 'flights.delays.fence' belongs to `retry.topics` of this",
        ),
        (
            "    to: delays",
            "    retry: {attempts: 0}",
            "20:13: pipelines.delays.retry.attempts: 0 is out of range; legal is at least 1",
        ),
        (
            "    to: delays",
            "    retry: {attempts: 2, backoff: {initial: 31s}}",
            "20:26: pipelines.delays.retry.backoff: initial must be at most max; "
            "they are 31s and 30s",
        ),
        (
            "    to: delays",
            "    retry: {attempts: 2, backoff: {multiplier: 0.5}}",
            "20:36: pipelines.delays.retry.backoff.multiplier: 0.5 is out of range; "
            "legal is at least 1.0",
        ),
        (
            "    to: delays",
            "    retry: {attempts: 2, on: [TimeoutError, Connection Error]}",
            "20:45: pipelines.delays.retry.on[1]: 'Connection Error' is not the name of an "
            "exception such as TimeoutError or httpx.ConnectError",
        ),
        (
            "    to: delays",
            "    retry: {attempts: 2, on: []}",
            "20:26: pipelines.delays.retry.on: is empty; at least one is needed",
        ),
        (
            "    to: delays",
            "    retry: {attempts: 2, on: [OSError], give_up_on: [OSError]}",
            "20:5: pipelines.delays.retry: on and give_up_on both name OSError",
        ),
        (
            "    to: delays",
            "    retry: {backoff: {max: 1m}}",
            "20:5: pipelines.delays.retry: says no `attempts` and no `topics`, and by default",
        ),
        (
            "    to: delays",
            "    delivery: exactly",
            "20:5: pipelines.delays.delivery: 'exactly' is not legal; legal are 'at_least_once' or "
            "'exactly_once'",
        ),
        (
            "    to: delays",
            "    delivery: exactly_once\n    commit: {interval: 1s}",
            "21:5: pipelines.delays.commit: is for `delivery: at_least_once`; `transaction` says",
        ),
        (
            "    to: delays",
            "    delivery: exactly_once\n    isolation: read_uncommitted",
            "21:5: pipelines.delays.isolation: read_uncommitted would give `delivery: exactly_once`"
            " records that never were; legal is read_committed",
        ),
        (
            "    to: delays",
            "    transaction: {interval: 1s}",
            "20:5: pipelines.delays.transaction: is for `delivery: exactly_once`",
        ),
        (
            "    to: delays",
            "    transaction: {timeout: 16m}",
            "20:19: pipelines.delays.transaction.timeout: '16m' is out of range; legal is at most",
        ),
        (
            "    to: delays",
            "    transaction: {interval: 6s, timeout: 10s}",
            "20:5: pipelines.delays.transaction: interval must be at most half of timeout, so that "
            "there is time to commit; they are 6s and 10s",
        ),
        (
            "    to: delays",
            "    drain_timeout: 10",
            "20:5: pipelines.delays.drain_timeout: 10 is not a duration such as 200ms, 10s, 5m",
        ),
        (
            "    to: delays",
            "    in_flight: {bytes: 32}",
            "20:17: pipelines.delays.in_flight.bytes: 32 is not a size such as 512KiB or 32MiB",
        ),
        (
            "    to: delays",
            "    concurrency: 0",
            "20:5: pipelines.delays.concurrency: 0 is out of range; legal is at least 1",
        ),
        (
            "    to: delays",
            "    start: 2026-01-31",
            "20:5: pipelines.delays.start: '2026-01-31' is not oldest, newest or a time with its "
            "zone such as 2026-01-31T12:00:00Z",
        ),
        (
            "    to: delays",
            "    to: flights",
            "20:5: pipelines.delays.to: 'flights' is also read by this pipeline: a loop",
        ),
        (
            "    to: delays",
            "    encode: avro",
            "pipelines.delays.encode: 'avro' is not legal; legal are 'json', 'string' or 'bytes'",
        ),
        (
            "    to: delays",
            "    on_error: skip",
            "17:3: pipelines.delays: dead_letter and on_error exclude each other",
        ),
        (
            "from: flights",
            "from: ^flights-(?!old).*",
            "18:5: pipelines.delays.from: '^flights-(?!old).*' holds look-around; brokers do not "
            "know it",
        ),
        (
            "from: flights",
            "from: [other, ^flig(hts]",
            "18:19: pipelines.delays.from[1]: '^flig(hts' is no regular expression: missing ), "
            "unterminated subpattern at position 5",
        ),
        (
            "name: flights",
            "name: no\nname: yes",
            "4:1: name: stands twice: here and in line 3; leave one",
        ),
        (
            "name: flights",
            "name: &a flights",
            "3:7: (file): the anchor &a is not legal; write the value out",
        ),
        (
            "name: flights",
            "name: !!python/name:os.system x",
            "3:7: (file): the tag tag:yaml.org,2002:python/name:os.system is not legal",
        ),
        ("partitions: 4", "partitions: 1_000", "'1_000' is not a whole number"),
        ("partitions: 4", "partitions: 2013-02-01", "'2013-02-01' is not a whole number"),
        ("partitions: 4", "partitions: no", "'no' is not a whole number"),
        ("port: 8080", "port: 99999", "29:27: server.port: 99999 is out of range"),
        (
            "[handlers.flights]",
            "[../flights]",
            "'../flights' is not the name of a Python module such as handlers.flights",
        ),
        (
            "${KAFKA_BROKERS:localhost:9092}",
            "${BROKERS}",
            "6:3: kafka.brokers: the environment variable BROKERS is not set; set it, or give a "
            "default: ${BROKERS:default}",
        ),
        ("${KAFKA_BROKERS:localhost:9092}", "${no-name}", "legal are ${NAME}, ${NAME:default}"),
        (
            "${KAFKA_BROKERS:localhost:9092}",
            "user:secret@kafka:9092",
            "6:3: kafka.brokers: an address with a user or a scheme is not host:port",
        ),
        ("name: flights", "name: [flights", "is not YAML: while parsing a flow sequence"),
        (
            "    to: delays",
            "    delivery: [at_least_once]",
            "20:5: pipelines.delays.delivery: a list is not legal; legal are 'at_least_once' or "
            "'exactly_once'",
        ),
        (
            "    to: delays",
            "    ordering: keys",
            "20:5: pipelines.delays.ordering: 'keys' is not legal; legal are 'partition', "
            "'key' or 'none'",
        ),
        (
            "    to: delays",
            "    lane: headers.tenant",
            "20:5: pipelines.delays.lane: needs `ordering: key`; partition has no such lanes",
        ),
        (
            "    to: delays",
            "    ordering: none\n    rate_limit: {lane: 5/s}",
            "21:5: pipelines.delays.rate_limit: `lane` needs `ordering: key`; none has no such",
        ),
        (
            "    dead_letter: flights.dlq\n\n  alerts",
            "    flood_limit: {window: 10}\n\n  alerts",
            "21:5: pipelines.delays.flood_limit: needs `dead_letter` or `on_error: skip`",
        ),
        (
            "    to: delays",
            "    flood_limit: {max_ratio: 1.5}",
            "20:19: pipelines.delays.flood_limit.max_ratio: 1.5 is out of range; legal is at most",
        ),
        (
            "    to: delays",
            "    breaker: {failures: 3}",
            "20:5: pipelines.delays.breaker.name: is missing: Name of the dependency",
        ),
        (
            "    to: delays",
            "    breaker: {name: a, failures: 0}",
            "20:24: pipelines.delays.breaker.failures: 0 is out of range; legal is at least 1",
        ),
        (
            "    to: delays",
            "    breaker: {name: a, reset: 0s}",
            "20:24: pipelines.delays.breaker.reset: '0s' is out of range; legal is more than 0",
        ),
        (
            "    to: delays",
            "    rate_limit: 500",
            "20:5: pipelines.delays.rate_limit: 500 is not a rate such as 500/s, 30/m, 1000/h",
        ),
        (
            "    to: delays",
            "    rate_limit: 0/s",
            "20:5: pipelines.delays.rate_limit: '0/s' lets nothing through; legal is a rate such",
        ),
        (
            "    to: delays",
            "    rate_limit: {lane: 5/d}",
            "20:18: pipelines.delays.rate_limit.lane: '5/d' is not a rate such as 500/s",
        ),
        (
            "    to: delays",
            "    lane: header tenant",
            "20:5: pipelines.delays.lane: 'header tenant' is not key, headers.NAME or the name of "
            "a function",
        ),
        ("    to: delays", "    drain_timeout: 5.5", "5.5 is not a duration such as 200ms"),
        ("    to: delays", "    drain_timeout: .nan", "nan is not a duration such as 200ms"),
        ("    to: delays", "    in_flight: {bytes: .inf}", "inf is not a size such as 512KiB"),
        (
            "    to: delays",
            "    commit: {interval: 0s}",
            "20:14: pipelines.delays.commit.interval: '0s' is out of range; legal is more than 0",
        ),
        (
            "handler: delays",
            "handler:",
            "19:5: pipelines.delays.handler: has no value; legal is a text",
        ),
        ("    from: flights", "    source: flights", "18:5: pipelines.delays.source: no such key"),
        ("    from: flights\n", "", "17:3: pipelines.delays.from: is missing: Topic to read"),
        (
            "server: {host: 127.0.0.1, port: 8080}",
            "handler: delays",
            "29:1: handler: no such key; did you mean `handlers`?",
        ),
        (
            "server: {host: 127.0.0.1, port: 8080}",
            "server: {timeout: 1s}",
            "29:10: server.timeout: no such key; legal are host, hosts, kafka_exporter, port",
        ),
        ("flights.dlq: {", '"a b": {', "14:3: topics.a b: 'a b' is not a topic name"),
        (
            "flights.dlq: {partitions: 4}",
            "flights.dlq: {config: {a: 1.5}}",
            "14:26: topics.flights.dlq.config.a: 1.5 is not a text or a whole number or "
            "true or false",
        ),
        ("partitions: 4", "partitions: !!str 4", "the tag tag:yaml.org,2002:str is not legal"),
        ("name: flights", "!x name: flights", "3:1: (file): the tag !x is not legal"),
        ("name: flights", "name: ${A:${B:c}}", "3:1: name: a `${` is not closed by its own `}`"),
        ("name: flights", 'name: "${A"', "3:1: name: a `${` is not closed by its own `}`"),
        (
            "port: 8080",
            "port: ${PORT:80}",
            "29:34: (file): is not YAML: within { } or [ ] a ${...}",
        ),
        ("  brokers", "\tbrokers", "6:1: (file): is not YAML: a tab does not indent; use spaces"),
        ("name: flights", 'name: flights\n"a\\nb": 1', "4:1: a\\nb: no such key"),
        (
            "name: flights",
            "name: ${file:no/root}",
            "'no/root' is not the path of a file from the root",
        ),
        (
            "name: flights",
            "name: ${file:/dev/zero}",
            "3:1: name: the file /dev/zero cannot be read: it is no regular file",
        ),
        ("name: flights", "name: ${file:/no}", "the file /no cannot be read: No such file"),
    ],
)
def test_a_mistake_is_named_with_its_place_its_value_and_what_is_legal(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    found = problems(tmp_path, changed(old, new))

    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize("more", ["failures: 3", "reset: 1m", "on: [OSError]"])
def test_pipelines_that_name_the_same_breaker_agree_about_it(tmp_path: Path, more: str) -> None:
    def found(other: str) -> list[str]:
        text = changed("    to: delays", f"    breaker: {{name: payments, {more}}}\n    to: delays")
        return problems(tmp_path, text.replace("    to: alerts", f"    breaker: {{{other}}}"))

    assert found(f"name: payments, {more}") == found("name: others") == []
    (problem,) = found("name: payments")
    assert "pipelines.alerts.breaker: 'payments' is other than in pipeline 'delays'" in problem


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = changed("version: 1", "version: 2").replace("port: 8080", "prt: 8080")
    found = problems(tmp_path, text.replace("handler: alerts", "handler: [alerts]"))

    lines = [int(problem.split(":")[0]) for problem in found]
    assert lines == sorted(lines)
    assert len(found) == 3


def test_a_mistake_in_a_key_for_all_pipelines_is_told_once_and_where_it_stands(
    tmp_path: Path,
) -> None:
    found = problems(tmp_path, TEXT + "drain_timeout: 5\n")

    assert len(found) == 1
    assert found[0].startswith("30:1: drain_timeout: 5 is not a duration")


def test_a_key_for_all_pipelines_gives_way_to_that_of_a_pipeline(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    text = changed("    to: delays", "    to: delays\n    drain_timeout: 3s")
    file.write_text(text + "drain_timeout: 5s\n")

    pipelines = load(file, {}).spec.pipelines

    assert (pipelines["delays"].drain_timeout, pipelines["alerts"].drain_timeout) == (3.0, 5.0)


@pytest.mark.parametrize(
    ("written", "value"), [("4", 4), ("012", 12), ("0x10", 16), ("0o14", 12), ("${N}", 7)]
)
def test_plain_scalars_are_those_of_yaml_1_2_interpolated_ones_too(
    tmp_path: Path, written: str, value: int
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(changed("flights: {partitions: 4}", f"flights:\n    partitions: {written}"))

    assert load(file, {"N": "7"}).spec.topics["flights"].partitions == value


def test_words_that_yaml_1_1_takes_for_truth_stay_words(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(changed("name: flights", "name: no"))

    assert load(file, {}).spec.name == "no"


def test_a_value_from_the_environment_cannot_bring_structure_in(tmp_path: Path) -> None:
    found = problems(tmp_path, changed("name: flights", "name: ${N}"), {"N": "a\nversion: 3"})

    assert found == [
        "3:1: name: 'a\\nversion: 3' is not legal; legal are letters, "
        "digits, '.', '_' and '-', 100 at most, a letter or a digit first"
    ]


def test_a_secret_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("1234567\n")
    security = (
        "  security: {protocol: SASL_SSL, mechanism: PLAIN, username: u, "
        f'password: "${{file:{tmp_path}/password}}"}}\n'
    )
    file = tmp_path / "spec.yaml"
    file.write_text(changed("kafka:\n", "kafka:\n" + security))

    spec = load(file, {}).spec

    password = spec.kafka.security.password
    assert password is not None
    assert password.get_secret_value() == "1234567"
    assert "1234567" not in repr(spec) + str(spec.model_dump())


@pytest.mark.parametrize(
    "written",
    ["client_id: {}", '"client_id": "of {} and others"', "librdkafka: {{client.rack: '{}'}}"],
)
def test_what_a_file_brings_into_any_key_is_a_secret_of_the_spec_and_of_its_copies(
    tmp_path: Path, written: str
) -> None:
    (tmp_path / "name").write_text("c4n4ry\n")
    file = tmp_path / "spec.yaml"
    line = written.format(f"${{file:{tmp_path}/name}}")
    file.write_text(changed("kafka:\n", f"kafka:\n  {line}\n"))

    spec = load(file, {}).spec

    assert "c4n4ry" in str(spec.model_dump())
    for one in (spec, spec.model_copy(), pickle.loads(pickle.dumps(spec))):
        assert secrets_of(one) == ("c4n4ry",)


def test_a_secret_of_64_kib_at_most_is_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("x" * 65537)
    (found,) = problems(tmp_path, changed("name: flights", f"name: ${{file:{tmp_path}/large}}"))

    assert found.endswith("large is larger than 65536 bytes")


def test_a_fifo_in_place_of_a_secret_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (found,) = problems(tmp_path, changed("name: flights", f"name: ${{file:{tmp_path}/fifo}}"))

    assert found == f"3:1: name: the file {tmp_path}/fifo cannot be read: it is no regular file"


def test_a_secret_of_the_wrong_type_is_not_shown(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        changed(
            "kafka:\n",
            "kafka:\n  security: {protocol: SASL_SSL, mechanism: PLAIN, username: u, "
            "password: 987654}\n",
        ),
    )

    assert found
    assert "987654" not in "".join(found)


@pytest.mark.parametrize(
    "written",
    [
        'handlers: ["{secret}"]',
        'handlers: "{secret}"',
        "handlers: [a]\nname: {secret}",
        "kafka: {secret}",
        'kafka: {{brokers: ["{secret}"]}}',
        'kafka: {{brokers: "a:1", security: "{secret}"}}',
        'kafka: {{brokers: "a:1", security: [{{password: "{secret}"}}]}}',
        'kafka: {{brokers: "a:1", security: {{password: ["{secret}"]}}}}',
        'pipelines: {{a: {{from: "{secret}", handler: h, drain_timeout: "{secret}"}}}}',
    ],
)
def test_the_content_of_a_secret_file_is_in_no_problem(tmp_path: Path, written: str) -> None:
    (tmp_path / "password").write_text("hunter 2'\\zz\n")
    found = problems(tmp_path, written.format(secret=f"${{file:{tmp_path}/password}}"))

    assert found
    assert "hunter" not in "".join(found)


@pytest.mark.parametrize("content", ["CANARY pw,a:1", "a:1, CANARY:99999", "CANARY\n\n"])
@pytest.mark.parametrize("written", ["{secret}", '["a:1", "{secret}"]', '["a:1", "x {secret}"]'])
def test_no_part_of_a_secret_file_is_shown_for_the_address_of_a_broker(
    tmp_path: Path, written: str, content: str
) -> None:
    (tmp_path / "brokers").write_text(content)
    brokers = written.format(secret=f"${{file:{tmp_path}/brokers}}")
    (found,) = problems(tmp_path, changed("${KAFKA_BROKERS:localhost:9092}", brokers))

    assert found.startswith("6:3: kafka.brokers: the value ")
    assert "CANARY" not in found


def test_a_secret_that_is_written_where_its_mapping_belongs_is_not_shown(tmp_path: Path) -> None:
    for security in ("hunter2", "[{password: hunter2}]", "{password: [hunter2]}"):
        found = problems(tmp_path, changed("kafka:\n", f"kafka:\n  security: {security}\n"))

        assert found
        assert "hunter2" not in "".join(found)


def test_a_dollar_is_escaped_by_another_and_quotes_keep_a_text(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    client_id = '  client_id: "${N:4}-$${N}"\n'
    file.write_text(changed("kafka:\n", "kafka:\n" + client_id))

    assert load(file, {}).spec.kafka.client_id == "4-${N}"
    assert problems(
        tmp_path,
        changed("flights: {partitions: 4}", 'flights: {partitions: "${N:4}"}'),
    ) == ["11:13: topics.flights.partitions: '4' is not a whole number"]


def test_an_unresolved_variable_is_the_only_thing_said_of_its_value(tmp_path: Path) -> None:
    found = problems(
        tmp_path, changed("brokers: ${KAFKA_BROKERS:localhost:9092}", 'brokers: ["${B}"]')
    )

    assert len(found) == 1
    assert "kafka.brokers[0]: the environment variable B is not set" in found[0]


def test_only_the_last_newline_of_a_secret_file_is_taken_off(tmp_path: Path) -> None:
    (tmp_path / "id").write_bytes(b"a\n\r\n")
    file = tmp_path / "spec.yaml"
    file.write_text(changed("kafka:\n", f"kafka:\n  client_id: ${{file:{tmp_path}/id}}\n"))

    assert load(file, {}).spec.kafka.client_id == "a\n"


def test_a_problem_of_the_app_stands_at_the_deepest_key_there_is() -> None:
    document = load(EXAMPLE, {})

    assert document.problem(("pipelines", "delays", "handler"), "x").line == 19
    assert document.problem(("pipelines", "delays", "batch", "size"), "x").line == 17


def test_two_pipelines_of_one_group_are_named(tmp_path: Path) -> None:
    (problem,) = problems(
        tmp_path, changed("    to: alerts", "    to: alerts\n    group: flights.delays")
    )

    assert problem == (
        "27:5: pipelines.alerts.group: group 'flights.delays' is that of pipeline 'delays' too; "
        "each pipeline needs its own"
    )


def test_two_pipelines_of_one_transactional_id_are_named(tmp_path: Path) -> None:
    def found(group: str, delivery: str = "exactly_once") -> list[str]:
        of_delays = f"    group: g\n    instance: x.y\n    delivery: {delivery}\n    to: delays"
        of_alerts = f"    group: {group}\n    instance: y\n    delivery: exactly_once"
        text = changed("    to: delays", of_delays).replace("    to: alerts", of_alerts)
        return problems(tmp_path, text)

    assert found("g.z") == found("g.x", "at_least_once") == []
    (problem,) = found("g.x")
    assert problem.endswith(
        "pipelines.alerts.instance: 'y' in group 'g.x' makes the transactional.id 'g.x.y.0', as "
        "pipelines.delays.instance 'x.y' does in group 'g': each would shut the other out; change "
        "one of them"
    )


@pytest.mark.parametrize(("broker", "refused"), [("localhost:9092", False), ("kafka:9092", True)])
def test_a_readable_password_does_not_leave_the_machine(
    tmp_path: Path,
    broker: str,
    refused: bool,  # noqa: FBT001
) -> None:
    security = "{protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: u, password: p}"
    text = changed("kafka:\n", f"kafka:\n  security: {security}\n")
    found = problems(tmp_path, text, {"KAFKA_BROKERS": broker})

    assert bool(found) == refused


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            "producer: {acks: local, idempotent: false}",
            "6:14: kafka.producer.acks: local; pipelines need all, or they would lose what a "
            "leader loses",
        ),
        (
            "producer: {acks: none, idempotent: false}",
            "6:14: kafka.producer.acks: none; pipelines need all, or they would lose what a "
            "leader loses",
        ),
        (
            "producer: {idempotent: false}",
            "6:14: kafka.producer.idempotent: false; pipelines need true, or they would repeat "
            "and reorder records",
        ),
        (
            "producer: {acks: local}",
            "6:3: kafka.producer: idempotent needs acks all, not local; or set it to false",
        ),
        (
            "producer: {enabled: false}",
            "6:14: kafka.producer.enabled: false; pipelines read and send, so they need true",
        ),
        (
            "consumer: {enabled: false}",
            "6:14: kafka.consumer.enabled: false; pipelines read and send, so they need true",
        ),
        (
            "group: {protocol: consumer, heartbeat: 3s, rebalance: roundrobin}",
            "6:31: kafka.group.heartbeat: is not legal with the protocol consumer: the broker's "
            "group.consumer.heartbeat.interval.ms counts",
        ),
        (
            "group: {protocol: consumer, heartbeat: 3s, rebalance: roundrobin}",
            "6:46: kafka.group.rebalance: 'roundrobin' is not legal with the protocol consumer; "
            "legal is sticky or range",
        ),
        (
            "group: {instance: pod-1}",
            "6:11: kafka.group.instance: is for clients; pipelines take `instance` at the top "
            "level or in a pipeline",
        ),
        (
            "security: {protocol: SASL_SSL, mechanism: OAUTHBEARER}",
            "6:34: kafka.security.mechanism: OAUTHBEARER needs `oauth`, where the tokens come from",
        ),
    ],
)
def test_what_a_client_may_do_and_a_pipeline_may_not_is_refused_where_it_stands(
    tmp_path: Path, keys: str, expected: str
) -> None:
    found = problems(tmp_path, changed("kafka:\n", f"kafka:\n  {keys}\n"))

    assert expected in found


def test_all_that_a_pipeline_may_not_is_told_at_once(tmp_path: Path) -> None:
    keys = (
        "  producer: {enabled: false, acks: none, idempotent: false}\n"
        "  consumer: {enabled: false}\n"
        "  group: {instance: pod-1}\n"
        "  security: {protocol: SASL_SSL, mechanism: OAUTHBEARER}\n"
    )

    found = problems(tmp_path, changed("kafka:\n", f"kafka:\n{keys}"))

    assert [":".join(problem.split(":")[:3]) for problem in found] == [
        "6:14: kafka.producer.enabled",
        "6:30: kafka.producer.acks",
        "6:42: kafka.producer.idempotent",
        "7:14: kafka.consumer.enabled",
        "8:11: kafka.group.instance",
        "9:34: kafka.security.mechanism",
    ]


def test_a_pipeline_takes_all_that_is_safe_for_it(tmp_path: Path) -> None:
    keys = (
        "  producer: {enabled: true, acks: all, idempotent: true, compression: zstd}\n"
        "  consumer: {enabled: true, offsets: newest, fetch_max: 8MiB}\n"
        "  group: {protocol: classic, rebalance: range}\n"
        "  security:\n"
        "    protocol: SASL_SSL\n"
        "    mechanism: OAUTHBEARER\n"
        "    oauth: {endpoint: https://tokens/, client_id: a, client_secret: b}\n"
        "  librdkafka: {client.rack: eu-1a, check.crcs: true}\n"
    )

    assert problems(tmp_path, changed("kafka:\n", f"kafka:\n{keys}")) == []


def test_each_property_that_may_not_be_passed_through_is_told_where_it_stands(
    tmp_path: Path,
) -> None:
    keys = (
        "  librdkafka:\n"
        "    client.rack: eu-1a\n"
        "    plugin.library.paths: canary.so\n"
        "    check.crc: true\n"
        "    max.poll.interval.ms: 5m\n"
        "    acks: 1\n"
        "    socket.nagle.disable: 1\n"
    )

    found = problems(tmp_path, changed("kafka:\n", f"kafka:\n{keys}"))

    assert [problem.partition("; legal are")[0] for problem in found] == [
        "8:5: kafka.librdkafka.plugin.library.paths: "
        "plugin.library.paths may not be passed through",
        "9:5: kafka.librdkafka.check.crc: check.crc may not be passed through; did you mean "
        "check.crcs?",
        "10:5: kafka.librdkafka.max.poll.interval.ms: max.poll.interval.ms is not legal; legal is "
        "a whole number from 1 to 86400000",
        "11:5: kafka.librdkafka.acks: acks is set by `kafka.producer.acks`",
        "12:5: kafka.librdkafka.socket.nagle.disable: socket.nagle.disable is not legal; legal is "
        "true or false",
    ]
    assert "canary" not in "".join(found)


def test_a_property_in_braces_has_a_column_of_its_own(tmp_path: Path) -> None:
    keys = "  librdkafka: {debug: all, enable.auto.commit: true}\n"

    found = problems(tmp_path, changed("kafka:\n", f"kafka:\n{keys}"))

    assert [problem.partition("; ")[0] for problem in found] == [
        "6:16: kafka.librdkafka.debug: debug may not be passed through",
        "6:28: kafka.librdkafka.enable.auto.commit: enable.auto.commit may not be passed through",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is empty"),
        (b"a: b\n\x00\x01", "2:1: (file): holds U+0000, which is no text"),
        (b"\xff\xfe\x00", "is not UTF-8 text: byte 0"),
        (b"a" * 2_000_000, "is larger than 1048576 bytes"),
        (b"[" * 100_000, "is nested deeper than 20 levels"),
        (b"- a", "holds no keys"),
        (b"a: 1\n---\nb: 2\n", "2:1: (file): a second document begins here"),
        (b"? [a]\n: b\n", "1:3: (file): a key is a word, not a list or a mapping"),
        (b"<<: {version: 1}\n", "the merge key << is not legal"),
    ],
)
def test_a_file_that_can_be_no_spec_is_refused_with_a_sentence(
    tmp_path: Path, text: bytes, expected: str
) -> None:
    found = problems(tmp_path, text)

    assert any(expected in problem for problem in found), found


def test_a_file_that_cannot_be_read_is_a_problem_like_any_other(tmp_path: Path) -> None:
    for file in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(BadConfiguration, match="cannot be read"):
            load(file, {})


@pytest.mark.parametrize("number", range(len(TEXT.splitlines())))
def test_every_line_of_the_example_can_be_broken_without_a_traceback(
    tmp_path: Path, number: int
) -> None:
    lines = TEXT.splitlines()
    line = lines[number]
    for broken in (
        "",
        f"{line}x",
        f"{line}: 1",
        f"  {line}",
        f"{line}\n{line}",
        line.replace(":", ""),
        line.replace(": ", ": [1.5, {a: "),
        re.sub(r": .*", ": .inf", line),
        re.sub(r": .*", ": [a, {b: c}]", line),
        re.sub(r": .*", ":", line),
    ):
        text = "\n".join([*lines[:number], broken, *lines[number + 1 :]])
        for problem in problems(tmp_path, text):
            place = re.match(r"(\d+):\d+: [^:]+: .+", problem)
            assert place
            assert 1 <= int(place[1]) <= len(text.splitlines()) + 1


@pytest.mark.parametrize(
    ("producer", "expected"),
    [
        ("delivery_timeout: 30s", "30s must be longer than kafka.producer.delivery_timeout"),
        ("delivery_timeout: 60s", "which is 60s, or records could still fail when it is over"),
        ("linger: 16s", "30s must be more than twice kafka.producer.linger, which is 16s"),
        ("delivery_timeout: 29s", None),
        ("compression: zstd", None),
    ],
)
def test_a_transaction_lasts_until_its_records_have_failed(
    tmp_path: Path, producer: str, expected: str | None
) -> None:
    keys = "    delivery: exactly_once\n    transaction: {timeout: 30s}\n    to: delays"
    text = changed("    to: delays", keys)
    text = text.replace("kafka:\n", f"kafka:\n  producer: {{{producer}}}\n")

    found = [one for one in problems(tmp_path, text) if "transaction.timeout: " in one]

    assert len(found) == (expected is not None)
    assert expected is None or expected in found[0]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_no_text_at_all_brings_a_traceback(tmp_path: Path, text: str | bytes) -> None:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text

    assert problems(tmp_path, data)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(TEXT)), st.integers(0, 12), st.text(":{}[]$&*!-#\t\n '\"a1.", max_size=6))
def test_no_change_of_the_example_brings_a_traceback(
    tmp_path: Path, start: int, length: int, new: str
) -> None:
    for problem in problems(tmp_path, TEXT[:start] + new + TEXT[start + length :]):
        assert re.match(r"\d+:\d+: .+: .+", problem)
        assert "\n" not in problem


TESTS = """\
version: 1
spec: {spec}
tests:
  late:
    given: {{flights: [{{value: {{carrier: UA}}, key: N1}}]}}
    expect: {{{topic}: []}}
"""


def test_a_file_of_tests_is_told_from_a_spec_and_checked_with_it(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.test.yaml", tmp_path / "bad.test.yaml"
    good.write_text(TESTS.format(spec=EXAMPLE, topic="delays"))
    bad.write_text(TESTS.format(spec=EXAMPLE, topic="delay"))

    documents, found = check([EXAMPLE, good, bad], {})

    assert len(documents) == 1
    (problem,) = found
    assert (problem.file, problem.line, problem.path) == (str(bad), 6, "tests.late.expect.delay")
    assert "does not name topic 'delay'" in problem.text


@pytest.mark.parametrize("spec", ["none.yaml", '"a\\0b"', "broken.yaml", "a" * 300])
def test_a_file_of_tests_needs_a_spec_that_loads(tmp_path: Path, spec: str) -> None:
    (tmp_path / "broken.yaml").write_text("version: 3")
    file = tmp_path / "a.test.yaml"
    file.write_text(TESTS.format(spec=spec, topic="delays"))

    documents, (problem,) = check([file], {})

    assert documents == []
    assert (problem.file, problem.line, problem.path) == (str(file), 2, "spec")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^flights.delays.retry.19", "matches 'flights.delays.retry.19', a topic of the"),
        ("^delays", "pipelines.delays.to: 'delays' is also read by this pipeline"),
        ("^flights.dlq", "pipelines.delays.dead_letter: 'flights.dlq' is also read by"),
        ("^flights.dlq.+", "from: '^flights.dlq.+' matches 'flights.dlq.ledger', a topic of"),
        ("^flights.delays.retry.3", "matches 'flights.delays.retry.3', a topic of the pipeline's"),
        ("^flights.+redrive", "matches 'flights.delays.redrive', a topic of the pipeline's own"),
        ("^flights.+e", "matches 'flights.delays.redrive', a topic of the pipeline's own"),
        ("^.*fence", "matches 'flights.delays.fence', a topic of the pipeline's own"),
        ("[^flights, __own]", "'__own' cannot be read beside a pattern"),
    ],
)
def test_a_pattern_may_match_no_topic_of_its_own_pipeline(
    tmp_path: Path, pattern: str, expected: str
) -> None:
    found = problems(tmp_path, changed("from: flights", f"from: {pattern}"))

    assert any(expected in problem for problem in found), found
    assert len(found) == 1


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("{KeyError: flights}", "by.KeyError: 'flights' is also read by this pipeline: a loop"),
        ("{KeyError: delays}", "by.KeyError: 'delays' is also the topic of results, `to`"),
        ("{KeyError: a, KeyError: b}", "by.KeyError: stands twice"),
        ("{Key Error: a}", "by.Key Error: 'Key Error' is not the name of an exception such as"),
        ("{KeyError: a/b}", "by.KeyError: 'a/b' is not a topic name"),
        ("{KeyError: }", "by.KeyError: "),
        ("[a]", "by: a list is not a mapping"),
    ],
)
def test_a_route_of_dead_letters_that_cannot_work_is_told_with_its_place(
    tmp_path: Path, by: str, expected: str
) -> None:
    target = f"dead_letter: {{default: flights.dlq, by: {by}}}"

    found = problems(tmp_path, changed("dead_letter: flights.dlq", target))

    assert len(found) == 1, found
    assert f"pipelines.delays.dead_letter.{expected}" in found[0]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("message: true, redact: {value: true}", "message would write texts of exceptions, which"),
        ("redact: {headers: authorization}", "redact.headers: 'authorization' is not a list"),
        ("redact: {headers: ['']}", "redact.headers[0]: is empty"),
        ("redact: {key: true}", "redact.key: no such key; legal are headers, value"),
        ("stack: 1", "stack: 1 is not true or false"),
    ],
)
def test_what_dead_letters_cannot_leave_out_is_told(
    tmp_path: Path, target: str, expected: str
) -> None:
    target = f"dead_letter: {{default: flights.dlq, {target}}}"

    (found,) = problems(tmp_path, changed("dead_letter: flights.dlq", target))

    assert expected in found


def test_a_pattern_may_not_match_what_belongs_to_any_topic_of_dead_letters(tmp_path: Path) -> None:
    target = "dead_letter: {default: flights.dlq, by: {KeyError: keys}}"
    text = changed("dead_letter: flights.dlq", target).replace("from: flights", "from: ^keys.+")

    (found,) = problems(tmp_path, text)

    assert "'^keys.+' matches 'keys.ledger', a topic of the pipeline's own" in found


def test_a_pattern_beside_a_name_is_legal(tmp_path: Path) -> None:
    assert problems(tmp_path, changed("from: flights", "from: [flights, ^eu-.*$]")) == []


@pytest.mark.parametrize(
    ("more", "keeps"),
    [
        ("ordering: key\n    retry: {topics: [1m, 10m]}", True),
        ("ordering: key\n    retry: {topics: [1m], keep_order: true}", True),
        ("ordering: key\n    retry: {topics: [1m], keep_order: false}", False),
        ("ordering: none\n    retry: {topics: [1m]}", False),
        ("ordering: partition\n    retry: {topics: [1m], keep_order: false}", False),
        ("ordering: key\n    retry: {attempts: 2}", False),
    ],
)
def test_order_is_kept_where_lanes_have_retry_topics_unless_it_is_not_wanted(
    tmp_path: Path, more: str, *, keeps: bool
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(changed("    to: delays", f"    {more}"))

    assert load(file, {}).spec.pipelines["delays"].keeps_order is keeps


def test_the_longest_group_may_have_retry_topics_as_long_as_their_names_are_legal(
    tmp_path: Path,
) -> None:
    retry = f"    retry: {{topics: [1m]}}\n    ordering: none\n    group: {'a' * 241}"

    assert problems(tmp_path, changed("    to: delays", retry)) == []
