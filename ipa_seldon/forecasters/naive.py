"""Point forecasters that need no fit. Their seed scores were measured on a week of recorded load."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_seldon.forecasters import ForecastSettings, Prediction

SMOOTHING = 0.3


class Last:
    """The last block's maximum."""

    minimum = 1
    seed_scores: Sequence[float] = (
        *(-2.02, -1.14, -0.78, -0.38, -0.12, 0.13, 0.37),
        *(0.57, 0.82, 1.12, 1.59, 2.04, 2.77, 3.69),
    )

    def __init__(self, settings: ForecastSettings) -> None: ...

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """The last of ``blocks``."""
        return Prediction(blocks[-1])


class Max:
    """The window's maximum."""

    minimum = 1
    seed_scores: Sequence[float] = (
        *(-6.58, -3.17, -2.25, -1.65, -1.33, -1.09, -0.88),
        *(-0.68, -0.46, -0.2, 0.24, 0.64, 1.35, 2.3),
    )

    def __init__(self, settings: ForecastSettings) -> None: ...

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """The largest of ``blocks``."""
        return Prediction(max(blocks))


class Average:
    """The mean of the window's block maxima."""

    minimum = 1
    seed_scores: Sequence[float] = (
        *(-3.53, -1.01, -0.63, -0.3, -0.09, 0.09, 0.26),
        *(0.44, 0.65, 0.93, 1.37, 1.94, 3.73, 8.42),
    )

    def __init__(self, settings: ForecastSettings) -> None: ...

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """The mean of ``blocks``."""
        return Prediction(sum(block / len(blocks) for block in blocks))


class Ewma:
    """The exponentially weighted mean of the window's block maxima."""

    minimum = 1
    seed_scores: Sequence[float] = (
        *(-2.11, -0.87, -0.58, -0.29, -0.07, 0.1, 0.28),
        *(0.46, 0.66, 0.93, 1.35, 1.84, 2.87, 4.49),
    )

    def __init__(self, settings: ForecastSettings) -> None: ...

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """The smoothed last of ``blocks``."""
        level = blocks[0]
        for block in blocks[1:]:
            level += SMOOTHING * (block - level)
        return Prediction(level)
