"""How well latencies are told from few points: ``python profiling/latency_fits.py CSV``.

Of a measured profile, by stage and variant: the quadratic in the batch size (IPA, section 4.2) as plans use it, with
the error at each point when it is fitted to the others on as many cores, and Sponge's ``l(b, c)`` over all points, with
its R2 and its errors. With ``--plot PNG`` a picture of points and fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np

from ipa_seldon.config import read_profiles
from ipa_seldon.latency_model import fit_latency
from ipa_seldon.profiles import Profile

COLUMNS = "| stage | variant | latency, 1 core, batch 1 | quadratic: error, worst | Sponge: R2 | error, worst |"


def left_out(profile: Profile) -> Iterator[float]:
    """The relative error at every point of the profile without it, where two others are on as many cores."""
    for (cores, batch), point in profile.points.items():
        others = {key: other for key, other in profile.points.items() if key != (cores, batch)}
        if sum(key[0] == cores for key in others) >= 2:
            yield abs(replace(profile, points=others).latency(cores, batch) / point.latency - 1)


def row(stage: str, variant: str, profile: Profile) -> str:
    """A line of the table."""
    quadratic, fit = list(left_out(profile)), fit_latency(profile.latencies)
    cells = [stage, variant, f"{profile.latency(1, 1) * 1e3:.0f} ms", f"{mean(quadratic):.1%}, {max(quadratic):.1%}"]
    if fit is None:
        return f"| {' | '.join([*cells, 'too few points', ''])} |"
    errors = [abs(fit.residuals[key]) / seconds for key, seconds in profile.latencies.items()]
    return f"| {' | '.join([*cells, f'{fit.r2:.4f}', f'{mean(errors):.1%}, {max(errors):.1%}'])} |"


def draw(axes: Any, variant: str, profile: Profile) -> None:
    """Points and both fits of a variant, by batch, a colour for each number of cores."""
    fit = fit_latency(profile.latencies)
    for cores in profile.cores:
        batches = sorted(batch for count, batch in profile.points if count == cores)
        measured = [profile.points[cores, batch].latency for batch in batches]
        colour = f"C{cores - 1}"
        axes.plot(batches, measured, "o", color=colour, label=f"{cores} core{'s' if cores > 1 else ''}, measured")
        dense = np.linspace(batches[0], batches[-1], 50)
        axes.plot(dense, np.polyval(np.polyfit(batches, measured, 2), dense), "-", color=colour, label="quadratic")
        if fit is not None:
            axes.plot(dense, fit.model.over(np.full(50, float(cores)), dense), ":", color=colour, label="Sponge")
    axes.set_title(variant, fontsize=9)


def plot(profiles: dict[tuple[str, str], Profile], path: Path) -> None:
    """A picture of all variants, five beside each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    across = 5
    down = -(-len(profiles) // across)
    figure, grid = pyplot.subplots(down, across, figsize=(3 * across, 2.6 * down), layout="constrained", squeeze=False)
    for axes, ((_, variant), profile) in zip(grid.flat, profiles.items(), strict=False):
        draw(axes, variant, profile)
    grid[0][0].legend(fontsize=7)
    figure.supxlabel("batch")
    figure.supylabel("latency of a batch (s)")
    figure.savefig(path, dpi=80)


@click.command(help=__doc__)
@click.argument("csv", type=click.Path(path_type=Path, exists=True))
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Write a picture, too.")
def main(csv: Path, picture: Path | None) -> None:
    """Print the table."""
    profiles = dict(read_profiles(csv))
    print(COLUMNS)
    print("|" + "---|" * COLUMNS.count(" |"))
    for (stage, variant), profile in profiles.items():
        print(row(stage, variant, profile))
    if picture:
        plot(profiles, picture)


if __name__ == "__main__":
    main()
