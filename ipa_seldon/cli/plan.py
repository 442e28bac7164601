"""``ipa-seldon plan``: one decision, printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.algorithms import ALGORITHMS
from ipa_seldon.cli.drawing import Drawing
from ipa_seldon.cli.frontier import show_frontier
from ipa_seldon.cli.options import Budgets, Running, echo
from ipa_seldon.solvers import SOLVERS

if TYPE_CHECKING:
    from rich.console import Console

    from ipa_seldon.config import Config
    from ipa_seldon.latency_model import Fit
    from ipa_seldon.plan import Allocation, Plan, Proposal


@click.command()
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), required=True, help="Pipeline file.")
@click.option("--rate", type=click.FloatRange(min=0), required=True, help="Requests/s the pipeline receives.")
@click.option("--solver", type=click.Choice(list(SOLVERS)), help="Overrides the file's solver.")
@click.option("--algorithm", help=f"Overrides the file's algorithm: {', '.join(ALGORITHMS)}, or module:attribute.")
@click.option("--running", type=Running(), help="What runs now, in a pipeline of one stage: resnet50=8,resnet152=4.")
@click.option("--remaining", type=Budgets(), help="What each queued request has left of its SLO: 0.3,0.5,250ms.")
@click.option("--frontier", is_flag=True, help="Every plan that no other one beats in both accuracy and cost.")
@click.option(
    "--plot", type=Drawing("matplotlib", ".svg", ".png", ".html"), help="Draw the frontier to this .svg, .png or .html."
)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
def plan(
    path: Path,
    rate: float,
    solver: str | None,
    algorithm: str | None,
    running: tuple[Allocation, ...] | None,
    remaining: tuple[float, ...] | None,
    frontier: bool,
    plot: Path | None,
    output: str,
) -> int:
    """Print the best plan of a pipeline for one rate. Exit code 3 when only a degraded plan exists.

    With --frontier, print instead what accuracy costs: each plan with the range of alpha / beta whose weighted
    objective selects it, or none where only a constraint does (maximise with cost_at_most, minimise with
    accuracy_at_least).

    With --running a plan is weighed against what runs: VARIANT=CORES, a pod each, in equal shares of the load, or
    VARIANT=CORES:SHARE. With --remaining Sponge plans for a queue.
    """
    if plot and not frontier:
        raise click.UsageError("--plot needs --frontier")
    for name, value in (("running", running), ("remaining", remaining)):
        if value and frontier:
            raise click.UsageError(f"--{name}: accepted: without --frontier")
    from ipa_seldon.bootstrap import build_algorithm, build_trade, latency_fit
    from ipa_seldon.cli import EXIT_DEGRADED
    from ipa_seldon.config import read_config
    from ipa_seldon.plan import Observation, Status
    from ipa_seldon.weights.origin import doubt

    config = read_config(path)
    note = doubt(config.pipeline, config.repository)
    if note:
        click.echo(f"{config.name}: {note}", err=True)
    if frontier:
        return show_frontier(build_trade(config, algorithm, solver), rate, plot, output)
    built = build_algorithm(config, algorithm, solver)
    observation = Observation(0.0, (), _running_plan(config, running or ()), remaining or ())
    begin = time.perf_counter()
    proposal = built.decide(rate, observation)
    document = as_document(config, proposal, time.perf_counter() - begin)
    fit = latency_fit(built)
    if fit:
        document["fit"] = _fit_document(fit)
    if output == "table":
        _print_table(config, proposal, document)
    else:
        echo(document, output)
    return EXIT_DEGRADED if proposal.status is Status.DEGRADED else 0


def _running_plan(config: Config, running: tuple[Allocation, ...]) -> Plan:
    if not running:
        return {}
    if len(config.pipeline.stages) != 1:
        names = ", ".join(stage.name for stage in config.pipeline.stages)
        raise click.UsageError(f"--running: accepted: for a pipeline of one stage; stages are: {names}")
    (stage,) = config.pipeline.stages
    known = [variant.name for variant in stage.variants]
    for allocation in running:
        if allocation.variant not in known:
            raise click.UsageError(f"--running: {allocation.variant!r}: accepted: {', '.join(known)}")
    return {stage.name: running}


def _fit_document(fit: Fit) -> dict[str, Any]:
    """Coefficients and residuals in seconds; the latter are of measured points."""
    from dataclasses import asdict

    residuals = [{"cores": c, "batch": b, "residual": value} for (c, b), value in fit.residuals.items()]
    return {**asdict(fit.model), "r2": fit.r2, "residuals": residuals}


def as_document(config: Config, proposal: Proposal, seconds: float) -> dict[str, Any]:
    """The proposal as ``-o json`` prints it."""
    from ipa_seldon.plan import plan_to_json

    document: dict[str, Any] = {
        "status": str(proposal.status),
        "solver": proposal.solver,
        "decision_seconds": round(seconds, 6),
        "objective": proposal.objective,
        "accuracy": proposal.accuracy,
        "cost": proposal.cost,
        "latency": proposal.latency,
        "slo": config.pipeline.slo,
        "why": dict(proposal.why),
        "stages": plan_to_json(proposal.plan),
    }
    if proposal.reason:
        document["reason"] = proposal.reason
    return document


def _print_table(config: Config, proposal: Proposal, document: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ipa_seldon.plan import allocated_gpus, counted

    table = Table(box=box.SIMPLE_HEAD, title=f"{config.name}: {proposal.status}", title_justify="left")
    table.add_column("stage")
    table.add_column("variant")
    gpus = allocated_gpus(proposal.plan)
    for heading in ("cores", *(["GPUs"] if gpus else ()), "batch", "replicas", "share"):
        table.add_column(heading, justify="right")
    for stage, allocations in proposal.plan.items():
        for a in allocations:
            of_gpus = [str(a.gpus)] if gpus else []
            table.add_row(stage, a.variant, str(a.cores), *of_gpus, str(a.batch), str(a.replicas), f"{a.share:g}")
    console = Console()
    console.print(table)
    console.print(
        f"accuracy {proposal.accuracy:.4f} · cost {_cost_words(proposal)} · latency {proposal.latency:.3f} s of "
        f"{config.pipeline.slo:g} s · objective {proposal.objective:.4f}",
        highlight=False,
    )
    binding, peak = proposal.why.get("binding", "none"), proposal.why.get("peak")
    if peak is not None:
        binding += f" · {peak} cores at once during the change"
    console.print(
        f"binding: {binding} · {document['solver']}, {document['decision_seconds'] * 1e3:.1f} ms", highlight=False
    )
    runner_up = proposal.why.get("runner_up")
    if runner_up:
        changed = {stage: a for stage, a in runner_up.items() if a != document["stages"].get(stage)}
        for stage, allocations in changed.items():
            for a in allocations:
                share = "" if a["share"] == 1 else f", share {a['share']:.3g}"
                held = f" and {counted(a['gpus'], 'GPU')}" if a["gpus"] else ""
                console.print(
                    f"runner-up: {stage} on {a['variant']}, {a['replicas']} x {a['cores']} cores{held}, batch "
                    f"{a['batch']}{share}",
                    highlight=False,
                )
    if "fit" in document:
        _print_fit(console, document["fit"])
    if proposal.reason:
        console.print(proposal.reason, highlight=False)


def _cost_words(proposal: Proposal) -> str:
    """The cost in cores, and what it is made of where there are GPUs."""
    from ipa_seldon.plan import allocated_cores, allocated_gpus, counted

    gpus = allocated_gpus(proposal.plan)
    parts = f" ({allocated_cores(proposal.plan)} and {counted(gpus, 'GPU')})" if gpus else ""
    return f"{proposal.cost:g} cores{parts}"


def _print_fit(console: Console, fit: dict[str, Any]) -> None:
    worst = max(fit["residuals"], key=lambda point: abs(point["residual"]))
    cores = f"{worst['cores']} core{'' if worst['cores'] == 1 else 's'}"
    console.print(
        f"latency ({fit['gamma']:.4g} b {fit['epsilon']:+.4g}) / c {fit['delta']:+.4g} b {fit['eta']:+.4g} s · R2 "
        f"{fit['r2']:.3f} · farthest off {worst['residual']:+.3f} s, on {cores} at batch {worst['batch']}",
        highlight=False,
    )
