"""The examples of docs/retries.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.flaky import Flaky, later
from tests.engine.rig import GROUP, Rig
from worker.errors import Retry
from worker.flow import later as later_headers
from worker.flow.retry import delay
from worker.handlers import REGISTRY
from worker.settings import Pipeline, RetrySettings
from worker.settings.topics import retry_topic
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


def specs() -> list[dict[str, Any]]:
    """The pipelines of the page's specs: in place, then with topics."""
    texts = [text.replace(" on:", ' "on":') for text in examples("yaml")]
    return [next(iter(yaml.safe_load(text)["pipelines"].values())) for text in texts]


def settings() -> RetrySettings:
    in_place, _ = specs()
    return Pipeline.model_validate(in_place, context=WRITTEN).retry


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


def with_topics() -> dict[str, Any]:
    """The settings of the second spec, for topics of the rig."""
    _, spec = specs()
    assert Pipeline.model_validate(spec, context=WRITTEN).keeps_order
    return {**{name: spec[name] for name in ("ordering", "retry")}, "dead_letter": "dlq"}


@pytest.mark.parametrize(("seconds", "wait"), [(30.0, "1m"), (300.0, "10m")])
def test_a_longer_wait_leads_to_the_tier_that_the_page_names(seconds: float, wait: str) -> None:
    def asking(_payload: int) -> None:
        raise Retry(delay=seconds)

    rig = Rig(asking, with_topics())
    rig.send("1")

    rig.step()

    tier = with_topics()["retry"]["topics"].index(wait)
    assert rig.values(retry_topic(GROUP, tier)) == ["1"]
    assert re.search(rf"`Retry\(delay={seconds}\)` (goes )?to `{wait}`", PAGE)


def test_a_message_has_as_many_attempts_as_the_page_says_in_place_and_in_topics() -> None:
    flaky = Flaky({1: 99})
    rig = Rig(flaky.handler(), with_topics())
    rig.send("1")

    for _ in range(200):
        later(rig, 60.0)

    assert len(flaky.calls) == 6
    assert "message here has six at most" in PAGE
    assert rig.values("dlq") == ["1"]


def test_the_page_names_each_header_of_a_retry_record() -> None:
    assert {name for name in later_headers.NAMES if f"`{name}`" not in PAGE} == set()


def test_links_of_the_page_lead_to_headings_of_it() -> None:
    titles = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}

    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
