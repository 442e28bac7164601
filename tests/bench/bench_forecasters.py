"""How long one forecast takes. ARIMA's refit must stay under 0.1 s, and `auto`, which runs it and all others, too."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ipa_seldon.forecasters import AUTO, FORECASTERS, ForecastSettings
from ipa_seldon.forecasters.quantile import build_forecaster


@pytest.mark.parametrize("name", [*FORECASTERS, AUTO])
def bench_forecast(benchmark: BenchmarkFixture, name: str) -> None:
    """One forecast from a window that moves on by a block at every call."""
    trace = [float(rate) for rate in np.random.default_rng(0).poisson(9, 20_000)]
    forecaster = build_forecaster(ForecastSettings(name=name))
    ends = count(120, 10)

    def step() -> float:
        now = next(ends)
        start = now % (len(trace) - 120)
        return forecaster.forecast(float(now), trace[start : start + 120])

    step()  # the first call of `auto` looks back over the window
    assert benchmark(step) > 0
