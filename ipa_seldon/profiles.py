"""Measurements to latency and throughput functions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import median
from typing import TypeVar

import numpy as np

from ipa_seldon.latency_model import FITS, LatencyModel, fit_latency

KeyType = TypeVar("KeyType")


@dataclass(frozen=True)
class Measurement:
    """``latency``: seconds one batch takes at the SLO's percentile; ``throughput``: requests/s of one replica."""

    latency: float
    throughput: float


@dataclass(frozen=True)
class Profile:
    """What was measured of one variant, by (cores, batch)."""

    points: Mapping[tuple[int, int], Measurement]

    @cached_property
    def cores(self) -> tuple[int, ...]:
        """The core counts that were measured, ascending."""
        return tuple(sorted({cores for cores, _ in self.points}))

    @cached_property
    def latencies(self) -> dict[tuple[int, int], float]:
        """The latencies that were measured, by (cores, batch)."""
        return {at: point.latency for at, point in self.points.items()}

    def latency(self, cores: int, batch: int) -> float:
        """Seconds of one batch: as measured, else by ``l(b) = k2 b^2 + k1 b + k0`` over the batches measured on as
        many cores, never below the linear fit or 0 (IPA section 4.2). Where nothing was measured on ``cores``, by
        Sponge's model of all points; KeyError where that does not fit.
        """
        if (cores, batch) in self.points:
            return self.points[cores, batch].latency
        return self._fit(cores, batch) if cores in self.cores else self._modelled(cores, batch)

    def throughput(self, cores: int, batch: int) -> float:
        """Requests/s of one replica: as measured, else ``b / l(b)`` times the median of ``h * l / b`` as measured on
        as many cores; where nothing was measured on ``cores``, of all points.
        """
        if (cores, batch) in self.points:
            return self.points[cores, batch].throughput
        seconds = self.latency(cores, batch)
        alike = [(b, point) for (c, b), point in self.points.items() if c == cores or cores not in self.cores]
        return median(point.throughput * point.latency / b for b, point in alike) * batch / seconds

    @cached_property
    def _model(self) -> LatencyModel | None:
        fit = fit_latency(self.latencies)
        return fit.model if fit and fit.r2 >= FITS else None

    def _modelled(self, cores: int, batch: int) -> float:
        seconds = self._model(cores, batch) if self._model else 0.0
        if seconds <= 0:
            raise KeyError(f"no measurement on {cores} cores; measured: {self.cores}")
        return seconds

    def _fit(self, cores: int, batch: int) -> float:
        measured = sorted((b, seconds) for (c, b), seconds in self.latencies.items() if c == cores)
        sizes, latencies = (np.array(values, dtype=float) for values in zip(*measured, strict=True))
        if len(sizes) == 1:
            # One point says nothing about the gain of batching; the safe reading is that there is none.
            return float(latencies[0] * max(batch / sizes[0], 1.0))
        linear = float(np.polyval(np.polyfit(sizes, latencies, 1), batch))
        quadratic = float(np.polyval(np.polyfit(sizes, latencies, min(2, len(sizes) - 1)), batch))
        # A fit that leaves the positive axis is replaced by the smallest latency ever measured on these cores.
        return max(linear, quadratic) if max(linear, quadratic) > 0 else float(latencies.min())


USABLE = 0.8
"""The share of a capacity that plans count on. InfAdapter (Salmani et al., EuroMLSys 2023) keeps the rest in hand."""


@dataclass(frozen=True)
class Capacity:
    """How much one pod of a variant takes within an SLO: ``points``, the most requests/s that were measured by cores.
    ``load_time``: seconds until a new pod is ready.
    """

    points: Mapping[int, float]
    load_time: float

    def usable(self, cores: int) -> float:
        """The requests/s to count on with so many cores: ``USABLE`` of what was measured there, elsewhere of the line
        ``k * cores + c`` by least squares, but not less than 0. A single point gives no line, and 0 elsewhere.
        """
        if cores in self.points:
            return USABLE * self.points[cores]
        slope, intercept = self.line
        return USABLE * max(0.0, slope * cores + intercept)

    @cached_property
    def line(self) -> tuple[float, float]:
        """``k`` (requests/s per core) and ``c`` (requests/s); zeros for a single point."""
        if len(self.points) < 2:
            return 0.0, 0.0
        cores, measured = zip(*self.points.items(), strict=True)
        slope, intercept = np.polyfit(cores, measured, 1)
        return float(slope), float(intercept)

    @cached_property
    def core_rate(self) -> float:
        """Requests/s that one more core adds: ``k``, or the best of what was measured where that gives no line."""
        slope, _ = self.line
        return slope if slope > 0 else max(taken / cores for cores, taken in self.points.items())


def throughput_of(profile: Profile, capacity: Capacity | None) -> Callable[[int, int], float]:
    """Requests/s of one replica by (cores, batch): the profile's, and on cores that it does not know the capacity's."""
    return profile.throughput if capacity is None else partial(_throughput, profile, capacity)


def _throughput(profile: Profile, capacity: Capacity, cores: int, batch: int) -> float:
    return profile.throughput(cores, batch) if cores in profile.cores else capacity.usable(cores)


def slowed(profiles: Mapping[tuple[str, str], Profile], factor: float) -> dict[tuple[str, str], Profile]:
    """The profiles with every latency times ``factor`` and every throughput divided by it."""
    return {
        key: Profile({at: Measurement(m.latency * factor, m.throughput / factor) for at, m in profile.points.items()})
        for key, profile in profiles.items()
    }


def slowed_capacities(capacities: Mapping[KeyType, Capacity], factor: float) -> dict[KeyType, Capacity]:
    """The capacities with every load divided by ``factor``; load times stay as they are."""
    return {
        key: Capacity({cores: taken / factor for cores, taken in capacity.points.items()}, capacity.load_time)
        for key, capacity in capacities.items()
    }
