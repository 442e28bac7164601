"""Sponge's latency model and its robust fit to measured points (Razavi et al., EuroMLSys 2024, arXiv 2404.00704)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from ipa_seldon.programs import Floats

FITS = 0.95
"""The least R2 with which a model is taken for what was measured."""
TOO_FEW = "too few points to fit l(b, c); accepted: at least 2 core counts with 2 batches each"

_HUBER = 1.345  # in standard deviations: the usual bend, 95 % as efficient as least squares where errors are normal
_DEVIATIONS = 0.6745  # the median of |x| of a standard normal x
_ROUNDS, _SETTLED, _NANOSECOND = 100, 1e-10, 1e-9

Points = Mapping[tuple[int, int], float]
"""Seconds by (cores, batch)."""


@dataclass(frozen=True)
class LatencyModel:
    """``l(b, c) = gamma * b / c + epsilon / c + delta * b + eta`` seconds for a batch of b requests on c cores."""

    gamma: float
    epsilon: float
    delta: float
    eta: float

    def __call__(self, cores: int, batch: int) -> float:
        """Seconds of one batch."""
        return float(self.over(np.array(float(cores)), np.array(float(batch))))

    def over(self, cores: Floats, batch: Floats) -> Floats:
        """Seconds of one batch, for arrays that broadcast."""
        seconds: Floats = _terms(cores, batch) @ np.array([self.gamma, self.epsilon, self.delta, self.eta])
        return seconds


@dataclass(frozen=True)
class Fit:
    """A model and how well it fits: ``r2`` with every point weighted as the fit weighted it, so that a few bad
    measurements do not hide that the others fit; ``residuals``: measured minus modelled seconds, of every point.
    """

    model: LatencyModel
    r2: float
    residuals: Points

    def refusal(self, cores: int, batch: int) -> str:
        """Why the model is not to be used for 1 to ``cores`` cores and batches of 1 to ``batch``; empty: it is.

        ``l`` is linear in b and in 1 / c, so that the corners hold its extremes.
        """
        if self.r2 < FITS:
            return f"l(b, c) fits what was measured with R2 {self.r2:.3f}; accepted: at least {FITS}"
        for c, b in product((1, cores), (1, batch)):
            if self.model(c, b) <= 0:
                return f"the fit of l(b, c) is {self.model(c, b):.4g} s on {c} cores at batch {b}; accepted: above 0"
        return ""


def fit_latency(points: Points) -> Fit | None:
    """The model by Huber's robust regression (iteratively reweighted least squares; the scale from the median of the
    residuals), None where the points do not tell its four terms apart.
    """
    cores, batch = np.array(list(points), dtype=float).reshape(-1, 2).T
    terms, seconds = _terms(cores, batch), np.array(list(points.values()))
    if len(points) < 4 or np.linalg.matrix_rank(terms) < 4:
        return None
    weights = np.ones_like(seconds)
    found = np.zeros(4)
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        before, found = found, np.linalg.lstsq(terms * root[:, None], seconds * root, rcond=None)[0]
        errors = np.abs(seconds - terms @ found)
        bend = _HUBER * max(float(np.median(errors)) / _DEVIATIONS, _NANOSECOND)
        weights = np.minimum(1.0, bend / np.maximum(errors, _NANOSECOND))
        if np.abs(found - before).max() < _SETTLED:
            break
    residuals = seconds - terms @ found
    spread = seconds - np.average(seconds, weights=weights)
    left, total = float(weights @ residuals**2), float(weights @ spread**2)
    r2 = 1 - left / total if total > _NANOSECOND**2 else 1.0
    return Fit(LatencyModel(*found.tolist()), r2, dict(zip(points, residuals.tolist(), strict=True)))


def _terms(cores: Floats, batch: Floats) -> Floats:
    """What gamma, epsilon, delta and eta are multiplied with, along the last axis."""
    terms: Floats = np.stack(np.broadcast_arrays(batch / cores, 1 / cores, batch, 1.0), axis=-1)
    return terms
