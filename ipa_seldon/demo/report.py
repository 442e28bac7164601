"""The report of a demo: one HTML file that needs nothing else, neither a network nor a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from ipa_seldon.demo.charts import charts, comparison
from ipa_seldon.demo.style import run_colours
from ipa_seldon.demo.summary import RunResult, summary, timeline
from ipa_seldon.plan import Decision, Outcome, is_switch
from ipa_seldon.reports.page import embedded, render_page
from ipa_seldon.words import ABSENT, binding_words, duration, figure, plan_words, share, stage_words

LOAD_WINDOW = 10
"""Seconds over which the table of decisions gives the load."""


def render(runs: Sequence[RunResult], title: str, footer: Mapping[str, str]) -> str:
    """The report as one HTML document. The first run is shown in detail, the others are compared with it;
    ``footer`` says where the figures come from (machine, versions, settings).
    """
    summaries = [summary(run) for run in runs]
    return render_page(
        "ipa_seldon.demo",
        title,
        _lead(runs, summaries),
        footer,
        tiles=_tiles(runs[0], summaries[0]),
        runs=[{"name": run.name, "colour": run_colours(runs)[run.name]} for run in runs],
        rows=_rows(runs, summaries),
        comparison=embedded(comparison(runs)) if len(runs) > 1 else None,
        charts=[embedded(chart) for chart in charts(runs)],
        variants=[row for run, entry in zip(runs, summaries, strict=True) for row in _variants(run, entry["variants"])],
        tables=[{"name": run.name, "decisions": [_decision(run, d) for d in run.decisions]} for run in runs],
    )


def _lead(runs: Sequence[RunResult], summaries: Sequence[dict[str, Any]]) -> str:
    first = summaries[0]
    text = (
        f"{runs[0].name.capitalize()}: {share(1 - first['violation_ratio'], 4)} of {first['requests']} requests "
        f"within the SLO of {duration(runs[0].slo)}, {share(first['accuracy'])} of the lines read exactly, "
        f"{figure(first['mean_cost'])} cores on average."
    )
    if len(runs) == 1:
        return text
    better = [run.name for run, other in zip(runs[1:], summaries[1:], strict=True) if _at_least_as_good(other, first)]
    if better:
        return f"{text} {' and '.join(better).capitalize()} did at least as well in all three."
    return f"{text} No other run did at least as well in all three."


def _at_least_as_good(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(
        one["violation_ratio"] <= other["violation_ratio"]
        and (one["accuracy"] or 0) >= (other["accuracy"] or 0)
        and one["mean_cost"] <= other["mean_cost"]
    )


def _tiles(run: RunResult, figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Label, figure, remark."""
    missed = figures["late"] + figures["dropped"] + figures["failed"]
    return [
        ("within the SLO", share(1 - figures["violation_ratio"], 4), f"{missed} of {figures['requests']} missed it"),
        ("p99 latency", duration(figures["latency"]["p99"]), f"SLO {duration(run.slo)} at p{run.percentile:g}"),
        ("lines read exactly", share(figures["accuracy"]), "over answered requests"),
        ("mean cost", f"{figure(figures['mean_cost'])} cores", "weighted by time"),
        ("switches", str(figures["switches"]), _directions(figures)),
        ("failed by a switch", str(figures["failed_requests_during_switches"]), "requests"),
    ]


def _directions(figures: Mapping[str, Any]) -> str:
    """Where switches led."""
    up, down = figures["switches_up"], figures["switches_down"]
    return f"{up} to higher, {down} to lower accuracy" if up or down else "accuracy as before"


def _rows(runs: Sequence[RunResult], summaries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The summary as a table: a row per figure, a cell per run, the best cells of a figure marked."""
    violations = [entry["violation_ratio"] for entry in summaries]
    accuracies = [entry["accuracy"] or 0.0 for entry in summaries]
    costs = [entry["mean_cost"] for entry in summaries]
    rows = [
        _row("violation ratio", [share(v) for v in violations], [v == min(violations) for v in violations]),
        _row("accuracy", [share(entry["accuracy"]) for entry in summaries], [a == max(accuracies) for a in accuracies]),
        _row("mean cost (cores)", [figure(cost) for cost in costs], [cost == min(costs) for cost in costs]),
        _row("latency p50", [duration(entry["latency"]["p50"]) for entry in summaries]),
        _row("latency p99", [duration(entry["latency"]["p99"]) for entry in summaries]),
    ]
    counted = (
        "requests",
        "completed",
        "late",
        "dropped",
        "failed",
        "decisions",
        "switches",
        "failed_requests_during_switches",
    )
    rows += [_row(key.replace("_", " "), [str(entry[key]) for entry in summaries]) for key in counted]
    rows.append(_row("sent late by at most", [duration(entry["start_delay"]["max"]) for entry in summaries]))
    rows.append(_row("ran longest", [_longest(run) for run in runs], words=True))
    return rows


def _variants(run: RunResult, figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[list[str]]:
    """A row per variant that a stage of the run used: run, stage, variant, then figures."""
    rows = []
    for stage, variants in figures.items():
        totals = {key: sum(one[key] for one in variants.values()) for key in ("requests", "planned")}
        for name, one in variants.items():
            part, planned = (share(one[key] / total if total else None) for key, total in totals.items())
            stated = share(_stated(run, stage, name))
            rows.append([run.name, stage, name, str(one["requests"]), part, planned, share(one["accuracy"]), stated])
    return rows


def _stated(run: RunResult, stage: str, variant: str) -> float | None:
    """The accuracy that the pipeline file states; None where it is not known."""
    known = {s.name: s for s in run.pipeline.stages} if run.pipeline else {}
    stated = {v.name: v.accuracy for v in known[stage].variants} if stage in known else {}
    return stated.get(variant)


def _row(label: str, cells: Sequence[str], best: Sequence[bool] = (), words: bool = False) -> dict[str, Any]:
    marked = len(set(best)) > 1
    return {
        "label": label,
        "words": words,
        "cells": [{"text": c, "best": marked and best[i]} for i, c in enumerate(cells)],
    }


def _longest(run: RunResult) -> str:
    """The plan that ran for most of the time, a stage and what it ran on a line each."""
    seconds: dict[str, float] = {}
    for segment in timeline(run):
        words = "\n".join(f"{stage}\n{stage_words(allocations)}" for stage, allocations in segment.plan.items())
        seconds[words] = seconds.get(words, 0.0) + segment.end - segment.start
    return max(seconds, key=lambda words: seconds[words]) if seconds else ABSENT


def _decision(run: RunResult, decision: Decision) -> dict[str, Any]:
    arrivals = [rate for rate in decision.observation.arrivals[-LOAD_WINDOW:] if not isnan(rate)]
    proposal = decision.proposal
    return {
        "time": f"{decision.observation.time - run.start:.0f}",
        "load": figure(sum(arrivals) / len(arrivals) if arrivals else None),
        "forecast": figure(decision.rate),
        "plan": plan_words(proposal.plan if proposal else decision.observation.plan),
        "binding": binding_words(decision) or ABSENT,
        "outcome": decision.outcome.value.replace("_", " "),
        "seconds": duration(decision.seconds),
        "apply": duration(decision.apply_seconds) if decision.apply_seconds else ABSENT,
        "kind": "trouble"
        if decision.outcome in (Outcome.DEGRADED, Outcome.FALLBACK, Outcome.FAILED)
        else "switch"
        if is_switch(decision)
        else "",
    }
