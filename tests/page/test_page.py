"""The page in a real browser, behind the real endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests.chromium import Browser, Page
from tests.page.scenes import EPOCH, Look, Scene, airline, crowd, partition, pipeline, served
from worker.flow.failures import FailureGroup
from worker.flow.health import Counts, Flow, PipelineState, ProcessState, Snapshot
from worker.flow.timing import STAGES

DRAWN = "document.querySelector('svg .line[d]')?.getAttribute('d').length > 0"
FLOW = Flow(("orders",), "double", "doubles", ("orders.dlq",))
HELD = "held by 460, which is not finished"
HOSTILE = "<img src=x onerror=\"document.body.innerHTML='taken'\"><script>alert(1)</script>"


class Visit:
    """Someone who looks at a worker; at the end nothing may have been complained of."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._stack = ExitStack()
        self.address = ""
        self.pages: list[Page] = []

    def to(
        self,
        scene: Scene,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        skew: float = 0.0,
    ) -> Page:
        """Open the page; the browser's clock is `skew` seconds ahead of the worker's."""
        self.address = self._stack.enter_context(served(scene))
        page = self._browser.page(width, height, scheme)
        self.pages.append(page)
        page.fix_time(EPOCH + scene.now + skew)
        page.open(self.address)
        page.until("document.querySelectorAll('.card').length > 0")
        return page

    def leave(self) -> None:
        self._stack.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    visit = Visit(browser)
    yield visit
    for page in visit.pages:
        page.run("0")
        assert page.complaints == []
        asked = {urlsplit(url).netloc for url in page.requests if not url.startswith("data:")}
        assert asked <= {urlsplit(visit.address).netloc}
    visit.leave()


def after(seconds: int, look: Look) -> Scene:
    scene = Scene(look)
    scene.forward(seconds)
    return scene


def still(**changes: object) -> Scene:
    """One pipeline, which does nothing."""
    return after(11, lambda _: (pipeline("doubles", FLOW, **changes),))


def rows(page: Page, table: str) -> list[list[str]]:
    script = f"[...document.querySelectorAll('#{table} tbody tr')]"
    found: list[list[str]] = page.run(f"{script}.map(r => [...r.cells].map(c => c.textContent))")
    return found


def cards(page: Page) -> list[str]:
    """Names of the pipelines that are shown, from the top."""
    script = "[...document.querySelectorAll('.card:not([hidden]) h3')].map(h => h.textContent)"
    found: list[str] = page.run(script)
    return found


def test_pipelines_are_drawn_from_topics_through_handlers_to_topics(visit: Visit) -> None:
    page = visit.to(after(905, airline))
    page.until(DRAWN)

    script = "[...document.querySelectorAll('.card')].find(c => c.card.name === 'delays')"
    flow = page.run(f"{script}.querySelector('.flow').innerText").split("\n")

    assert [line for line in flow if line in {"flights", "flights.late", "delays", "flights.dlq"}]
    assert "4 partitions" in flow
    assert any(line.startswith("3 dead letters: rejected 3") for line in flow)
    assert any(line.endswith("/s") and line != "0/s" for line in flow)


def test_each_pipeline_has_plots_of_throughput_lag_and_latency_and_rebalances_on_the_time_axis(
    visit: Visit,
) -> None:
    page = visit.to(after(905, airline))
    page.until(DRAWN)

    script = "[...document.querySelectorAll('.card')].find(c => c.card.name === 'bookings')"
    lines = page.run(f"[...{script}.querySelectorAll('svg .line')].map(l => l.getAttribute('d'))")
    svgs = f"[...{script}.querySelectorAll('svg')]"
    ticks = page.run(f"{svgs}.map(one => one.querySelectorAll('.tick').length)")

    assert len(lines) == 4
    assert all(line.count("L") > 170 for line in lines)
    assert ticks == [2, 2, 2]


def test_figures_and_plots_change_while_one_looks(visit: Visit) -> None:
    counts = {"received": 0}
    scene = Scene(
        lambda _: (
            pipeline(
                "doubles",
                FLOW,
                received_rate=counts["received"] / 10,
                counts=Counts(received=counts["received"]),
            ),
        )
    )
    scene.forward(6)
    page = visit.to(scene)
    page.until(DRAWN)
    before = page.run("document.querySelector('svg .line.in').getAttribute('d')")

    counts["received"] = 4321
    scene.forward(5)

    page.until("document.querySelector('.totals').innerText.includes('4,321')")
    page.until(f"document.querySelector('svg .line.in').getAttribute('d') !== '{before}'")
    assert "432/s" in page.run("document.querySelector('.before').innerText")
    told = page.run("document.querySelector('svg').getAttribute('aria-label')")
    assert "in now 864/s, lowest 0/s, highest 864/s; out now 0/s" in told


def test_what_is_wrong_comes_first_and_says_why(visit: Visit) -> None:
    page = visit.to(after(905, airline))

    assert cards(page)[-1] == "delays"
    assert page.run("document.getElementById('state').textContent") == "not ready"
    assert page.title().startswith("! flights")
    text = page.run("document.body.textContent")
    assert "notify: breaker smtp is open: 12 failures in a row" in text
    assert "its handler has been at bookings[1]@" in text


STATE = "document.querySelector('.card .state')"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"denied": "topic x"}, "is not allowed: topic x"),
        ({"silent_for": 99.0}, "no broker has answered for 99 s"),
        ({"missing": ("orders",)}, "topics to read do not exist: orders"),
        ({"coordinated": False}, "the coordinator of its group is not connected"),
        ({"renewed": "fatal"}, "has given its clients up: fatal"),
    ],
)
def test_a_card_is_red_for_the_reasons_of_readyz(
    visit: Visit, changes: dict[str, object], why: str
) -> None:
    page = visit.to(still(**changes))

    assert page.run(f"[{STATE}.textContent, {STATE}.className]") == ["not ready", "state bad"]
    assert page.run("document.querySelector('.card .why').textContent") == why


def test_a_pipeline_that_has_not_joined_yet_is_neither_green_nor_red(visit: Visit) -> None:
    page = visit.to(still(joined=False))

    assert page.run(f"[{STATE}.textContent, {STATE}.className]") == ["not ready", "state "]


def test_what_has_stopped_a_pipeline_is_among_the_errors(visit: Visit) -> None:
    page = visit.to(still(failed="a poison pill", status="failed"))

    (found,) = rows(page, "t-errors")
    assert (found[0], found[1], found[-1]) == ("doubles", "stopped for good", "a poison pill")


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_times_are_told_by_the_clock_of_the_worker(visit: Visit, skew: float) -> None:
    failure = FailureGroup("dead-lettered", "rejected", "X", "", 3, "orders", 0, 5, EPOCH + 595)
    scene = after(605, lambda _: (pipeline("doubles", FLOW, failures=(failure,)),))
    page = visit.to(scene, skew=skew)

    up = "[...document.querySelectorAll('#figures div')].at(-1).lastElementChild.textContent"
    assert page.run(up) == "10 min"
    assert rows(page, "t-errors")[0][5] == "10 s"


def test_partitions_that_come_and_go_make_no_rate(visit: Visit) -> None:
    flow = Flow(("orders", "late"), "double", "doubles")
    late = partition("late", 0, 10)
    found = [partition("orders", 0, 1_000)]
    scene = after(11, lambda _: (pipeline("doubles", flow, partitions=(*found, late)),))
    page = visit.to(scene)
    arrows = "[...document.querySelectorAll('.before .arrow')].map(one => one.textContent)"

    for other in (1, 0):
        found[0] = partition("orders", other, 50_000_000 * (1 + other))
        scene.forward(1)
        page.run("turn()")
        assert page.run(arrows) == ["\u2013", "0/s"]
    found[0] = partition("orders", 0, 50_000_010)
    scene.forward(1)
    page.run("turn()")
    assert page.run(arrows) == ["10/s", "0/s"]


def test_where_the_time_goes_is_that_of_the_last_minute(visit: Visit) -> None:
    spent = {"waiting": 86_400.0, "handler": 5.0}
    scene = after(11, lambda _: (pipeline("doubles", FLOW, counts=Counts(stages=dict(spent))),))
    page = visit.to(scene)
    told = "document.querySelector('.shares').innerText"
    assert page.run("document.querySelector('.shares').hidden")

    for handler, waiting in ((10.0, 10.0), (70.0, 0.0)):
        spent["handler"] += handler
        spent["waiting"] += waiting
        scene.forward(int(handler + waiting))
        page.run("turn()")

    assert page.run(told) == "Where the time went in the last minute: handler 100 %"


STAGE_COLOURS = """
(() => {
  const look = e => { const style = getComputedStyle(e); return style.boxShadow === 'none' ? style.backgroundColor : 'hollow'; };
  const of = where => Object.fromEntries([...document.querySelectorAll(where)].map(e => [e.dataset.stage, look(e)]));
  return [...document.querySelectorAll('.card')].map((_, i) => ['.track', 'p'].map(part => of(`.card:nth-child(${i + 1}) .shares ${part} i`)));
})()
"""  # noqa: E501 - a script


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_stage_has_one_colour_which_its_share_is_told_with_and_waiting_has_none(
    visit: Visit, scheme: str
) -> None:
    spent: list[list[str]] = [[*STAGES], ["waiting", "handler"], ["handler"]]
    scene = Scene(
        lambda now: tuple(
            pipeline(str(n), FLOW, counts=Counts(stages=dict.fromkeys(stages, now)))
            for n, stages in enumerate(spent)
        )
    )
    scene.forward(11)
    page = visit.to(scene, scheme=scheme)
    scene.forward(10)
    page.run("turn()")

    (every, legend), (some, _), (only, _) = page.run(STAGE_COLOURS)

    assert list(every) == list(STAGES)
    assert len(set(every.values())) == len(STAGES)
    assert legend == every
    assert every["waiting"] == "hollow"
    assert some == {"waiting": "hollow", "handler": every["handler"]}
    assert only == {"handler": every["handler"]}


@pytest.mark.parametrize("width", [320, 800])
def test_a_long_name_makes_no_page_wider(visit: Visit, width: int) -> None:
    scene = still()
    scene.name = "n" * 100

    page = visit.to(scene, width)

    assert page.run("document.documentElement.scrollWidth") == width


def test_a_worker_in_good_order_is_ready_and_has_no_alarm(visit: Visit) -> None:
    page = visit.to(still())

    assert page.run("document.getElementById('state').textContent") == "ready"
    assert page.run("[...document.querySelectorAll('.alarm')].every(one => one.hidden)")


def test_partitions_are_listed_with_what_holds_them_the_held_ones_first(visit: Visit) -> None:
    held = replace(partition("orders", 1, 500, lag=70, in_flight=40), held_by=460)
    waiting = replace(partition("g.retry.0", 0, 8, lag=2), paused=True, due_in=40.0)
    plain = partition("orders", 0, 123456, lag=900)
    page = visit.to(still(partitions=(plain, held, waiting)))

    assert rows(page, "t-partitions") == [
        ["orders[1]", "doubles", "500", "460", "530", "70", "40", HELD],
        ["g.retry.0[0]", "doubles", "8", "8", "10", "2", "0", "next one is due in 40 s"],
        ["orders[0]", "doubles", "123.5K", "123.5K", "124.4K", "900", "0", ""],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"progress": "stuck"}, "has messages and stands: nothing has helped"),
        ({"progress": "hopeless"}, "has messages and stands: nothing has helped"),
        ({"progress": "repaired"}, "has messages and stands: it is repaired"),
        ({"flooded": True}, "flooded: one message at a time, since too many fail"),
        ({"suspect": 5}, "tries 5 alone: it may have ended the worker"),
        ({"starts": 3}, "tried one at a time, since 3 owners in a row have ended"),
        ({"fenced": 12}, "12 lanes wait behind retries"),
        (
            {"paused": True, "paused_by": "blocked"},
            "paused: results or dead letters cannot be delivered",
        ),
        ({"paused": True}, "paused: enough is in flight"),
    ],
)
def test_whatever_can_hold_a_partition_is_said(
    visit: Visit, changes: dict[str, object], says: str
) -> None:
    found = replace(partition("orders", 0, 9), **changes)  # type: ignore[arg-type]
    page = visit.to(still(partitions=(found,)))

    assert [row[-1] for row in rows(page, "t-partitions")] == [says]


def test_errors_are_listed_by_class_with_counts_and_the_place_of_an_example(visit: Visit) -> None:
    away = FailureGroup(
        "tried again", "handler_error", "ConnectionError", "", 303, "orders", 2, 63669, EPOCH + 1
    )
    page = visit.to(still(failures=(away,)))

    place = ["303", "orders[2]@63669", "10 s", ""]
    assert rows(page, "t-errors") == [
        ["doubles", "ConnectionError (handler_error)", "tried again", *place]
    ]


def test_text_from_outside_is_never_markup(visit: Visit) -> None:
    flow = Flow((HOSTILE,), HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,))
    state = replace(
        pipeline(HOSTILE, flow, counts=Counts(dead_lettered={HOSTILE: 1}), failed=HOSTILE),
        group=HOSTILE,
        breaker_open=HOSTILE,
        partitions=(partition(HOSTILE, 0, 1),),
        failures=(FailureGroup(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE, 0, 1, EPOCH),),
    )
    scene = after(6, lambda _: (state,))
    scene.name = HOSTILE
    page = visit.to(scene)
    page.until(DRAWN)

    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("document.querySelectorAll('script').length") == 1
    assert page.text().count("onerror") > 8


INTRUSION = """
  const script = Object.assign(document.createElement('script'), {text: 'window.taken = 1'});
  document.body.append(script);
  document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.taken = 1">');
"""


def test_the_policy_keeps_foreign_scripts_from_running_should_any_get_in(visit: Visit) -> None:
    page = visit.to(still())

    page.run(INTRUSION)
    answer = page.run("fetch('http://192.0.2.1/').catch(() => 'refused')")

    assert answer == "refused"
    assert page.run("window.taken === undefined")
    assert len(page.complaints) >= 3
    assert all("Content Security Policy" in text for text in page.complaints)
    page.complaints.clear()
    page.requests.clear()


def test_a_worker_that_does_not_answer_is_said_so_until_it_does(browser: Browser) -> None:
    scene = still()
    with served(scene) as address:
        page = browser.page()
        page.open(address)
        page.until("document.getElementById('state').textContent === 'ready'")

    page.until("document.getElementById('state').textContent === 'does not answer'")
    assert "The worker does not answer since" in page.run(
        "document.getElementById('away').innerText"
    )
    assert ("alert", "") in page.tree() or "alert" in {role for role, _ in page.tree()}
    assert page.run("document.body.classList.contains('stale')")
    assert cards(page) == ["doubles"]

    with served(scene, int(address.rpartition(":")[2])):
        page.until("document.getElementById('state').textContent === 'ready'")
        assert page.run("document.getElementById('away').hidden")


def broken(_: float) -> tuple[PipelineState, ...]:
    raise ValueError("a defect")


def test_a_worker_that_answers_with_an_error_is_said_so(visit: Visit) -> None:
    scene = still()
    page = visit.to(scene)

    scene.look = broken
    page.until("!document.getElementById('away').hidden")

    assert "/stats answers 500" in page.text()
    page.run("0")
    page.complaints.clear()


def test_fifty_pipelines_and_five_hundred_partitions_work(visit: Visit) -> None:
    page = visit.to(after(905, crowd))
    page.until(DRAWN)

    assert cards(page)[0] == "pipeline-33"
    assert len(cards(page)) == 50
    assert len(rows(page, "t-partitions")) == 50
    drawn = "filter(card => card.querySelector('svg .line[d]')).length"
    assert (
        page.run(f"[...document.querySelectorAll('.card')].{drawn}") < 20
    )  # what is far below is drawn when it is looked at

    page.run("document.getElementById('more').click()")
    assert len(rows(page, "t-partitions")) == 500
    page.run("[...document.querySelectorAll('.card')].at(-1).scrollIntoView()")
    page.until(
        "[...document.querySelectorAll('.card')].at(-1).querySelector('svg .line[d]') !== null"
    )


BORN = """
  window.born = 0;
  new MutationObserver(all => {
    for (const one of all) born += [...one.addedNodes].filter(node => node.nodeType === 1).length;
  }).observe(document.body, {childList: true, subtree: true});
"""


def test_a_renewal_makes_no_element_anew(visit: Visit) -> None:
    scene = after(905, crowd)
    page = visit.to(scene)
    page.until(DRAWN)
    page.run("document.getElementById('more').click()")
    page.run(BORN)

    scene.forward(1)
    page.run("turn()")

    assert rows(page, "t-partitions")[-1][2] == "44,394"
    assert page.run("born") == 0


def test_the_filter_keeps_what_matches_all_words(visit: Visit) -> None:
    page = visit.to(after(12, crowd))

    page.run("document.getElementById('filter').focus()")
    page.write("PIPELINE handler_7")
    page.until("document.getElementById('n-pipelines').textContent === '1 of 50'")

    assert cards(page) == ["pipeline-07"]
    page.run("document.getElementById('filter').value = ''")
    page.write("topic-07[3]")
    page.until("document.getElementById('n-partitions').textContent === '1'")
    assert [row[0] for row in rows(page, "t-partitions")] == ["topic-07[3]"]


FOCUSED = "(e => e.id || e.getAttribute('href') || e.className)(document.activeElement)"


def test_everything_is_reached_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit.to(after(905, airline))
    page.until(DRAWN)

    reached = []
    for _ in range(16):
        page.press("Tab", 9)
        reached.append(page.run(FOCUSED))

    assert reached[:5] == ["#pipelines", "#pipelines", "#errors", "#partitions", "filter"]
    assert reached.count("plots") == 3
    assert "scroll" in reached
    assert "/stats" in reached


def test_arrow_keys_read_single_moments_of_the_plots_aloud(visit: Visit) -> None:
    page = visit.to(after(905, airline))
    page.until(DRAWN)
    page.run("document.querySelector('.plots').focus()")
    aloud = "[...document.querySelectorAll('.spoken')].map(one => one.textContent).join('')"

    page.press("Home", 36)
    first = page.run(aloud)
    page.press("ArrowRight", 39)
    second = page.run(aloud)
    page.press("Escape", 27)

    said = r"\d\d:\d\d:\d\d: in 210/s, out 210/s, lag 4,\d{3}, latency \d+ ms"
    assert re.fullmatch(said, first)
    assert re.fullmatch(said, second)
    assert first < second
    assert page.run(aloud) == ""
    assert page.run("document.querySelector('.moment').textContent") == ""


def test_a_pointer_over_a_plot_reads_the_moment_under_it(visit: Visit) -> None:
    page = visit.to(after(905, airline))
    page.until(DRAWN)
    box = page.run("(b => [b.left + b.width / 2, b.top + b.height / 2])"
                   "(document.querySelector('svg').getBoundingClientRect())")  # fmt: skip

    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])

    page.until("document.querySelector('.moment').textContent !== ''")
    assert page.run("document.querySelector('svg .cursor').getAttribute('visibility')") == "visible"


def test_a_screen_reader_is_told_of_landmarks_headings_tables_and_what_plots_show(
    visit: Visit,
) -> None:
    page = visit.to(after(905, airline))
    page.until(DRAWN)
    tree = page.tree()

    assert {"banner", "main", "navigation", "contentinfo"} <= {role for role, _ in tree}
    headings = [name for role, name in tree if role == "heading"]
    assert headings[0] == "flightsstream-worker 1.4.0"
    assert {"delays", "bookings", "notify"} <= set(headings)
    captions = page.run(
        "[...document.querySelectorAll('table')].map(t => t.caption.textContent.length)"
    )
    assert min(captions) > 20
    assert page.run("[...document.querySelectorAll('thead th')].every(h => h.scope === 'col')")
    assert page.run(
        "[...document.querySelectorAll('tbody tr')].every(r => r.cells[0].scope === 'row')"
    )
    plots = [name for role, name in tree if role in {"image", "img"}]
    assert len(plots) == 9
    assert all(" of the last 15 minutes: " in name for name in plots)
    assert any("lag now 55,0" in name or "lag now 5" in name for name in plots)
    assert ("searchbox", "Filter by pipeline, topic, handler or error") in tree
    assert "status" in {role for role, _ in tree}


def test_a_page_that_nobody_looks_at_asks_nothing(visit: Visit) -> None:
    page = visit.to(still())
    page.run("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.run("window.before = 0; turn().then(() => { before = timer; return turn(); })")
    assert page.run("timer === before")

    page.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.until("timer !== before")


def test_what_is_focused_keeps_its_place_when_others_overtake_it(visit: Visit) -> None:
    failed: dict[str, str | None] = {"second": None}
    scene = Scene(
        lambda _: tuple(pipeline(n, FLOW, failed=failed.get(n)) for n in ("first", "second"))
    )
    scene.forward(6)
    page = visit.to(scene)
    page.run("document.querySelector('.plots').focus()")

    failed["second"] = "a poison pill"
    page.until("document.querySelector('#reasons li') !== null")
    assert cards(page) == ["first", "second"]

    page.run("document.activeElement.blur()")
    page.until("document.querySelector('.card h3').textContent === 'second'")


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_the_page_is_never_wider_than_the_window(visit: Visit, width: int) -> None:
    page = visit.to(after(905, airline), width=width)
    page.until(DRAWN)

    assert page.run("document.documentElement.scrollWidth") <= width


CONTRAST = """
(() => {
  const parse = c => { const ctx = document.createElement('canvas').getContext('2d'); ctx.fillStyle = c; ctx.fillRect(0, 0, 1, 1); return [...ctx.getImageData(0, 0, 1, 1).data]; };
  const light = c => { const [r, g, b] = parse(c).slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (parse(c)[3] > 200) return c; } return getComputedStyle(document.body).backgroundColor; };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length || e.closest('script,style,.hidden,.skip,noscript')) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05) ;
    if (ratio < 4.5) bad.push(`${e.className} ${e.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return bad;
})()
"""  # noqa: E501 - a script


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast_in_light_and_dark(visit: Visit, scheme: str) -> None:
    page = visit.to(after(905, airline), scheme=scheme)
    page.until(DRAWN)

    assert page.run(CONTRAST) == []
    dark = page.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 23)"
    assert dark is (scheme == "dark")


def test_several_processes_are_listed_with_how_each_one_is(visit: Visit) -> None:
    class Two(Scene):
        def snapshot(self) -> Snapshot:
            one = super().snapshot()
            processes = (
                ProcessState(0, pid=17, restarts=2, snapshot=one),
                ProcessState(1, ended="ended with signal SIGKILL, starts again"),
            )
            return replace(one, processes=processes)

    scene = Two(lambda _: (pipeline("doubles", FLOW),))
    scene.forward(6)
    page = visit.to(scene)

    assert page.run("document.getElementById('processes').getClientRects().length") == 1
    assert "Processes" in page.run("document.querySelector('nav').innerText")
    assert rows(page, "t-processes") == [
        ["0", "17", "2", "ready"],
        ["1", "\N{EN DASH}", "0", "ended with signal SIGKILL, starts again"],
    ]


def starting(_: float) -> tuple[PipelineState, ...]:
    return ()


def test_a_worker_without_pipelines_yet_says_what_it_waits_for(
    visit: Visit, browser: Browser
) -> None:
    class Waiting(Scene):
        def snapshot(self) -> Snapshot:
            return replace(super().snapshot(), starting="no broker answered")

    with served(Waiting(starting)) as address:
        page = browser.page()
        page.open(address)
        page.until("document.getElementById('reasons').innerText === 'no broker answered'")
        assert page.complaints == []
