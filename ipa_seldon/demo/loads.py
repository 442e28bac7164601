"""The load that a demo replays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ipa_seldon.traces import load_rates, read_network

NETWORK, SIZE = "4g-bus", "200KB-500KB"
"""What requests with deadlines pass by default, and how large they are: as published (Sponge, EuroMLSys 2024)."""


@dataclass(frozen=True)
class Shape:
    """What is asked for, in the words of ``ipa-seldon load``: the first ``duration`` seconds of ``trace``, else of
    ``pattern`` with its peak at ``scale`` requests/s (None: at what suits this machine), divided by ``damping``, over a
    ``network`` where there is one.
    """

    duration: float = 180.0
    seed: int = 7
    damping: float = 1.0
    trace: Path | None = None
    pattern: str = "bursty"
    scale: float | None = None
    network: str | None = None
    size: str | None = None

    def over_network(self) -> Shape:
        """The same over a network, where none is asked for over the default one."""
        return replace(self, network=self.network or NETWORK, size=self.size or SIZE)


@dataclass(frozen=True)
class Load:
    """What is replayed: the ``arguments`` of ``ipa-seldon load`` that shape it, its ``duration`` (seconds) and ``peak``
    (requests/s), the ``bandwidth`` (bytes/s) of each second where requests pass a network, and all this in ``words``.
    """

    arguments: tuple[str, ...]
    duration: float
    peak: float
    bandwidth: tuple[float, ...]
    words: str


def load_of(shape: Shape, tensor: str, peak: float) -> Load:
    """The load of that shape as requests of ``tensor``, a pattern with its peak at ``peak`` requests/s where the shape
    leaves it open. ConfigError for one that cannot be replayed.
    """
    trace, damping, seed, scale = shape.trace, shape.damping, shape.seed, shape.scale or peak
    source: tuple[str, ...]
    if trace is not None:
        rates = load_rates(None, trace, shape.duration, None, damping, seed)
        words, source = f"{trace.name}, divided by {damping:g}", ("--trace", str(trace))
    else:
        rates = load_rates(shape.pattern, None, shape.duration, scale, damping, seed)
        words = f"{shape.pattern}, peak {scale / damping:.1f} requests/s"
        source = ("--pattern", shape.pattern, "--scale", f"{scale:.3f}")
    network = read_network(shape.network, shape.size, len(rates), seed)
    way = ("--network", str(shape.network), "--size", str(shape.size)) if network else ()
    words += f", {shape.size} over {Path(str(shape.network)).name}" if network else ""
    common = ("--tensor", tensor, "--seed", str(seed), "--damping", str(damping), "--duration", str(len(rates)))
    return Load(
        arguments=(*common, *source, *way),
        duration=float(len(rates)),
        peak=float(rates.max()),
        bandwidth=tuple(np.resize(network.bandwidth, len(rates)).tolist()) if network else (),
        words=f"{words}, seed {seed}",
    )
