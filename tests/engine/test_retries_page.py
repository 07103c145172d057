"""The examples of docs/retries.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.rig import Rig
from worker.flow.retry import delay
from worker.handlers import REGISTRY
from worker.settings import Pipeline, RetrySettings
from worker.settings.values import WRITTEN

PAGE = (Path(__file__).parents[2] / "docs" / "retries.md").read_text("utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the examples define."""
    monkeypatch.setattr(REGISTRY, "handlers", {})
    scope: dict[str, Any] = {}
    for example in examples("python"):
        exec(compile(example, "retries.md", "exec", dont_inherit=True), scope)
    return scope


def settings() -> RetrySettings:
    (text,) = examples("yaml")
    pipeline = yaml.safe_load(text.replace(" on:", ' "on":'))["pipelines"]["enrich"]
    return Pipeline.model_validate(pipeline, context=WRITTEN).retry


def test_the_spec_is_one_that_retries() -> None:
    assert (settings().attempts, settings().backoff.max) == (5, 30.0)


@pytest.mark.parametrize(("attempts", "shortest", "longest"), [(5, 1.5, 3.0), (10, 40.5, 81.0)])
def test_it_takes_as_long_as_the_page_says_until_a_message_is_given_up(
    attempts: int, shortest: float, longest: float
) -> None:
    def waits(draw: float) -> float:
        return sum(delay(settings().backoff, failures, draw) for failures in range(1, attempts))

    assert [waits(1.0), waits(0.0)] == pytest.approx([shortest, longest])
    assert f"`attempts: {attempts}`" in PAGE
    assert f"{shortest:g} to {longest:g} s" in PAGE


def test_the_handler_puts_off_rejects_and_handles(functions: dict[str, Any]) -> None:
    rig = Rig(functions["charge"], {"retry": {"attempts": 2}, "dead_letter": "dlq"})
    rig.send('{"total":1}', "{}", '{"total":2,"shop":"closed"}')

    rig.step()

    assert rig.values() == ['{"charged":1}']
    assert rig.values("dlq") == ["{}"]
    assert rig.counts.retried == 1


def test_the_batch_handler_tells_those_that_fail_from_the_others(
    functions: dict[str, Any],
) -> None:
    rig = Rig(functions["store"], {"dead_letter": "dlq"}, batch=10)
    rig.send('{"id":1}', "{}", '{"id":3}')

    rig.step()

    assert rig.values("dlq") == ["{}"]
    assert (rig.counts.handled, rig.committed()) == (2, 3)
