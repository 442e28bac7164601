"""Published capacities against the physics of the simulator: a pod of n cores that serves n requests at a time, each in
``1 / k`` seconds on average, under the load that was published as the most it takes with its 99th percentile within the
SLO, the line ``k * n + c``. Prints the simulated 99th percentile by the distribution of the service times.

Usage: python profiling/capacity_tails.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.config import read_capacities
from ipa_seldon.profiles import USABLE, Capacity
from ipa_seldon.simulation.engine import NEVER, Batching, Serving, Station
from ipa_seldon.simulation.service import Service, exponential, lognormal

Factors = NDArray[np.float64]
TABLE = Path(__file__).parent / "results" / "published" / "infadapter.csv"
SLO = 0.75
CORES = (2, 4, 8, 12, 16, 20)
SECONDS, SEEDS = 300, 5
"""How long each load lasts, from an empty queue: what was published does not say; and how often it is repeated."""
DISTRIBUTIONS: Mapping[str, Factors] = {
    "constant": np.empty(0),
    **{f"lognormal, {ratio:g} at the 99th percentile": lognormal(ratio, 99.0) for ratio in (1.25, 1.5, 2, 3)},
    "exponential": exponential(),
}


def tail(capacity: Capacity, cores: int, part: float, factors: Factors) -> float:
    """The 99th percentile of the latency (seconds) at ``part`` of the line's capacity; the median over the seeds."""
    slope, intercept = capacity.line
    rate = part * (slope * cores + intercept)
    service = Service((0.0, 1 / capacity.core_rate), factors)
    return float(np.median([_tail(rate, cores, service, seed) for seed in range(SEEDS)]))


def _tail(rate: float, cores: int, service: Service, seed: int) -> float:
    generator = np.random.default_rng(seed)
    moments = np.sort(generator.uniform(0, SECONDS, generator.poisson(rate * SECONDS))).tolist()
    station = Station([NEVER] * len(moments), np.random.default_rng((seed, 1)))
    station.serve(Serving(service, Batching(1), 0), [0.0] * cores, 0.0)
    done = station.advance(NEVER, [(moment, [x], 0) for x, moment in enumerate(moments)])
    return float(np.percentile([ends - moments[x] for ends, (x,), _ in done], 99))


def table(capacities: Mapping[str, Capacity], part: float, factors: Factors) -> NDArray[np.float64]:
    """The tails of every variant (rows) on CORES (columns)."""
    return np.array([[tail(capacity, n, part, factors) for n in CORES] for capacity in capacities.values()])


def main() -> None:
    """Print how far each distribution is off, and the one that the simulator takes in full."""
    capacities = {variant: capacity for (variant, slo), capacity in read_capacities(TABLE).items() if slo == SLO}
    print(
        f"99th percentile over the SLO of {SLO:g} s, {SECONDS} s of each published capacity, median of {SEEDS} runs\n"
    )
    print("| service times | typical error | median | lowest | highest |\n|---|---|---|---|---|")
    for name, factors in DISTRIBUTIONS.items():
        ratios = table(capacities, 1.0, factors) / SLO
        error = np.exp(np.sqrt(np.mean(np.log(ratios) ** 2)))
        print(f"| {name} | x {error:.2f} | {np.median(ratios):.2f} | {ratios.min():.2f} | {ratios.max():.2f} |")
    whole, usable = (table(capacities, part, np.empty(0)) for part in (1.0, USABLE))
    print(f"\nConstant, 99th percentile (s) by cores, at the published capacity / at the usable {USABLE:g} of it\n")
    print("| variant | " + " | ".join(map(str, CORES)) + " |\n|---" + "|---" * len(CORES) + "|")
    for variant, *rows in zip(capacities, whole, usable, strict=True):
        print(f"| {variant} | " + " | ".join(f"{a:.2f} / {b:.2f}" for a, b in zip(*rows, strict=True)) + " |")


if __name__ == "__main__":
    main()
