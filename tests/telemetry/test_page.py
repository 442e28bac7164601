"""The live page in a real browser."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import time

import pytest

from ipa_seldon.plan import Allocation, Decision, Outcome
from ipa_seldon.telemetry.live import LiveTelemetry, live_page
from ipa_seldon.telemetry.status import Shown
from tests.browser import Tab, browsing, needs_chromium
from tests.telemetry.rounds import Rounds, toy

pytestmark = [pytest.mark.browser, needs_chromium]
SILENT = "document.body?.classList.contains('silent')"


class Stallable(LiveTelemetry):
    """Tells nothing while ``going`` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.going = threading.Event()
        self.going.set()

    @property
    def pipelines(self) -> Sequence[Shown]:
        """Those watched now, when it goes on."""
        self.going.wait()
        return super().pipelines


class Served:
    """A page, and the loops it shows."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.telemetry = Stallable()
        self.server = ExitStack()
        self.loops = ExitStack()
        self.url = self.server.enter_context(live_page(self.telemetry, 0))

    def pipeline(self, name: str = "toy", stage: str = "double") -> Rounds:
        """One more, without rounds; ``stage`` is the name of its first stage."""
        config = toy(self._directory, name)
        first, second = config.pipeline.stages
        stages = (replace(first, name=stage), second)
        config = replace(config, pipeline=replace(config.pipeline, stages=stages, edges=((stage, second.name),)))
        return Rounds(config, self.loops.enter_context(self.telemetry.watching(config, lambda _: None)))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Until the test ends, or closes it."""
    made = Served(tmp_path)
    with made.server, made.loops:
        yield made
        made.telemetry.going.set()


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    """Of a browser of its own."""
    async with browsing() as opened:
        yield opened


def adapt(loop: Rounds, *loads: float) -> Decision:
    """A round per load, the last of them now."""
    for back, load in zip(range(len(loads) - 1, -1, -1), loads, strict=True):
        decision = loop.round(time() - back, [load] * 60)
    return decision


async def test_a_pipeline_is_shown_and_followed(served: Served, tab: Tab) -> None:
    """Plan, figures, chart and decisions with reasons; a later round appears by itself; nothing is asked of anybody but
    the server, and the page makes no error.
    """
    loop = served.pipeline()
    proposal = adapt(loop, 20.0, 150.0, 150.0).proposal
    assert proposal is not None
    await tab.open(served.url)
    await tab.until("document.querySelector('#plan')")
    stage = proposal.plan["double"][0]
    plan = " ".join((await tab.text("#plan")).split())
    assert f"double {stage.variant} {stage.batch} {stage.replicas} {stage.cores} 100 %" in plan
    tiles = await tab.text(".tiles")
    assert f"{proposal.cost} cores" in tiles
    assert "150 rps" in tiles
    assert "expected of 1 s at p99" in tiles
    for line in ("load", "forecast", "served"):
        d = await tab.ask(f"document.querySelector('#chart path.{line}').getAttribute('d')")
        assert d.startswith("M")
        assert "NaN" not in d
        assert "undefined" not in d
    said = await tab.text("#decisions")
    assert "first plan: double: " in said
    assert "limit" in said
    before = await tab.ask("document.querySelectorAll('#decisions tbody tr').length")
    adapt(loop, 280.0)
    await tab.until(f"document.querySelectorAll('#decisions tbody tr').length === {before + 1}")
    assert "280 rps" in await tab.text(".tiles")
    assert await tab.ask("faults") == []
    assert tab.requests
    assert all(url.startswith(served.url) for url in tab.requests)


async def test_what_is_wanted_is_shown_beside_what_runs(served: Served, tab: Tab) -> None:
    """A plan that could not be applied stands below the one that runs, and the state says why."""
    loop = served.pipeline()
    adapt(loop, 50.0)
    loop.platform.apply_fails = True
    adapt(loop, 150.0)
    await tab.open(served.url)
    await tab.until("document.querySelector('#plan')")
    rows = [line.split() for line in (await tab.text("#plan tbody")).splitlines()]
    assert [(row[0], row[3]) for row in rows] == [("double", "1"), ("wanted", "2"), ("increment", "1"), ("wanted", "2")]
    assert "2 → 4 cores" in await tab.text(".tiles")
    assert await tab.text(".state") == "failed"
    assert "apply: did not follow" in await tab.text(".lead")


async def test_silence_is_seen(served: Served, tab: Tab) -> None:
    """When the server stops answering an alert says so and since when, over what was shown last."""
    adapt(served.pipeline(), 20.0, 150.0)
    await tab.open(served.url)
    await tab.until("document.querySelector('#plan')")
    assert not await tab.ask(SILENT)
    assert await tab.ask("getComputedStyle(document.querySelector('#alert')).display") == "none"
    served.server.close()
    await tab.until(SILENT)
    assert "The adapter has not answered since" in await tab.text("#alert")
    assert "light" in await tab.text("#plan")


async def test_an_answer_that_does_not_come_is_seen(served: Served, tab: Tab) -> None:
    """A server that takes the question and keeps silent is as one that is gone; when it goes on, so does the page."""
    adapt(served.pipeline(), 20.0, 150.0)
    await tab.open(served.url)
    await tab.until("document.querySelector('#plan')")
    served.telemetry.going.clear()
    await tab.until(SILENT)
    assert "The adapter has not answered since" in await tab.text("#alert")
    served.telemetry.going.set()
    await tab.until(f"!{SILENT}")


async def test_a_loop_that_stopped_is_seen(served: Served, tab: Tab) -> None:
    """The server answers, but of old rounds: an alert names the pipeline."""
    served.pipeline().round(time() - 100, [50.0] * 10)
    await tab.open(served.url)
    await tab.until(SILENT)
    assert "toy: no round for 1" in await tab.text("#alert")
    assert await tab.text(".state") == "stale"


async def test_a_fleet_is_listed_and_each_can_be_opened(served: Served, tab: Tab) -> None:
    """An overview of all, a click for one, a link back; one that goes is missed in words."""
    for name, load in (("audio", 50.0), ("video", 250.0)):
        adapt(served.pipeline(name), load)
    await tab.open(served.url)
    await tab.until("document.querySelectorAll('tbody tr').length === 2")
    assert "250 rps" in await tab.text()
    await tab.ask("[...document.querySelectorAll('a')].find((a) => a.innerText === 'video').click()")
    await tab.until("document.querySelector('#plan')")
    assert "video" in await tab.text(".lead")
    await tab.ask("document.querySelector('a').click()")
    await tab.until("document.querySelectorAll('tbody tr').length === 2 && !document.querySelector('#plan')")
    await tab.ask("location.hash = '#audio'")
    await tab.until("document.querySelector('#plan')")
    served.loops.close()
    await tab.until("document.body.innerText.includes('That pipeline is not adapted any more.')")
    assert await tab.ask("faults") == []


async def test_text_of_documents_is_never_markup(served: Served, tab: Tab) -> None:
    """Pipelines, stages, variants and errors that are HTML are shown as they are written, and do nothing."""
    evil = "<img src=x onerror=faults.push('run')>"
    loop = served.pipeline(evil, f"{evil}s")
    decision = adapt(loop, 50.0)
    assert decision.proposal is not None
    plan = {f"{evil}s": (Allocation(f"{evil}v", 1, 1, 1),)}
    observed = replace(decision.observation, plan=plan)
    (shown,) = served.telemetry.pipelines
    shown.history(Decision(observed, Outcome.REFUSED, 5.0, replace(decision.proposal, plan=plan), f"{evil}e"))
    adapt(served.pipeline("quiet"), 5.0)
    served.telemetry.invalid = {evil: f"{evil}w"}
    await tab.open(served.url)
    await tab.until("document.querySelectorAll('tbody tr').length === 3")
    assert f"{evil}w" in await tab.text()
    await tab.ask("document.querySelector('a').click()")
    await tab.until("document.querySelector('#plan')")
    said = await tab.text()
    assert all(f"{evil}{mark}" in said for mark in "svew")
    assert await tab.ask("document.querySelectorAll('img').length") == 0
    assert await tab.ask("faults") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_readable_on_a_phone_and_in_the_dark(served: Served, tab: Tab, scheme: str) -> None:
    """Nothing is wider than the screen of a phone, and ink stands out from the ground in either scheme."""
    adapt(served.pipeline(), 20.0, 150.0)
    await tab.window(375, 700, scheme)
    await tab.open(served.url)
    await tab.until("document.querySelector('#plan')")
    assert await tab.ask("document.documentElement.scrollWidth") <= 375
    for style in ("color", "backgroundColor"):
        shade = await tab.ask(f"getComputedStyle(document.body).{style}.match(/\\d+/g).slice(0, 3).map(Number)")
        assert (max(shade) < 80) == ((style == "color") == (scheme == "light"))
        assert (min(shade) > 200) == ((style == "color") != (scheme == "light"))
