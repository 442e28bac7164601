"""Results in words, the same in the terminal and in the report."""

from __future__ import annotations

from collections.abc import Iterable

from ipa_seldon.experiments.compare import ROUNDING, Summary
from ipa_seldon.experiments.statistics import Estimate
from ipa_seldon.words import ABSENT, figure, share

SHOWN = ("violation_ratio", "avoidable_ratio", "accuracy", "mean_cost", "latency.p99", "switches", "degraded", "failed")
_RATIOS = ("violation_ratio", "avoidable_ratio")


def shown(summaries: Iterable[Summary]) -> tuple[str, ...]:
    """The figures in a table of ``summaries``; which violations could be avoided is asked only where a network is."""
    figures = set().union(*(summary.figures for summary in summaries))
    return tuple(key for key in SHOWN if key != "avoidable_ratio" or key in figures)


def estimate_words(key: str, found: Estimate | None, sign: bool = False) -> str:
    """``mean ± half the interval`` of the figure ``key``; a dash where there is none. ``sign``: for a difference."""
    if found is None:
        return ABSENT
    words = share if key in _RATIOS else figure
    half = found.high - found.mean
    mean = found.mean if abs(found.mean) > ROUNDING else 0.0
    plus = "+" if sign and mean > 0 else ""
    return f"{plus}{words(mean)}" + (f" ± {words(half, 2)}" if half > ROUNDING else "")


def heading(key: str) -> str:
    """The name of a figure."""
    return key.replace("_", " ").replace(".", " ")
