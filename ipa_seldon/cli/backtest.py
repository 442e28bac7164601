"""``ipa-seldon backtest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipa_seldon.algorithms import ALGORITHMS
from ipa_seldon.cli.cases import headings, run_cases
from ipa_seldon.cli.histories import Range, history_options
from ipa_seldon.cli.options import Finite
from ipa_seldon.cli.tables import OUTPUTS, Section, show

if TYPE_CHECKING:
    from ipa_seldon.advice.recording import Recording
    from ipa_seldon.config import Config


@click.command()
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), help="Pipeline file.")
@history_options
@click.option(
    "--trace", type=click.Path(path_type=Path), help="In place of a Prometheus: CSV second,rps or one a line."
)
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    help=f"{', '.join(ALGORITHMS)}, or module:attribute; repeatable.  [default: the file's, and baselines that apply]",
)
@click.option("--startup", type=Finite(min=0), default=0.0, show_default=True, help="Seconds a replica takes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the load and serving it.")
@click.option("--jobs", type=click.IntRange(min=1), help="Algorithms at a time.  [default: one a core]")
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True)
def backtest(
    path: Path,
    history: Range,
    trace: Path | None,
    algorithms: tuple[str, ...],
    startup: float,
    seed: int,
    jobs: int | None,
    output: str,
) -> int:
    """Replay a history through the simulator, and report what each algorithm would have done.

    The history is what Prometheus has of the pipeline's load, fetched in pages, or a trace. Forecasts look back on what
    came before it. Seconds nobody measured have no requests, and algorithms see that they were not measured. Ctrl-C
    reports the algorithms that have ended.
    """
    from ipa_seldon.advice.backtest import cases
    from ipa_seldon.advice.replay import Case
    from ipa_seldon.config import read_config
    from ipa_seldon.simulation.physics import Physics

    config = read_config(path)
    base = Case("", config, _recording(config, history, trace), physics=Physics(startup=startup), seed=seed)
    made = cases(base, algorithms)
    click.echo(f"{config.name}: {base.recording.words()}", err=True)
    outcomes = run_cases(made, jobs)
    document = {
        "pipeline": config.name,
        "start": base.recording.start,
        "seconds": len(base.recording.rates),
        "unmeasured_seconds": base.recording.unmeasured[0],
        "seed": seed,
        **outcomes.as_json(),
    }
    rows = outcomes.rows([case.name for case in made])
    title = f"{config.name}: {base.recording.words()}"
    show(document, [Section(title, headings("algorithm"), rows)], output)
    if outcomes.interrupted:
        raise KeyboardInterrupt
    return 1 if outcomes.failed else 0


def _recording(config: Config, history: Range, trace: Path | None) -> Recording:
    import numpy as np

    from ipa_seldon.advice.recording import Recording
    from ipa_seldon.traces import read_trace

    if trace is None:
        return history.recording(config)
    history.refuse("--trace")
    return Recording(0, np.array(read_trace(trace)))
