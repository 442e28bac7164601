"""The gated level: small moves are smoothed away, significant ones are followed at once and extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

from ipa_seldon.forecasters import ForecastSettings, Prediction

GAIN = 0.3  # share of an insignificant move that the level follows
QUIET, LOUD = 2.0, 8.0  # significance below which a move is noise, and from which it is followed entirely
EXTRAPOLATED = 0.5  # share of a jump expected on top of the level
FADING = 0.6  # what is left of a jump one block later
JUMP_ERROR = 0.3  # share of a jump in the error scale
NOISE, LEAST_NOISE = 0.3, 0.05  # noise per square root of the rate: at the start, and at least
MEMORY, HEAD_START = 120, 5  # blocks that the noise remembers, and that its starting value counts for
OUTLIER = 4.0  # a move counts towards the noise as at most this many times the noise


@dataclass(frozen=True)
class _Level:
    """Where the load is after a block: ``jump`` is the fading part of significant rises, ``noise`` the mean move
    between blocks per square root of the rate, ``count`` the blocks it rests on.
    """

    block: float
    level: float
    jump: float = 0.0
    noise: float = NOISE
    count: int = HEAD_START

    def after(self, block: float) -> _Level:
        """The level once ``block`` has been seen too."""
        move = abs(block - self.block) / sqrt(max(self.block, 1.0))
        weight = max(1 / MEMORY, 1 / self.count)
        noise = max(LEAST_NOISE, self.noise + weight * (min(move, OUTLIER * self.noise) - self.noise))
        rise = block - self.level
        significance = abs(rise) / (noise * sqrt(max(self.level, 1.0)))
        trust = min(1.0, max(0.0, (significance - QUIET) / (LOUD - QUIET)))
        jump = max(trust * rise, FADING * self.jump)
        return _Level(block, self.level + (GAIN + (1 - GAIN) * trust) * rise, jump, noise, self.count + 1)


class Gate:
    """Free of units and training; learns over every block it is given, whatever the window."""

    minimum = 2
    seed_scores: Sequence[float] = (
        *(-2.57, -1.39, -0.99, -0.51, -0.18, 0.08, 0.34),
        *(0.61, 0.92, 1.28, 1.85, 2.45, 3.37, 4.55),
    )

    def __init__(self, settings: ForecastSettings) -> None:
        self._now: _Level | None = None
        self._before: _Level | None = None

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """The level, and part of the jump it has just made. Within a block, the last of ``blocks`` takes the place of
        the one learnt last.
        """
        for block in blocks[len(blocks) - fresh :]:
            self._before, self._now = self._now, _follow(self._now, block)
        now = self._now if fresh and self._now else _follow(self._before, blocks[-1])
        peak = now.level + EXTRAPOLATED * now.jump
        return Prediction(peak, scale=hypot(now.noise * sqrt(max(peak, 1.0)), JUMP_ERROR * now.jump))


def _follow(level: _Level | None, block: float) -> _Level:
    return level.after(block) if level else _Level(block, level=block)
