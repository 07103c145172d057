"""Where spans go, by the environment of a process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.observe.followed import FACTS, SAMPLED, UNSAMPLED, Followed, rig
from worker.errors import BadEnvironment
from worker.observe import exporters, provider
from worker.observe.environment import exporter_names
from worker.observe.exporters import exporter_of, exporters_of
from worker.observe.propagation import Agreed, agreed
from worker.observe.provider import Provided
from worker.observe.tracing import TraceContext
from worker.types import Encoded, Headers, Message, StoredMessage

OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


def told(program: str, environ: Mapping[str, str]) -> str:
    """What a process with this environment writes."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**clean, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none"},
        {**OTLP, "OTEL_TRACES_EXPORTER": "none"},
        {**OTLP, "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_where_nobody_wants_spans_nothing_of_the_sdk_is_loaded(environ: Mapping[str, str]) -> None:
    program = (
        "import sys, worker.app\n"
        "from worker.observe.tracing import tracers\n"
        "print(type(tracers('name')).__name__, 'opentelemetry.sdk.trace' in sys.modules)"
    )

    assert told(program, environ) == "Tracers False"


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, []),
        (OTLP, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({**OTLP, "OTEL_TRACES_EXPORTER": "console"}, ["console"]),
        ({"OTEL_TRACES_EXPORTER": "console,none"}, []),
    ],
)
def test_exporters_are_those_that_the_environment_names(
    environ: Mapping[str, str], names: Sequence[str]
) -> None:
    assert exporter_names(environ, "traces") == names


RESOURCE = (
    "from worker.observe.tracing import tracers\n"
    "found = tracers('flights').provider.resource.attributes\n"
    "print(found['service.name'], found.get('team'), sep=' ')"
)


@pytest.mark.parametrize(
    ("environ", "resource"),
    [
        ({}, "flights None"),
        ({"OTEL_SERVICE_NAME": "other"}, "other None"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=blue"}, "flights blue"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=blue,service.name=third"}, "third blue"),
    ],
)
def test_the_resource_is_that_of_the_environment_and_else_the_name_of_the_spec(
    environ: Mapping[str, str], resource: str
) -> None:
    assert told(RESOURCE, {"OTEL_TRACES_EXPORTER": "console", **environ}) == resource


def test_a_process_that_samples_nothing_ever_has_no_spans() -> None:
    program = "from worker.observe.tracing import tracers\nprint(type(tracers('flights')).__name__)"
    environ = {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "always_off"}

    assert told(program, environ) == "Tracers"


def test_the_provider_that_a_module_of_handlers_has_set_up_is_used_and_not_ended() -> None:
    program = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "theirs = TracerProvider()\n"
        "trace.set_tracer_provider(theirs)\n"
        "from worker.observe.tracing import tracers\n"
        "ours = tracers('flights')\n"
        "ours.close()\n"
        "print(ours.provider is theirs, theirs._disabled, theirs._atexit_handler is not None)"
    )

    assert told(program, {}) == "True False True"


def test_an_exporter_that_is_not_installed_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporters, "entry_points", lambda **_: [])

    with pytest.raises(BadEnvironment, match=r"pip install 'stream-worker\[otlp-grpc\]'"):
        exporter_of("otlp", "traces", {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"})


def test_what_an_exporter_says_again_and_again_is_summed_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exporter = exporter_of("console", "traces", {})
    logger = logging.getLogger(type(exporter).__module__)

    for _ in range(3):
        logger.error("the collector is away")

    assert caplog.text.count("the collector is away") == 1
    logger.filters.clear()


class Hanging(SpanExporter):
    """Exports nothing until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def export(self, _spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.let_go.wait()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.let_go.wait()


def test_an_exporter_that_hangs_does_not_keep_the_process_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider, "FLUSH_WITHIN", 0.01)
    exporter = Hanging()
    provided = Provided(provider.provider_for("name", [exporter]))

    provided.close()

    assert "not all spans were exported" in caplog.text
    exporter.let_go.set()


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_PROPAGATORS": "b4"},
        {"OTEL_PROPAGATORS": "b4", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_PROPAGATORS": "tracecontext, b4", "OTEL_TRACES_EXPORTER": "console"},
    ],
)
@pytest.mark.parametrize("imported", ["", "from worker import current_span"])
def test_a_propagator_that_is_not_installed_is_told_before_anything_runs(
    environ: Mapping[str, str], imported: str
) -> None:
    assert told(f"{imported}\n{STARTED}", environ) == (
        "OTEL_PROPAGATORS names 'b4'; installed are baggage, none, tracecontext"
    )


@pytest.mark.parametrize("value", ["-4", "many"])
@pytest.mark.parametrize("name", ["OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"])
def test_a_limit_that_cannot_be_is_told(name: str, value: str) -> None:
    assert f"{name} must be" in told(STARTED, {"OTEL_TRACES_EXPORTER": "console", name: value})


@pytest.mark.parametrize(
    ("variables", "problems"),
    [
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "abc"},
            ["OTEL_BSP_MAX_QUEUE_SIZE is 'abc'; it can be a whole number from 1"],
        ),
        (
            {"OTEL_BSP_SCHEDULE_DELAY": "0", "OTEL_BSP_EXPORT_TIMEOUT": "1.5"},
            [
                "OTEL_BSP_SCHEDULE_DELAY is '0'; it can be a whole number from 1",
                "OTEL_BSP_EXPORT_TIMEOUT is '1.5'; it can be a whole number from 0",
            ],
        ),
        (
            {"OTEL_TRACES_SAMPLER": "foo"},
            ["OTEL_TRACES_SAMPLER is 'foo'; it can be parentbased_always_on, "],
        ),
        *(
            (
                {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": share},
                [f"OTEL_TRACES_SAMPLER_ARG is '{share}'; it can be a number from 0 to 1"],
            )
            for sampler in ("traceidratio", "parentbased_TraceIdRatio")
            for share in ("1 %", "2", "nan")
        ),
    ],
)
def test_what_cannot_be_of_spans_stops_the_start_and_is_told_at_once(
    variables: Mapping[str, str], problems: Sequence[str]
) -> None:
    with pytest.raises(BadEnvironment) as caught:
        exporters_of("traces", {"OTEL_TRACES_EXPORTER": "console", **variables})

    assert all(problem in str(caught.value) for problem in problems)
    assert exporters_of("traces", variables) == []


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "", "OTEL_TRACES_SAMPLER": "", "OTEL_TRACES_SAMPLER_ARG": "x"},
        {"OTEL_TRACES_SAMPLER": "ParentBased_Always_Off", "OTEL_BSP_EXPORT_TIMEOUT": " 0 "},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1e-2"},
        {"OTEL_TRACES_SAMPLER": "traceidratio"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a=b, other=%20,,"},
    ],
)
def test_variables_that_say_what_can_be_are_taken(variables: Mapping[str, str]) -> None:
    assert len(exporters_of("traces", {"OTEL_TRACES_EXPORTER": "console", **variables})) == 1


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"]
)
@pytest.mark.parametrize("value", ["team hidden", "a=b,x-team: hidden", "=hidden"])
def test_headers_that_cannot_be_are_told_without_what_may_be_a_secret(
    name: str, value: str
) -> None:
    with pytest.raises(BadEnvironment) as caught:
        exporters_of("traces", {"OTEL_TRACES_EXPORTER": "console", name: value})

    assert str(caught.value) == f"{name} is no list of NAME=VALUE, with commas in between"


def test_what_cannot_be_of_metrics_is_told_as_well() -> None:
    variables = {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_TIMEOUT": "soon"}

    with pytest.raises(BadEnvironment, match="'soon'; it can be a whole number from 0"):
        exporters_of("metrics", variables)


def test_an_interval_that_cannot_be_is_told() -> None:
    program = (
        "from worker.errors import BadEnvironment\n"
        "from worker.observe.meters import Meters\n"
        "try:\n"
        "    with Meters('flights').exporting(None): pass\n"
        "except BadEnvironment as error:\n"
        "    print(error)"
    )
    environ = {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "-5"}

    assert "-5" in told(program, environ)


STARTED = (
    "from worker.errors import BadEnvironment\n"
    "from worker.observe.tracing import tracers\n"
    "try:\n"
    "    tracers('flights')\n"
    "except BadEnvironment as error:\n"
    "    print(error)"
)


def test_what_a_producer_says_beside_its_span_goes_on_only_where_that_is_named() -> None:
    for named in ("", " ", "tracecontext"):
        assert not isinstance(agreed({"OTEL_PROPAGATORS": named}), Agreed)
    assert isinstance(agreed({"OTEL_PROPAGATORS": "tracecontext,baggage"}), Agreed)


@pytest.mark.parametrize("named", ["tracecontext", "tracecontext,baggage"])
def test_nothing_of_an_ill_formed_context_gets_into_the_log(
    caplog: pytest.LogCaptureFixture, named: str
) -> None:
    parent, *_ = SAMPLED
    many = ",".join(f"key{number}=secret" for number in range(33)).encode()
    propagation = agreed({"OTEL_PROPAGATORS": named})

    for state in (b"secret-state\x1b[31m", "z=é".encode(), b"z=1,z=2", many, b"z=" + b"s" * 9_000):
        read = propagation.read([parent, ("tracestate", state), ("baggage", state)])
        assert "tracestate" not in dict(propagation.write(read))

    assert caplog.text == ""


BAGGAGE = ("baggage", b"tenant=blue")


@pytest.mark.parametrize("headers", [SAMPLED, UNSAMPLED], ids=["beyond the limit", "unsampled"])
def test_baggage_of_a_message_that_is_not_followed_reaches_results_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch, headers: Headers
) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "tracecontext,baggage")
    followed = Followed(limit=1e-6)
    pipeline = rig(followed, lambda payload: payload)
    pipeline.broker.append("source", b"1", headers=SAMPLED)
    pipeline.step()
    pipeline.broker.append("source", b"1", headers=[*headers, BAGGAGE])

    pipeline.step()

    assert len(followed.named("process source")) == 1
    assert pipeline.broker.records("target")[1].headers == [*headers, BAGGAGE]


def test_what_is_ill_formed_goes_on_as_it_came_with_what_is_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "tracecontext,baggage")
    pipeline = rig(Followed(), lambda payload: payload)
    garbage = [("traceparent", b"garbage"), ("baggage", b"\xff")]
    pipeline.broker.append("source", b"1", headers=garbage)

    pipeline.step()

    (record,) = pipeline.broker.records("target")
    assert record.headers == garbage


def test_baggage_that_is_named_reaches_results_where_nobody_wants_spans() -> None:
    program = (
        "from worker.observe.tracing import Facts, tracers\n"
        "from worker.types import Encoded, StoredMessage\n"
        "facts = Facts('pipeline', 'group', 'handler', 'client', ())\n"
        "observer = tracers('flights').watching(facts).observer\n"
        "raw = StoredMessage('source', headers=[('baggage', b'tenant=blue')])\n"
        "print(observer.headers_for(raw, Encoded('target', b'')))"
    )

    assert told(program, {"OTEL_PROPAGATORS": "baggage"}) == "[('baggage', b'tenant=blue')]"
    assert told(program, {}) == "()"


class SingleB3(TextMapPropagator):
    """Has the fields of OpenTelemetry's `b3`."""

    fields = {"b3"}  # noqa: RUF012 - as its interface

    def extract(self, *_: Any, **__: Any) -> Context:
        return Context()

    def inject(self, *_: Any, **__: Any) -> None:
        return


@pytest.mark.parametrize("name", ["b3", "X-B3-TraceId", "x-b3-flags"])
def test_b3_goes_on_in_whatever_form_it_came(name: str) -> None:
    observer = TraceContext(Agreed(SingleB3()).names)
    raw = StoredMessage("source", headers=[(name, b"1"), ("other", b"2")])

    assert observer.headers_for(raw, Encoded("target", b"")) == [(name, b"1")]


@pytest.mark.parametrize(
    ("propagators", "passed"), [("tracecontext", False), ("tracecontext,baggage", True)]
)
def test_baggage_reaches_results_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch, propagators: str, *, passed: bool
) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", propagators)
    followed = Followed("parent")
    pipeline = rig(followed, lambda payload: payload)
    pipeline.broker.append("source", b"1", headers=[*SAMPLED, BAGGAGE])

    pipeline.step()

    assert len(followed.named("send target")) == 1
    (record,) = pipeline.broker.records("target")
    assert (BAGGAGE in record.headers) is passed
    assert len(names(record)) == len(set(names(record)))


def names(message: Message) -> list[str]:
    return [name for name, _ in message.headers]


def test_spans_of_a_provider_of_users_follow_the_flag_too() -> None:
    followed = Followed()
    theirs = TracerProvider(sampler=followed.sampler, shutdown_on_exit=False)
    theirs.add_span_processor(SimpleSpanProcessor(followed.exporter))
    observer = Provided(theirs).watching(FACTS).observer
    raw = Message.of(b"1", topic="source", headers=SAMPLED)._raw

    (attempt,) = observer.attempts(Message(raw).source, [raw]).values()
    with attempt:
        pass

    assert len(followed.named("process source")) == 1
