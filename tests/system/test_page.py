"""The page of workers that run on a real Kafka, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chromium import Browser
from tests.system.rig import Kafka, Spec, unique

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("processes", [1, 2])
def test_a_running_worker_is_drawn_with_what_it_has_handled_and_what_has_failed(
    kafka: Kafka, tmp_path: Path, browser: Browser, processes: int
) -> None:
    letters = unique("dlq")
    spec = Spec(kafka, tmp_path, "need_file", {"dead_letter": letters})
    spec.create_topics()
    kafka.create(letters)
    there, gone = json.dumps({"file": __file__}), json.dumps({"file": "nowhere"})

    with spec.worker("--processes", str(processes)) as worker:
        worker.until(lambda: worker.is_ready() and worker.owned() >= 4)
        page = browser.page()
        page.open(worker.address)
        page.until("document.getElementById('state').textContent === 'ready'")
        page.until("document.querySelector('svg .line[d]')?.getAttribute('d').length > 0")
        payloads = [there] * 90 + [gone] * 10
        records = [(None, payload.encode(), n % 4) for n, payload in enumerate(payloads)]
        kafka.produce(spec.source, records)

        page.until("document.querySelector('.totals').innerText.includes('100')")
        text = "document.querySelector('.flow').innerText"
        page.until(f"{text}.includes('10 dead letters: handler_error 10')")
        page.until(f"{text}.includes('90 results')")
        rows = page.run("document.getElementById('t-errors').tBodies[0].rows.length")
        error = page.run("document.getElementById('t-errors').tBodies[0].rows[0].innerText")
        worker.until(lambda: sum(produced(worker.get("/history"))) == pytest.approx(90, abs=1))
        assert worker.stop() == 0
        page.until("document.getElementById('state').textContent === 'does not answer'")

    assert rows == 1
    assert error.startswith("pipeline\tFileNotFoundError (handler_error)\tdead-lettered\t10\t")
    assert f"\t{spec.source}[" in error
    assert [text for text in page.complaints if "ERR_CONNECTION" not in text] == []


def produced(history: dict[str, object]) -> list[float]:
    """Results in each step."""
    pipelines: dict[str, dict[str, list[float | None]]] = history["pipelines"]  # type: ignore[assignment]
    return [5 * (rate or 0.0) for rate in pipelines["pipeline"]["produced"]]
