"""Waiting-time formulas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def batch_wait(batch: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Seconds the first request of a batch waits for the others: ``q(b) = (b - 1) / lambda``, 0 without load.

    IPA (arXiv 2308.12871), the queueing model of section 4.2; charged once per stage.
    """
    return (batch - 1.0) / rate if rate > 0 else np.zeros_like(batch)
