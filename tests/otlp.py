"""A receiver of OTLP, as a process of its own: spans and numbers that come are lines of JSON.

    python -m tests.otlp http|grpc FILE

FILE is written with the address once it listens.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Protocol = Literal["http", "grpc"]
DEADLINE = 60.0


@dataclass
class Received:
    """What has come to a receiver."""

    address: str
    protocol: str = "http/protobuf"
    """As `OTEL_EXPORTER_OTLP_PROTOCOL` names it."""
    spans: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[dict[str, Any]] = field(default_factory=list)
    """Of metrics, the latest last."""

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, f"not in time: {self.names}"
            threading.Event().wait(0.02)

    @property
    def names(self) -> list[str]:
        return [span["name"] for span in self.spans]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"] == name]


@contextmanager
def receiver(protocol: Protocol, folder: Path) -> Iterator[Received]:
    """A receiver, as long as the block lasts."""
    told = folder / f"otlp-{protocol}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.otlp", protocol, str(told)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    received = Received("", "grpc" if protocol == "grpc" else "http/protobuf")
    received_in = threading.Thread(target=_read, args=(process, received), daemon=True)
    received_in.start()
    try:
        received.until(lambda: told.exists() and told.read_text().endswith("\n"))
        received.address = told.read_text().strip()
        yield received
    finally:
        process.kill()
        process.wait()
        received_in.join()
        assert process.stdout is not None
        process.stdout.close()


def _read(process: subprocess.Popen[str], received: Received) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        (received.numbers if "number" in told else received.spans).append(told)


def _tell(request: ExportTraceServiceRequest) -> None:
    for resource in request.resource_spans:
        service = _plain(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                told = {
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "kind": span.kind,
                    "links": [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    "attributes": _plain(span.attributes),
                    "resource": service,
                    "scope": scope.scope.name,
                    "failed": span.status.code == 2,
                    "said": span.status.message,
                    "events": [[one.name, dict(_plain(one.attributes))] for one in span.events],
                }
                sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _tell_numbers(request: ExportMetricsServiceRequest) -> None:
    for resource in request.resource_metrics:
        service = _plain(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    told = {
                        "name": metric.name,
                        "kind": kind,
                        "unit": metric.unit,
                        "number": point.as_double or point.as_int,
                        "attributes": _plain(point.attributes),
                        "resource": service,
                    }
                    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _plain(attributes: Any) -> Mapping[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class _Http(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/metrics":
            _tell_numbers(ExportMetricsServiceRequest.FromString(body))
            answer = ExportMetricsServiceResponse().SerializeToString()
        else:
            assert self.path == "/v1/traces"
            _tell(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


def _serve_http(told: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Http)
    told.write_text(f"http://127.0.0.1:{server.server_port}\n")
    server.serve_forever()


def _serve_grpc(told: Path) -> None:
    import grpc  # noqa: PLC0415
    from opentelemetry.proto.collector.metrics.v1 import (  # noqa: PLC0415
        metrics_service_pb2_grpc as metrics,
    )
    from opentelemetry.proto.collector.trace.v1 import (  # noqa: PLC0415
        trace_service_pb2_grpc as service,
    )

    class Metrics(metrics.MetricsServiceServicer):
        def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802
            _tell_numbers(request)
            return ExportMetricsServiceResponse()

    class Traces(service.TraceServiceServicer):
        def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802
            _tell(request)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    register: Any = service.add_TraceServiceServicer_to_server
    register(Traces(), server)
    register = metrics.add_MetricsServiceServicer_to_server
    register(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    told.write_text(f"http://127.0.0.1:{port}\n")
    server.wait_for_termination()


if __name__ == "__main__":
    {"http": _serve_http, "grpc": _serve_grpc}[sys.argv[1]](Path(sys.argv[2]))
