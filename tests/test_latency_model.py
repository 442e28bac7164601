"""Sponge's latency model: recovered where it holds, robust where single points do not, else refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.latency_model import FITS, Fit, LatencyModel, fit_latency
from ipa_seldon.profiles import Measurement, Profile

YOLO = LatencyModel(gamma=0.14044, epsilon=-0.05084, delta=0.02524, eta=0.02214)
GRID = tuple(itertools.product((1, 2, 4, 8, 16), (1, 2, 4, 8)))


def coefficients(model: LatencyModel) -> list[float]:
    return [model.gamma, model.epsilon, model.delta, model.eta]


def fitted(points: dict[tuple[int, int], float]) -> Fit:
    fit = fit_latency(points)
    assert fit is not None
    return fit


@settings(deadline=None)
@given(values=st.tuples(st.floats(0.001, 1), st.floats(-0.0009, 0.5), st.floats(0, 0.2), st.floats(0, 0.2)))
def test_a_model_is_recovered(values: tuple[float, float, float, float]) -> None:
    """From exact points its coefficients come back, with an R2 of 1 and no residuals, and it is not refused."""
    model = LatencyModel(*values)
    fit = fitted({at: model(*at) for at in GRID})
    assert coefficients(fit.model) == pytest.approx(list(values), abs=1e-6)
    assert fit.r2 == pytest.approx(1.0)
    assert max(map(abs, fit.residuals.values())) < 1e-6
    assert fit.refusal(16, 16) == ""


def test_scalars_and_arrays_agree() -> None:
    """l(b, c) = gamma b / c + epsilon / c + delta b + eta, by hand."""
    assert YOLO(2, 8) == pytest.approx(0.14044 * 4 - 0.02542 + 0.20192 + 0.02214)
    cores, batch = np.array([1.0, 2.0]), np.array([4.0, 8.0])
    assert YOLO.over(cores, batch).tolist() == pytest.approx([YOLO(1, 4), YOLO(2, 8)])


def test_a_bad_measurement_moves_little() -> None:
    """One point of twenty at ten times its latency: coefficients within 1 %, the point stands out, the rest fits."""
    noise = np.random.default_rng(1).normal(1, 0.001, len(GRID))
    points = {at: YOLO(*at) * factor for at, factor in zip(GRID, noise.tolist(), strict=True)}
    points[4, 4] *= 10
    fit = fitted(points)
    assert coefficients(fit.model) == pytest.approx(coefficients(YOLO), rel=0.01)
    assert fit.refusal(16, 16) == ""
    assert max(fit.residuals, key=lambda at: abs(fit.residuals[at])) == (4, 4)
    assert fit.residuals[4, 4] == pytest.approx(9 * YOLO(4, 4), rel=0.01)


@pytest.mark.parametrize(
    "at",
    [
        [],
        [(1, 1), (1, 2), (1, 4), (1, 8)],
        [(1, 1), (2, 1), (4, 1), (8, 1)],
        [(1, 1), (1, 2), (2, 1)],
        [(1, 1), (1, 2), (1, 4), (2, 1)],
    ],
)
def test_too_few_points_give_no_model(at: list[tuple[int, int]]) -> None:
    """Four terms are told apart by two core counts with two batches each, and by nothing less."""
    assert fit_latency({point: YOLO(*point) for point in at}) is None
    assert fit_latency({(c, b): YOLO(c, b) for c, b in [(1, 1), (1, 2), (4, 1), (4, 2)]}) is not None


def test_what_does_not_fit_is_refused() -> None:
    """R2 and the threshold are named."""
    rng = np.random.default_rng(2)
    fit = fitted({at: float(rng.uniform(0.05, 1)) for at in GRID})
    assert fit.r2 < FITS
    assert fit.refusal(16, 16) == f"l(b, c) fits what was measured with R2 {fit.r2:.3f}; accepted: at least 0.95"


def test_a_model_must_stay_above_0() -> None:
    """Where extrapolation leaves the positive, the first such place is named."""
    falling = LatencyModel(gamma=1.0, epsilon=-0.5, delta=-0.01, eta=0.02)
    fit = fitted({at: falling(*at) for at in itertools.product((1, 2, 4), (1, 2, 4))})
    assert fit.refusal(4, 4) == ""
    assert "on 400 cores at batch 8; accepted: above 0" in fit.refusal(400, 8)


def test_a_profile_knows_unmeasured_cores_by_the_model() -> None:
    """Latency by the model, throughput by the overlap of all that was measured; measured cores stay as they were."""
    profile = Profile({(c, b): Measurement(YOLO(c, b), 1.1 * b / YOLO(c, b)) for c, b in GRID})
    assert profile.latency(3, 5) == pytest.approx(YOLO(3, 5))
    assert profile.throughput(3, 5) == pytest.approx(1.1 * 5 / YOLO(3, 5))
    assert profile.cores == (1, 2, 4, 8, 16)
    odd = Profile({**profile.points, (1, 4): Measurement(0.9, 5.0)})
    assert (odd.latency(1, 4), odd.throughput(1, 4)) == (0.9, 5.0)


def test_a_profile_without_a_fitting_model_knows_measured_cores_only() -> None:
    """Nothing is made up where the model is no good."""
    rng = np.random.default_rng(2)
    profile = Profile({at: Measurement(float(rng.uniform(0.05, 1)), 5.0) for at in GRID})
    with pytest.raises(KeyError, match="no measurement on 3 cores"):
        profile.latency(3, 1)
    with pytest.raises(KeyError, match="no measurement on 3 cores"):
        profile.throughput(3, 1)
