"""What the tables of a report say, in HTML and Markdown alike. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, NamedTuple

from ipa_seldon.plan import Decision, Outcome, is_switch
from ipa_seldon.runs.summary import RunResult, summary, timeline, worth
from ipa_seldon.telemetry.reasons import reason_of
from ipa_seldon.words import ABSENT, decision_words, duration, figure, plan_words, share, stage_words

LOAD_WINDOW = 10
"""Seconds over which the table of decisions gives the load."""
TROUBLE = (Outcome.DEGRADED, Outcome.FALLBACK, Outcome.FAILED, Outcome.REFUSED)
COUNTED = ("requests", "completed", "late", "dropped", "failed")
DECISIONS = (
    *("time (s)", "load (rps)", "forecast (rps)", "plan", "outcome", "what and why", "expected", "deciding"),
    "applying",
)
VARIANTS = ("run", "stage", "variant", "answered", "share", "planned share", "lines read exactly", "its accuracy")


class Cell(NamedTuple):
    """A text, and whether it is the best of its row."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A figure of every run; ``words`` where it is told in several lines of text."""

    label: str
    cells: Sequence[Cell]
    words: bool = False


class Round(NamedTuple):
    """A decision as DECISIONS has it; ``kind``: ``switch``, ``trouble``, or empty."""

    cells: tuple[str, ...]
    kind: str


def lead(runs: Sequence[RunResult]) -> str:
    """What the first run came to, in a sentence or two, and whether another did as well."""
    summaries = [summary(run) for run in runs]
    run, first = runs[0], summaries[0]
    cores = f"{figure(first['mean_cost'])} cores on average."
    if not run.records:
        forecast = first["forecast"]
        judged = (
            f" Of {forecast['judged']} forecasts {share(forecast['coverage'])} were not too low, with a sMAPE of "
            f"{share(forecast['smape'])}."
        )
        return (
            f"{first['decisions']} decisions in {duration(run.end - run.start)}, {first['switches']} of them switches: "
            f"expected were {duration(first['expected_latency']['mean'])} of the SLO of {duration(run.slo)} and an "
            f"accuracy of {figure(first['expected_accuracy'])}, on {cores}" + (judged if forecast["judged"] else "")
        )
    read = first["accuracy"]
    accuracy = f"{share(read)} of the lines read exactly" if read is not None else f"accuracy {figure(worth(first))}"
    text = (
        f"{run.name.capitalize()}: {share(1 - first['violation_ratio'], 4)} of {first['requests']} requests "
        f"within the SLO of {duration(run.slo)}, {accuracy}, {cores}"
    )
    if len(runs) == 1:
        return text
    better = [run.name for run, other in zip(runs[1:], summaries[1:], strict=True) if _at_least_as_good(other, first)]
    if better:
        return f"{text} {' and '.join(better).capitalize()} did at least as well in all three."
    return f"{text} No other run did at least as well in all three."


def _at_least_as_good(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Of a run without requests nothing is known."""
    return "requests" in one and bool(
        one["violation_ratio"] <= other["violation_ratio"]
        and (worth(one) or 0) >= (worth(other) or 0)
        and one["mean_cost"] <= other["mean_cost"]
    )


def tiles(run: RunResult) -> list[tuple[str, str, str]]:
    """Label, figure, remark."""
    figures = summary(run)
    cost = ("mean cost", f"{figure(figures['mean_cost'])} cores", "weighted by time")
    accuracy = ("expected accuracy", figure(figures["expected_accuracy"]), "weighted by time")
    switches = ("switches", str(figures["switches"]), _directions(figures))
    forecast = figures["forecast"]
    judged = ("forecasts not too low", share(forecast["coverage"]), f"sMAPE {share(forecast['smape'])}")
    if not run.records:
        latency = figures["expected_latency"]
        outcomes = Counter(str(decision.outcome).replace("_", " ") for decision in run.decisions)
        return [
            ("decisions", str(figures["decisions"]), ", ".join(f"{n} {words}" for words, n in outcomes.most_common())),
            ("expected latency", duration(latency["mean"]), f"at most {duration(latency['max'])}; {_slo(run)}"),
            *(accuracy, cost, switches, judged),
        ]
    missed, read = figures["late"] + figures["dropped"] + figures["failed"], figures["accuracy"]
    return [
        ("within the SLO", share(1 - figures["violation_ratio"], 4), f"{missed} of {figures['requests']} missed it"),
        ("p99 latency", duration(figures["latency"]["p99"]), _slo(run)),
        accuracy if read is None else ("lines read exactly", share(read), "over answered requests"),
        *(cost, switches),
        ("failed by a switch", str(figures["failed_requests_during_switches"]), "requests"),
        *([judged] if forecast["judged"] else []),
    ]


def _directions(figures: Mapping[str, Any]) -> str:
    """Where switches led."""
    up, down = figures["switches_up"], figures["switches_down"]
    return f"{up} to higher, {down} to lower accuracy" if up or down else "accuracy as before"


def _slo(run: RunResult) -> str:
    return f"SLO {duration(run.slo)} at p{run.percentile:g}"


def rows(runs: Sequence[RunResult]) -> list[Row]:
    """The summary: a row per figure, a cell per run, the best cells of a figure marked."""
    summaries = [summary(run) for run in runs]
    costs = [entry["mean_cost"] for entry in summaries]
    latencies = [entry["expected_latency"] for entry in summaries]
    found = _rows_of_requests(summaries) if any(run.records for run in runs) else []
    found += [
        _row("mean cost (cores)", map(figure, costs), [cost == min(costs) for cost in costs]),
        _row("expected accuracy", [figure(entry["expected_accuracy"]) for entry in summaries]),
        _row("expected latency, mean", [duration(latency["mean"]) for latency in latencies]),
        _row("expected latency, at most", [duration(latency["max"]) for latency in latencies]),
        *(_row(key, [str(entry[key]) for entry in summaries]) for key in ("decisions", "switches")),
        _row("forecasts judged", [str(entry["forecast"]["judged"]) for entry in summaries]),
        _row("forecasts not too low", [share(entry["forecast"]["coverage"]) for entry in summaries]),
        _row("sMAPE of forecasts", [share(entry["forecast"]["smape"]) for entry in summaries]),
    ]
    longest = [Cell(_longest(run)) for run in runs]
    return [*found, Row("ran longest", longest, words=True)]


def _rows_of_requests(summaries: Sequence[Mapping[str, Any]]) -> list[Row]:
    violations = [entry.get("violation_ratio") for entry in summaries]
    measured = [entry.get("accuracy") for entry in summaries]
    accuracies = [accuracy or 0.0 for accuracy in measured]
    read = _row("accuracy", map(share, measured), [accuracy == max(accuracies) for accuracy in accuracies])
    fewest = min(ratio for ratio in violations if ratio is not None)
    latencies = [entry.get("latency", {}) for entry in summaries]

    def texts(key: str) -> list[str]:
        return [str(entry.get(key, ABSENT)) for entry in summaries]

    return [
        _row("violation ratio", map(share, violations), [ratio == fewest for ratio in violations]),
        *([read] if any(accuracy is not None for accuracy in measured) else []),
        _row("latency p50", [duration(latency.get("p50")) for latency in latencies]),
        _row("latency p99", [duration(latency.get("p99")) for latency in latencies]),
        *(_row(key, texts(key)) for key in COUNTED),
        _row("failed requests during switches", texts("failed_requests_during_switches")),
        _row("sent late by at most", [duration(entry.get("start_delay", {}).get("max")) for entry in summaries]),
    ]


def _row(label: str, texts: Any, best: Sequence[bool] = ()) -> Row:
    marked = len(set(best)) > 1
    return Row(label, [Cell(text, marked and best[place]) for place, text in enumerate(texts)])


def _longest(run: RunResult) -> str:
    """The plan that ran for most of the time, a stage and what it ran on a line each."""
    seconds: dict[str, float] = {}
    for segment in timeline(run):
        words = "\n".join(f"{stage}\n{stage_words(allocations)}" for stage, allocations in segment.plan.items())
        seconds[words] = seconds.get(words, 0.0) + segment.end - segment.start
    return max(seconds, key=lambda words: seconds[words]) if seconds else ABSENT


def variants(runs: Sequence[RunResult]) -> list[list[str]]:
    """As VARIANTS has them: a row per variant that a stage of a run used, where its requests are known."""
    return [row for run in runs if run.records for row in _variants(run, summary(run)["variants"])]


def _variants(run: RunResult, figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[list[str]]:
    found = []
    for stage, of_stage in figures.items():
        totals = {key: sum(one[key] for one in of_stage.values()) for key in ("requests", "planned")}
        for name, one in of_stage.items():
            part, planned = (share(one[key] / total if total else None) for key, total in totals.items())
            stated = share(_stated(run, stage, name))
            found.append([run.name, stage, name, str(one["requests"]), part, planned, share(one["accuracy"]), stated])
    return found


def _stated(run: RunResult, stage: str, variant: str) -> float | None:
    """The accuracy that the pipeline file states; None where it is not known."""
    known = {s.name: s for s in run.pipeline.stages} if run.pipeline else {}
    stated = {v.name: v.accuracy for v in known[stage].variants} if stage in known else {}
    return stated.get(variant)


def decisions(run: RunResult, most: int) -> tuple[list[Round], int]:
    """At most so many rounds, and how many are left out: those that changed nothing, and then the oldest."""
    told: Sequence[Decision] = run.decisions
    if len(told) > most:
        told = [one for one in told if one.outcome not in (Outcome.UNCHANGED, Outcome.HELD)][-most:]
    return [_round(run, decision) for decision in told], len(run.decisions) - len(told)


def _round(run: RunResult, decision: Decision) -> Round:
    arrivals = [rate for rate in decision.observation.arrivals[-LOAD_WINDOW:] if not isnan(rate)]
    proposal, outcome, reason = decision.proposal, str(decision.outcome), reason_of(decision)
    cells = (
        f"{decision.observation.time - run.start:.0f}",
        figure(sum(arrivals) / len(arrivals) if arrivals else None),
        figure(decision.rate),
        plan_words(proposal.plan if proposal else decision.observation.plan),
        (outcome if reason == outcome else f"{outcome}: {reason}").replace("_", " "),
        decision_words(decision),
        duration(proposal.latency if proposal else None),
        duration(decision.seconds),
        duration(decision.apply_seconds) if decision.apply_seconds else ABSENT,
    )
    kind = "trouble" if decision.outcome in TROUBLE else "switch" if is_switch(decision) else ""
    return Round(cells, kind)


def left_out_words(count: int) -> str:
    """Of rounds that a table leaves out; empty where it has all."""
    return f"{count} rounds that changed nothing, or are older, are left out." if count else ""
