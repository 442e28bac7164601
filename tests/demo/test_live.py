"""The live view, on a terminal of rich's own making and on a plain stream."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from ipa_seldon.demo.live import LiveView, Scene
from ipa_seldon.loadgen import RequestOutcome
from ipa_seldon.plan import Outcome, Plan
from ipa_seldon.runs.summary import RunResult
from ipa_seldon.words import duration, figure, share


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    """A console of 140 columns, and what is written to it."""
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=140, color_system=None), stream


def scene(run: RunResult) -> Scene:
    """The scene of a run."""
    return Scene(run.name, run.slo, run.percentile, run.start, run.end - run.start)


def played(run: RunResult, terminal: bool) -> tuple[LiveView, str]:
    """The view after the whole run, and all it wrote."""
    screen, stream = console(terminal)
    with LiveView(scene(run), screen) as view:
        since = run.start
        for decision in run.decisions:
            now = decision.observation.time
            view.update(decision, [r for r in run.records if since <= r.done < now])
            since = now
    return view, stream.getvalue()


def shown(view: LiveView) -> str:
    """The view as plain text."""
    screen, stream = console(terminal=False)
    screen.print(view.render())
    return stream.getvalue()


def test_the_table_shows_every_stage_and_figure(make_run: Callable[..., RunResult]) -> None:
    """A row per stage with its variant, share, batch, replicas and cores, under the figures of the head."""
    run = make_run(seconds=30)
    view, written = played(run, terminal=True)
    text = shown(view)
    assert re.search(r"detect\s+v6-256x96\s+100 %\s+3\s+1\s+1\b", text)
    assert re.search(r"recognise\s+v6-320\s+100 %\s+3\s+1\s+1\b", text)
    for label in ("elapsed", "load", "forecast", "p99", "accuracy", "cost", "violations", "last decision"):
        assert label in text
    assert "25 / 30 s" in text
    assert "7 rps" in text
    assert "2 cores" in text
    assert "SLO 1 s" in text
    assert "last decision" in written


def test_variants_that_share_a_stage_have_a_row_each(set_run: RunResult) -> None:
    """With its share, what it has answered so far, and how many of those lines were read exactly."""
    view, _ = played(set_run, terminal=True)
    text, last = shown(view), set_run.decisions[-1].observation.time
    for variant, part, sizes in (("v6-224", "75 %", (1, 1, 2)), ("v6-160", "25 %", (1, 1, 1))):
        records = [r for r in set_run.records if r.done < last and r.variants.get("recognise") == variant]
        accuracy = share(sum(r.matched for r in records) / sum(r.expected for r in records))
        cells = ("recognise", variant, part, *map(str, sizes), str(len(records)), accuracy)
        assert re.search(r"\s+".join(map(re.escape, cells)), text), text


def test_a_plain_stream_gets_one_line_per_decision(make_run: Callable[..., RunResult]) -> None:
    """Logs stay readable: no control characters, no wrapping, one line for each decision."""
    run = make_run(seconds=60)
    _, written = played(run, terminal=False)
    assert "\x1b" not in written
    assert len(written.splitlines()) == len(run.decisions)
    assert "v6-256x96 ×1 b3 → v3-256x96 ×1 b2" in written


def test_violations_add_up_over_updates(make_run: Callable[..., RunResult]) -> None:
    """What was late, dropped or failed in any update stays in the count, also between decisions."""
    run = make_run(seconds=20)
    dropped = replace(run.records[0], outcome=RequestOutcome.DROPPED)
    screen, _ = console(terminal=False)
    with LiveView(scene(run), screen) as view:
        view.update(run.decisions[0], [dropped])
        view.progress(run.start + 3, [run.records[1], dropped])
        view.progress(run.start + 19)
    text = shown(view)
    assert "2 (66.7 %)" in text
    assert "19 / 20 s" in text


def test_before_any_plan_the_table_stands(make_run: Callable[..., RunResult]) -> None:
    """Nothing is known yet: dashes, no error."""
    empty: Plan = {}
    run = make_run(seconds=10)
    first = replace(run.decisions[0], proposal=None, rate=None, outcome=Outcome.NO_DATA)
    silent = replace(first, observation=replace(first.observation, arrivals=(float("nan"),), plan=empty))
    screen, stream = console(terminal=False)
    with LiveView(scene(run), screen) as view:
        view.update(silent)
    assert "– rps" in shown(view)
    assert "nan" not in stream.getvalue()


def test_figures_have_three_significant_digits() -> None:
    """Never an exponent, never a tail of digits; units follow the size."""
    assert [figure(v) for v in (0.012345, 1.2345, 123.45, 123456.0, 0, None)] == [
        "0.0123",
        "1.23",
        "123",
        "123000",
        "0",
        "–",
    ]
    assert [duration(v) for v in (0.01234, 1.234, None)] == ["12.3 ms", "1.23 s", "–"]
    assert [share(v) for v in (0.6587, 1.0, None)] == ["65.9 %", "100 %", "–"]
