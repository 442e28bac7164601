"""Measures how accurate the variants of the text pipeline are: ``python profiling/text_accuracy.py``.

Every detector runs with every recogniser on held-out snippets. Accuracy is the share of lines read exactly. A stage's
accuracy is taken with the best other stage, detectors relative to the best pair, so that the product over the stages
estimates a pair's accuracy; how well it does is printed too. Times are CPU times of one thread, without Triton.
With --alone the recognisers are measured on lines cut out of such snippets: the stage as a pipeline of its own.
"""

from __future__ import annotations

import base64
import csv
import runpy
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "model_repository" / "text"
SEED = 20_240_501
"""Held out: a demo draws its snippets from other seeds."""
SNIPPETS = 300
NORMAL_95 = 1.96

Timed = Callable[[Any], tuple[Any, float]]


@dataclass(frozen=True)
class Variant:
    """A version of a stage in the model repository; ``make(weights, threads)`` gives what it serves."""

    stage: str
    version: int
    name: str
    make: Callable[[Path, int], Any]


@dataclass(frozen=True)
class Pair:
    """``accuracy`` of a detector with a recogniser, and half the width of its 95 % interval."""

    detect: str
    recognise: str
    accuracy: float
    margin: float


@dataclass(frozen=True)
class Alone:
    """``accuracy`` of a recogniser on cut lines, and half the width of its 95 % interval."""

    recognise: str
    accuracy: float
    margin: float


@contextmanager
def importable(repository: Path) -> Iterator[None]:
    """Let the repository's modules be imported outside Triton, whose own module is replaced by an empty one."""
    path, stub = list(sys.path), "triton_python_backend_utils"
    absent = stub not in sys.modules
    if absent:
        sys.modules[stub] = ModuleType(stub)
    try:
        yield
    finally:
        sys.path[:] = path
        if absent:
            del sys.modules[stub]


def served_variants(repository: Path, stage: str) -> list[Variant]:
    """Every version of ``stage``, exactly as Triton would make it, by ascending version."""
    variants = []
    for file in sorted(repository.glob(f"{stage}/*/model.py"), key=lambda file: int(file.parent.name)):
        with importable(repository):
            made = runpy.run_path(str(file))
        name = made["__doc__"].removeprefix("Variant ").rstrip(".")
        variants.append(Variant(stage, int(file.parent.name), name, made["TritonPythonModel"].make_stage))
    return variants


def timed(call: Callable[[Any], Any]) -> Timed:
    """``call``, returning also the seconds of CPU time it took, which other programs disturb less."""

    def run(argument: Any) -> tuple[Any, float]:
        started = time.process_time()
        answer = call(argument)
        return answer, time.process_time() - started

    return run


def interval(matches: np.ndarray[Any, Any], lines: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Accuracy and half its 95 % interval; a snippet's lines stand or fall together, so snippets are the sample
    (ratio estimator: Cochran, Sampling Techniques, section 6.4).
    """
    accuracy = matches.sum() / lines.sum()
    error = np.sqrt(np.sum((matches - accuracy * lines) ** 2)) / lines.sum()
    return float(accuracy), float(NORMAL_95 * error)


def measure(weights: Path, count: int) -> tuple[list[Pair], Mapping[str, float]]:
    """Every pair on ``count`` snippets, and the median CPU seconds per snippet of every variant."""
    from ipa_seldon.demo.snippets import matched, snippet

    snippets = [snippet(SEED, index) for index in range(count)]
    rows = [[base64.b64encode(one.png)] for one in snippets]
    lines = np.array([len(one.lines) for one in snippets])
    recognisers = [(v, v.make(weights, 1)) for v in served_variants(REPOSITORY, "recognise")]
    pairs, medians = [], {}
    for detector in served_variants(REPOSITORY, "detect"):
        found, seconds = zip(*map(timed(one_row(detector.make(weights, 1))), rows), strict=True)
        medians[detector.name] = float(np.median(seconds))
        for recogniser, stage in recognisers:
            read, seconds = zip(*map(timed(one_row(stage)), found), strict=True)
            # Later detectors find more lines, and the last, best one leaves its times standing.
            medians[recogniser.name] = float(np.median(seconds))
            texts = [[text.decode() for text in row] for row in read]
            matches = np.array([matched(one.lines, row) for one, row in zip(snippets, texts, strict=True)])
            pairs.append(Pair(detector.name, recogniser.name, *interval(matches, lines)))
            click.echo(f"  {detector.name} -> {recogniser.name}: {pairs[-1].accuracy:.3f}", err=True)
    return pairs, medians


def measure_alone(weights: Path, count: int) -> list[Alone]:
    """Every recogniser on the cut lines of ``count`` snippets."""
    from ipa_seldon.demo.snippets import cuttings, matched

    snippets = [cuttings(SEED, index) for index in range(count)]
    rows = [[base64.b64encode(png) for png in one.pngs] for one in snippets]
    lines = np.array([len(one.lines) for one in snippets])
    measured = []
    for variant in served_variants(REPOSITORY, "recognise"):
        read = map(one_row(variant.make(weights, 1)), rows)
        texts = [[text.decode() for text in row] for row in read]
        matches = np.array([matched(one.lines, row) for one, row in zip(snippets, texts, strict=True)])
        measured.append(Alone(variant.name, *interval(matches, lines)))
    return measured


def one_row(stage: Any) -> Callable[[list[bytes]], list[bytes]]:
    """A stage as a function of one request."""

    def run(row: list[bytes]) -> list[bytes]:
        answer: list[bytes] = stage.run([stage.parse(row)])[0]
        return answer

    return run


def stage_accuracies(pairs: list[Pair]) -> dict[str, dict[str, float]]:
    """Stage -> variant -> accuracy: recognisers with the best detector, detectors with the best recogniser relative to
    the best pair. RuntimeError when nothing was read at all.
    """
    best = max(pairs, key=lambda pair: pair.accuracy)
    if best.accuracy == 0:
        raise RuntimeError("no line was read: too few snippets, or broken models")
    return {
        "detect": {p.detect: p.accuracy / best.accuracy for p in pairs if p.recognise == best.recognise},
        "recognise": {p.recognise: p.accuracy for p in pairs if p.detect == best.detect},
    }


def product_errors(pairs: list[Pair]) -> list[float]:
    """How far the product of the stage accuracies is from what each pair measured."""
    stages = stage_accuracies(pairs)
    return [abs(stages["detect"][p.detect] * stages["recognise"][p.recognise] - p.accuracy) for p in pairs]


def table(pairs: list[Pair]) -> list[str]:
    """Detectors as rows, recognisers as columns."""
    columns = list(dict.fromkeys(pair.recognise for pair in pairs))
    lines = ["detect \\ recognise  " + "".join(f"{name:>14}" for name in columns)]
    for detect in dict.fromkeys(pair.detect for pair in pairs):
        cells = [f"{p.accuracy:.3f} +-{p.margin:.3f}" for p in pairs if p.detect == detect]
        lines.append(f"{detect:<18} " + "".join(f"{cell:>14}" for cell in cells))
    return lines


def yaml_lines(stages: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The variants of ``stages`` (stage -> variant -> accuracy) as a pipeline file has them."""
    lines = []
    for stage, accuracies in stages.items():
        lines += [f"{stage}:", "  variants:"]
        for variant in served_variants(REPOSITORY, stage):
            accuracy = accuracies[variant.name]
            lines.append(f"    {variant.name}: {{accuracy: {accuracy:.3f}, version: {variant.version}}}")
    return lines


def write_results(results: Sequence[Pair | Alone], path: Path) -> None:
    """One row per result, in columns of its fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(vars(results[0]))
        writer.writerows([f"{v:.4f}" if isinstance(v, float) else v for v in vars(one).values()] for one in results)


@click.command(help=__doc__)
@click.option("--limit", type=click.IntRange(1), default=SNIPPETS, show_default=True, help="How many snippets.")
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Directory of the models.")
@click.option("--alone", is_flag=True, help="Measure the recognisers on cut lines.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write what was measured as CSV too."
)
def main(limit: int, cache: Path | None, alone: bool, output: Path | None) -> None:
    """Measure and print."""
    from ipa_seldon.demo.models import fetch, models_directory

    weights = cache or models_directory()
    fetch(weights, say=lambda line: click.echo(line, err=True))
    results = print_alone(weights, limit) if alone else print_pairs(weights, limit)
    if output:
        write_results(results, output)


def print_alone(weights: Path, limit: int) -> Sequence[Pair | Alone]:
    """Measure the recognisers on cut lines, and print what came out."""
    measured = measure_alone(weights, limit)
    click.echo(f"Share of cut lines read exactly, {limit} snippets, 95 % interval:\n")
    for one in measured:
        click.echo(f"  {one.recognise:<12} {one.accuracy:.3f} +-{one.margin:.3f}")
    click.echo("\n" + "\n".join(yaml_lines({"recognise": {one.recognise: one.accuracy for one in measured}})))
    return measured


def print_pairs(weights: Path, limit: int) -> Sequence[Pair | Alone]:
    """Measure every detector with every recogniser, and print what came out."""
    pairs, medians = measure(weights, limit)
    errors = product_errors(pairs)
    click.echo(f"Share of lines read exactly, {limit} snippets, 95 % interval:\n")
    click.echo("\n".join(table(pairs)))
    click.echo(
        f"\nThe product of stage accuracies errs by {np.mean(errors):.3f} on average, {max(errors):.3f} at most."
    )
    click.echo("\nMedian milliseconds of CPU time per snippet, one thread:")
    for name in dict.fromkeys((*(p.detect for p in pairs), *(p.recognise for p in pairs))):
        click.echo(f"  {name:<12} {medians[name] * 1e3:5.1f}")
    click.echo("\n" + "\n".join(yaml_lines(stage_accuracies(pairs))))
    return pairs


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
