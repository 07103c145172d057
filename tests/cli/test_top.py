"""`worker top` beside a real endpoint, in a process, and a terminal where it takes one."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.rig import environment, worker
from tests.page.scenes import Scene, airline, crowd, partition, pipeline, served
from worker.cli.views.panel import duration, panel, spark
from worker.flow.failures import FailureGroup
from worker.flow.health import Counts, Flow, PipelineState
from worker.http import JSON, Response, serve
from worker.observe.stats import stats_json
from worker.operate import watching
from worker.operate.watching import Past, Stats, address_of, url_of
from worker.settings import Server

FLOW = Flow(("orders",), "double", "doubles", ("orders.dlq",))


def scene() -> Scene:
    shown = Scene(airline)
    shown.forward(905)
    return shown


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """Something that always answers this."""
    with closing(serve("127.0.0.1", 0, {"/stats": lambda: Response(status, body, JSON)})) as server:
        yield server.address


class Terminal:
    """`worker top` in a terminal of its own."""

    def __init__(self, address: str, folder: Path) -> None:
        self._end, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker", "top", address],
            cwd=folder,
            env=environment(COLUMNS="150", LINES="40", TERM="xterm"),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self.seen = ""

    def until(self, pattern: str) -> None:
        """Read on until what was seen since the last time matches."""
        while not re.search(pattern, self.seen):
            self.seen += os.read(self._end, 65536).decode("utf-8", "replace")
        self.seen = ""

    def press(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def rest(self) -> str:
        try:
            while part := os.read(self._end, 65536):
                self.seen += part.decode("utf-8", "replace")
        except OSError:  # the other end is closed
            pass
        self.process.wait(30)
        os.close(self._end)
        return self.seen


def shown(
    stats: Stats, past: Past | None = None, width: int = 160, height: int | None = None
) -> str:
    screen = io.StringIO()
    console = Console(file=screen, width=width, color_system=None, highlight=False)
    console.print(panel(stats, past, width, height))
    return screen.getvalue()


def stats_of(*pipelines: PipelineState, **changes: object) -> Stats:
    states = pipelines or (pipeline("doubles", FLOW, **changes),)
    one = Scene(lambda _: states)
    return Stats.model_validate_json(stats_json(one.snapshot()))


def test_without_a_terminal_everything_is_printed_once(tmp_path: Path) -> None:
    with served(scene()) as address:
        code, out, err = worker("top", address, folder=tmp_path)

    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("flights  stream-worker 1.4.0  not ready  up ")
    assert "notify: breaker smtp is open: 12 failures in a row" in out
    assert re.search(r"^bookings +bookings > charge > tickets +not ready +█+", out, re.MULTILINE)
    assert re.search(
        r"^bookings\[1\] +bookings +the handler has been at \d+ for 48 s ", out, re.MULTILINE
    )
    assert re.search(
        r"^CardRefused \(handler_error\) +bookings +dead-lettered +bookings\[0\]@",
        out,
        re.MULTILINE,
    )
    assert "\x1b" not in out


def test_what_is_wrong_comes_first(tmp_path: Path) -> None:
    with served(scene()) as address:
        _, out, _ = worker("top", address, folder=tmp_path)

    order = [
        line.split()[0] for line in out.splitlines() if re.match(r"notify |delays |bookings ", line)
    ]
    assert (set(order[:2]), order[2]) == ({"notify", "bookings"}, "delays")


def test_the_port_alone_needs_no_scheme_and_the_variable_names_a_worker_too(tmp_path: Path) -> None:
    with served(scene()) as address:
        place = address.removeprefix("http://")

        assert worker("top", place, folder=tmp_path)[0] == 0
        assert worker("top", folder=tmp_path, WORKER_URL=place)[0] == 0


def test_characters_that_standard_output_does_not_have_are_escapes(tmp_path: Path) -> None:
    with served(scene()) as address:
        code, out, err = worker("top", address, folder=tmp_path, PYTHONIOENCODING="ascii")

    assert (code, err) == (0, "")
    assert "bookings" in out
    assert r"\u2588" in out


def test_nobody_who_answers_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, out, err = worker("top", f"127.0.0.1:{port}", folder=tmp_path)

    assert (code, out) == (69, "")
    where = f"http://127.0.0.1:{port}/stats"
    assert err == f"Error: no worker answers at {where}: [Errno 111] Connection refused\n"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{}", 404, "answers 404 Not Found"),
        (b"<html>", 200, "does not answer like a worker: the answer: Invalid JSON"),
        (b"[]", 200, "does not answer like a worker: the answer: Input should be an object"),
        (b"{}", 200, "does not answer like a worker: version: Field required"),
        (
            json.dumps(
                {**json.loads(stats_json(Scene(airline).snapshot())), "version": 2}
            ).encode(),
            200,
            "is of version 2, and version 1 is what is understood here",
        ),
    ],
)
def test_whoever_is_no_worker_is_said_so(
    tmp_path: Path, body: bytes, status: int, says: str
) -> None:
    with answering(body, status) as address:
        code, out, err = worker("top", address, folder=tmp_path)

    assert (code, out) == (69, "")
    assert f"Error: http://{address}/stats {says}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "text", ["ftp://host", "http://", "http://host:70000", "file:///etc/passwd"]
)
def test_what_is_no_address_is_a_wrong_command_line(tmp_path: Path, text: str) -> None:
    code, out, err = worker("top", text, folder=tmp_path)

    assert (code, out) == (2, "")
    assert f"{text!r} is no address such as http://host:8080" in err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:8080", "http://host:8080"),
        ("https://host/worker/", "https://host/worker"),
        ("http://[::1]:8080/?a=b#c", "http://[::1]:8080"),
        ("localhost", "http://localhost"),
        ("http://host:0", None),
        ("http://[::1", None),
    ],
)
def test_an_address_is_completed(text: str, address: str | None) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_worker_of_a_spec_answers_where_it_is_asked_on_its_machine(host: str) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    shown = scene().snapshot()
    answer = Response(200, stats_json(shown), JSON)

    with closing(serve(host, 0, {"/stats": lambda: answer})) as server:
        port = int(server.address.rpartition(":")[2])
        assert watching.stats_of(url_of(Server(host=host, port=port)) or "").name == shown.name


def test_an_endpoint_that_is_off_is_asked_nowhere() -> None:
    assert url_of(Server(port=0)) is None


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_worker_without_history_is_shown_without_it(tmp_path: Path) -> None:
    with answering(stats_json(scene().snapshot())) as address:
        code, out, _ = worker("top", address, folder=tmp_path)

    assert code == 0
    assert "delays" in out
    assert "last 15 min" not in out


def test_programs_get_what_it_shows_once(tmp_path: Path) -> None:
    with served(scene()) as address:
        code, out, err = worker("top", address, "--output", "json", folder=tmp_path)

    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["pipelines"].keys() == told["history"].keys() == {"bookings", "delays", "notify"}
    assert told["history"]["delays"]["lag"]


def test_closed_streams_are_no_terminal(tmp_path: Path) -> None:
    with served(scene()) as address:
        command = [sys.executable, "-m", "worker", "top", address]
        shell = ["/bin/sh", "-c", 'exec "$@" <&- >&-', "sh", *command]
        done = subprocess.run(
            shell, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("ends", ["q", "ctrl-c", "sigterm"])
def test_in_a_terminal_it_stays_current_until_told_to_end(tmp_path: Path, ends: str) -> None:
    received = {"now": 1111}
    one = Scene(lambda _: (pipeline("doubles", FLOW, in_flight=received["now"]),))
    with served(one) as address:
        terminal = Terminal(address, tmp_path)
        terminal.until("1,111")
        received["now"] = 2222
        terminal.until("2,222")
        match ends:
            case "q":
                terminal.press(b"q")
            case "ctrl-c":
                terminal.press(b"\x03")
                os.killpg(terminal.process.pid, signal.SIGINT)  # it has no controlling terminal
            case _:
                terminal.process.terminate()
        rest = terminal.rest()

    assert terminal.process.returncode == 0
    assert "\x1b[?1049l" in rest  # the screen is as before
    assert "Traceback" not in rest


def test_a_worker_that_goes_away_is_said_so_until_it_is_back(tmp_path: Path) -> None:
    one = scene()
    with ExitStack() as stack:
        address = stack.enter_context(served(one))
        terminal = Terminal(address, tmp_path)
        terminal.until("not ready")
        stack.close()
        terminal.until("no worker answers at .*since")
        with served(one, int(address.rpartition(":")[2])):
            terminal.until(r"not ready(?!.*no worker answers)")
            terminal.press(b"q")
            terminal.rest()

    assert terminal.process.returncode == 0


def test_a_small_terminal_shows_the_first_rows_and_says_how_many_more_there_are() -> None:
    text = shown(stats_of(*crowd(10)), height=30)

    assert len(text.splitlines()) <= 30
    assert "pipeline-33" in text.splitlines()[4]
    assert "and 44 more" in text


def test_in_a_narrow_terminal_no_figure_is_cut() -> None:
    text = shown(stats_of(counts=Counts(received=1, dead_lettered={"timeout": 123456})), width=40)

    assert "  dead letters 123,456" in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"held_by": 5}, "held by 5, which is not finished"),
        ({"progress": "stuck"}, "has messages and stands: nothing has helped"),
        ({"progress": "repaired"}, "has messages and stands: it is repaired"),
        ({"flooded": True}, "flooded: one message at a time, since too many fail"),
        ({"suspect": 5}, "tries 5 alone: it may have ended the worker"),
        ({"starts": 3}, "tried one at a time, since 3 owners in a row have ended"),
        ({"due_in": 40.0}, "next one is due in 40 s"),
        ({"fenced": 12}, "12 lanes wait behind retries"),
        (
            {"paused": True, "paused_by": "blocked"},
            "paused: results or dead letters cannot be delivered",
        ),
        ({"paused": True}, "paused: enough is in flight"),
    ],
)
def test_whatever_can_hold_a_partition_is_said(changes: dict[str, object], says: str) -> None:
    held = replace(partition("orders", 3, 9), **changes)  # type: ignore[arg-type]

    text = shown(stats_of(partitions=(held, partition("orders", 4, 9))))

    assert re.search(rf"^orders\[3\] +doubles +{says} ", text, re.MULTILINE)
    assert "orders[4]" not in text


def test_text_from_outside_is_escaped() -> None:
    hostile = "\x1b[2J[red]"
    failure = FailureGroup(hostile, hostile, hostile, hostile, 1, hostile, 0, 1, 5.0)

    flow = Flow((hostile,), hostile)
    text = shown(stats_of(pipeline(hostile, flow, failed=hostile, failures=(failure,))))

    assert "\x1b" not in text
    assert "\\x1b[2J[red]" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (1.4, "1 s"),
        (119, "119 s"),
        (180, "3 min"),
        (7200, "2 h"),
        (172800, "2 d"),
    ],
)
def test_times_are_told_in_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_plot_has_the_newest_on_the_right_and_blanks_for_what_is_not_known() -> None:
    values = [None] * 90 + [0.0] * 45 + [8.0] * 45

    assert len(spark(values)) <= 26
    assert re.fullmatch(r" +▁+.?█+", spark(values))
    assert spark([]).strip() == ""
