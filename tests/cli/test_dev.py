"""The whole of `worker dev` on the embedded broker."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.rig import SPEC, environment, shop, worker


def feed(folder: Path, numbers: range) -> Path:
    file = folder / "orders.jsonl.gz"
    content = "".join(json.dumps({"id": f"o{n}", "number": n}) + "\n" for n in numbers)
    file.write_bytes(gzip.compress(content.encode() + b'{"number": \n'))
    return file


def test_everything_fed_goes_through_both_pipelines_and_is_accounted_for(tmp_path: Path) -> None:
    shop(tmp_path)
    fed = feed(tmp_path, range(-10, 200))

    code, out, err = worker(
        "dev", "shop.yaml", "--feed", f"orders={fed}", "--feed-key", "orders=id", folder=tmp_path
    )

    assert code == 0, err
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "doubles 211 200 0 11 (rejected 10, undecodable 1) 0" in rows
    assert "large 200 150 50 0 0" in rows
    assert "every message is accounted for" in out
    assert "the embedded broker has dropped nothing" in out
    assert "dlq.message=negative\\x1b[2J" in out
    assert "embedded broker at" in json.loads(err.splitlines()[0])["message"]
    assert all(json.loads(line)["logger"] for line in err.splitlines())


def test_it_waits_for_what_waits_in_retry_topics_and_counts_each_message_once(
    tmp_path: Path,
) -> None:
    shop(
        tmp_path,
        SPEC.replace(
            "handler: double,", "handler: flaky, ordering: key, retry: {topics: [1s, 2s]},"
        ),
    )
    fed = tmp_path / "orders.jsonl"
    orders = [("once", 0), ("never", -1), ("never", 100), ("well", 200)]
    fed.write_text("".join(json.dumps({"id": i, "number": n}) + "\n" for i, n in orders))

    code, out, err = worker(
        "dev", "shop.yaml", "--feed", f"orders={fed}", "--feed-key", "orders=id", folder=tmp_path
    )

    assert code == 0, out + err
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "doubles 4 3 0 1 (handler_error 1) 0" in rows
    assert "large 3 2 1 0 0" in rows
    assert "shop.doubles.retry.0 3" in rows
    assert "shop.doubles.retry.1 2" in rows
    assert "every message is accounted for" in out


def test_only_some_pipelines_run_when_told_so(tmp_path: Path) -> None:
    shop(tmp_path)
    fed = feed(tmp_path, range(3))

    code, out, _ = worker(
        "dev", "shop.yaml", "--feed", f"orders={fed}", folder=tmp_path, WORKER_ONLY="doubles"
    )

    assert code == 0
    assert "4 messages in " in out


def test_a_file_that_breaks_off_ends_it_with_1(tmp_path: Path) -> None:
    shop(tmp_path)
    fed = feed(tmp_path, range(100))
    fed.write_bytes(fed.read_bytes()[:-12])

    code, out, err = worker("dev", "shop.yaml", "--feed", f"orders={fed}", folder=tmp_path)

    assert (code, out) == (1, "")
    assert "orders.jsonl.gz cannot be read" in err
    assert "Traceback" not in err


def test_more_than_the_embedded_broker_keeps_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    shop(tmp_path)
    fed = tmp_path / "large.jsonl"
    line = json.dumps({"id": "same", "number": 1, "filler": "x" * 100_000})
    fed.write_text(f"{line}\n" * 80)

    code, out, err = worker(
        "dev", "shop.yaml", "--feed", f"orders={fed}", "--feed-key", "orders=id", folder=tmp_path
    )

    assert code == 1
    assert "dropped" in out, err


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "pipelines:",
            "topics: {orders: {partitions: 8}}\npipelines:",
            "shop.yaml:5:19: topics.orders.partitions: 8; the embedded broker makes 4: ",
        ),
        ("handler: large", "handler: larg", "shop.yaml:7:"),
    ],
)
def test_a_spec_that_cannot_work_ends_with_78_and_says_where(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    shop(tmp_path, SPEC.replace(old, new))

    code, out, err = worker("dev", "shop.yaml", folder=tmp_path)

    assert (code, out) == (78, "")
    assert problem in err
    assert "Traceback" not in err


def test_without_a_feed_it_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    shop(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "dev", "shop.yaml"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("assigned doubles[0]" in line for line in process.stderr)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "Traceback" not in err


def test_closed_streams_keep_nothing_from_running(tmp_path: Path) -> None:
    shop(tmp_path)
    fed = feed(tmp_path, range(3))
    command = f"exec {sys.executable} -m worker dev shop.yaml --feed orders={fed} >&- 2>&-"

    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tmp_path, env=environment(), timeout=60, check=False
    )

    assert done.returncode == 0
