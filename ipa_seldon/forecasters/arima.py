"""ARIMA on the window's block maxima, as the published systems forecast; refitted at every call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import hypot, isfinite, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.arima.model import ARIMA

from ipa_seldon.forecasters import ForecastSettings, Prediction

FLAT = 1e-9  # a window that varies less than this share of its largest block has nothing to fit
SURPRISE = 1.5  # weight, in the error scale, of how far the last block is off the prediction
# Powell's method, because the library's default (L-BFGS-B) calls threaded linear algebra, which takes ten times as long
# on a busy machine. The tolerances are far below the noise of a load; `maxfun` bounds the time of the worst fit.
OPTIMISER = {"method": "powell", "disp": 0, "xtol": 1e-3, "ftol": 1e-4, "maxiter": 50, "maxfun": 500}


class Arima:
    """ARIMA(p, d, q), with a constant when d = 0; the largest of the steps that cover the horizon."""

    seed_scores: Sequence[float] = (
        *(-1.24, -0.69, -0.5, -0.28, -0.12, 0.02, 0.16),
        *(0.3, 0.48, 0.7, 1.06, 1.41, 2.0, 2.81),
    )

    def __init__(self, settings: ForecastSettings) -> None:
        p, d, q = self._order = settings.order
        self._steps = settings.steps
        self._good: NDArray[np.float64] | None = None
        self._warm = False
        # Two blocks for each coefficient and for the constant and the variance; differencing uses up d.
        self.minimum = 2 * (p + q) + d + 4

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """Fit from where the last fit ended. A fit that does not converge is replaced by the last good coefficients,
        or, before there are any, by the window's maximum.
        """
        largest = max(blocks)
        if largest - min(blocks) <= FLAT * largest:
            return Prediction(largest)
        # Coefficients of a window divided by its maximum fit the next window, whatever the load has become.
        model = ARIMA(np.asarray(blocks) / largest, order=self._order, concentrate_scale=True)
        with warnings.catch_warnings():
            # On short windows the library warns of starting values and of convergence; the result says both.
            warnings.simplefilter("ignore")
            peak = self._peak(self._fit(model))
            self._warm = peak is not None
            if peak is None and self._good is not None:
                peak = self._peak(model.filter(self._good, cov_type="none", low_memory=True))
        if peak is None:
            return Prediction(largest, fallback=True)
        peak *= largest
        # A last block far off the prediction is a sign that the next may be too; the root is the noise of a count.
        scale = hypot(sqrt(max(peak, 1.0)), SURPRISE * (blocks[-1] - peak))
        return Prediction(peak, scale, fallback=not self._warm)

    def _fit(self, model: ARIMA) -> Any:
        start = self._good if self._warm else None
        try:
            fit = model.fit(start_params=start, cov_type="none", low_memory=True, method_kwargs=dict(OPTIMISER))
        except ValueError:  # numpy's LinAlgError is one too
            return None
        if not (fit.mle_retvals["converged"] and np.isfinite(fit.params).all()):
            return None
        self._good = np.asarray(fit.params)
        return fit

    def _peak(self, fit: Any) -> float | None:
        """The largest of the steps ahead, as a share of the window's maximum; None where there is no sound one."""
        peak = float(np.max(fit.forecast(self._steps))) if fit else nan
        return peak if isfinite(peak) else None
