"""What ran and what was advised, as the adapter's metrics told a Prometheus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from ipa_seldon.advice.agreement import Moment
from ipa_seldon.advice.history import Span
from ipa_seldon.errors import PlatformError
from ipa_seldon.metric import Metric
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.prometheus import Prometheus
from ipa_seldon.telemetry.catalogue import CURRENT, DESIRED, FORECAST

Told = dict[float, dict[tuple[str, str], float]]
"""Time -> (stage, variant) -> value."""


@dataclass(frozen=True)
class Gauges:
    """Those of ``pipeline`` in ``prometheus``, of one ``namespace`` where that is given."""

    prometheus: Prometheus
    pipeline: str
    namespace: str | None = None

    @property
    def selector(self) -> str:
        """Their labels, in PromQL's braces."""
        labels = {"pipeline": self.pipeline, "namespace": self.namespace}
        pairs = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels.items() if value is not None]
        return "{" + ",".join(pairs) + "}"


def moments_in(gauges: Gauges, span: Span) -> list[Moment]:
    """A moment for every scrape interval in which anything was told; PlatformError where nothing was."""
    replicas = f"{CURRENT['replicas'].name}{gauges.selector}"
    pace = gauges.prometheus.scrape_interval(replicas, span.end) or 1.0
    step = max(1, round(pace))
    ran, advice = (_plans(gauges, kind, span, step) for kind in (CURRENT, DESIRED))
    rates = _told(gauges, FORECAST, span, step)
    if not ran:
        raise PlatformError(f"{gauges.prometheus}: nothing answers {replicas!r} in {span.end - span.start:,} s")
    return [
        Moment(time, step, plan, advice.get(time, {}), rates.get(time, {}).get(("", ""), 0.0))
        for time, plan in sorted(ran.items())
    ]


def _plans(gauges: Gauges, metrics: Mapping[str, Metric], span: Span, step: int) -> dict[float, Plan]:
    """By the time they were told; a variant of which not everything is known is left out, but GPUs, of which older
    adapters knew nothing.
    """
    replicas, gpus, *others = (
        _told(gauges, metrics[field], span, step) for field in ("replicas", "gpus", "cores", "batch", "share")
    )
    plans: dict[float, Plan] = {}
    for time, told in replicas.items():
        plan: dict[str, tuple[Allocation, ...]] = {}
        for at, count in sorted(told.items()):
            values = [other.get(time, {}).get(at) for other in others]
            if count > 0 and None not in values:
                held = gpus.get(time, {}).get(at, 0.0)
                plan[at[0]] = (*plan.get(at[0], ()), _allocation(at[1], count, [*values, held]))
        plans[time] = plan
    return plans


def _allocation(variant: str, replicas: float, values: list[float | None]) -> Allocation:
    cores, batch, share, gpus = (value or 0.0 for value in values)  # cores and GPUs are those of all replicas
    each = round(cores / replicas), round(batch), share, round(gpus / replicas)
    return Allocation(variant, round(replicas), *each)


def _told(gauges: Gauges, metric: Metric, span: Span, step: int) -> Told:
    """An adapter that is replaced tells beside its successor for a moment: the higher value counts."""
    query = f"max by (stage, variant) ({metric.name}{gauges.selector})"
    told: Told = {}
    for page in span.pages(step):
        for labels, values in gauges.prometheus.series(query, page):
            for time, value in values.items():
                if isfinite(value):
                    told.setdefault(time, {})[_place(labels)] = value
    return told


def _place(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("stage", ""), labels.get("variant", "")
