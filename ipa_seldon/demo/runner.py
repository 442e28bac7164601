"""The demo from end to end: calibrate, replay the load, adapted and with what stays fixed, and report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from ipa_seldon.algorithms import BY_CAPACITY, BY_DEADLINE
from ipa_seldon.bootstrap import build_algorithm, local_repository, time_shared
from ipa_seldon.config import Config, read_config, slowed_config, with_algorithm, with_spec
from ipa_seldon.demo.loads import Shape, load_of
from ipa_seldon.demo.replay import ADAPTIVE, Run, replay
from ipa_seldon.demo.requests import generated_for, requests
from ipa_seldon.demo.serving import SERVED_BY
from ipa_seldon.errors import ConfigError
from ipa_seldon.plan import Observation
from ipa_seldon.profiler import CALIBRATION_SECONDS, calibrate, calibrate_capacity, this_machine
from ipa_seldon.profiles import USABLE
from ipa_seldon.runs.recorded import forget_run, write_run
from ipa_seldon.telemetry.live import LiveTelemetry, live_page
from ipa_seldon.weights.catalogue import CATALOGUE, targets
from ipa_seldon.weights.fetch import fetch
from ipa_seldon.weights.origin import doubt
from ipa_seldon.weights.record import read_record
from ipa_seldon.weights.sources import Random

PIPELINES = Path(__file__).parents[2] / "manifests" / "pipelines"
TEXT_PIPELINE = PIPELINES / "text" / "pipeline.yaml"
RECOGNISE_PIPELINE = PIPELINES / "recognise" / "pipeline.yaml"
SMALL = "local.yaml"
"""Beside a pipeline's file: the same one for one small machine."""
SPONGE_PIPELINE = PIPELINES / "recognise-sponge" / "pipeline.yaml"
FIXED = {"lightest": "fa2-low", "heaviest": "fa2-high"}
PEAK = 0.58
"""Share of the load that the lightest variants carry on this machine, at which a pattern peaks by default: the load
generator, the gateway and the controller need cores too."""
PEAK_BY_DEADLINE = 0.8
"""The same of what is carried on all cores where requests have deadlines, so that fewer are too few."""
BEYOND_ANY_PLAN = 1e6
PACKAGES = ("ipa-seldon", "highspy", "numpy", "statsmodels", "nvidia-pytriton", "onnxruntime")
"""Whose versions bear on what a run comes to."""
EMULATED = "an emulated cluster with Seldon Core; each pod a Triton and a sidecar, processes of this machine"


def pipeline_of(algorithm: str | None) -> Path:
    """The pipeline file of a demo that names none: a stage on its own for an algorithm that decides by capacities, or
    by deadlines.
    """
    if algorithm in BY_DEADLINE:
        return SPONGE_PIPELINE
    return RECOGNISE_PIPELINE if algorithm in BY_CAPACITY else TEXT_PIPELINE


def pipeline_named(name: str) -> Path:
    """The file of one of this project's pipelines, that for one small machine where it has one. ConfigError that lists
    them where none is of that name.
    """
    names = sorted(path.parent.name for path in PIPELINES.glob("*/pipeline.yaml"))
    if name not in names:
        raise ConfigError(f"pipeline {name!r}: accepted: {', '.join(names)}")
    small = PIPELINES / name / SMALL
    return small if small.exists() else PIPELINES / name / "pipeline.yaml"


def fill(config: Config, say: Callable[[str], None]) -> None:
    """Give variants that lack weights random ones of their true architecture and size, where the model repository has a
    catalogue of them. ConfigError and PlatformError as by ``fetch``.
    """
    repository = local_repository(config)
    if not (repository / CATALOGUE).exists():
        return
    missing = [target for target in targets(config, repository) if read_record(target.directory) is None]
    if missing:
        say(f"making random weights of the true size for {len(missing)} variants, once")
        fetch(missing, Random(), say)


@dataclass(frozen=True)
class Subject:
    """What is shown: the pipeline file at ``path``, adapted by ``algorithm`` (None: the file's). Where it is to
    ``calibrate``, what was measured is first scaled by what the lightest variants take on this machine.
    """

    path: Path
    algorithm: str | None = None
    calibrate: bool = False


class Demo:
    """Of ``subject`` under a load of that ``shape``; results go to ``directory``, progress in words to ``say``.

    ConfigError for what cannot be shown, before anything is measured. ``load`` is what will be replayed.
    """

    def __init__(self, subject: Subject, shape: Shape, directory: Path, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._notes: dict[str, str] = {}
        config = read_config(subject.path)
        if subject.algorithm:
            config = with_algorithm(config, subject.algorithm)
        self._algorithm = config.spec.algorithm
        build_algorithm(config)
        self._tensor = generated_for(local_repository(config), config.pipeline.stages[0].name)
        if config.pipeline.by_deadline:
            shape = shape.over_network()
        load_of(shape, self._tensor, peak=1.0)
        fill(config, say)
        if subject.calibrate:
            config = self._calibrated(config, shape.seed)
        self._config, shared = time_shared(config)
        for name, note in (("Cores", shared), ("Accuracies", doubt(config.pipeline, config.repository))):
            if note:
                say(note)
                self._notes[name] = note
        self.load = load_of(shape, self._tensor, self._peak())

    def _calibrated(self, config: Config, seed: int) -> Config:
        repository, inputs = local_repository(config), requests(self._tensor, seed)
        if self._algorithm in BY_CAPACITY:
            source = config.spec.capacity
            self._say("calibrating: finding the most load that the lightest variant takes")
            factor = calibrate_capacity(config.pipeline, repository, inputs, seed)
        else:
            source = config.spec.profile
            self._say(f"calibrating: measuring the lightest variants for {CALIBRATION_SECONDS:g} s")
            factor = calibrate(config.pipeline, repository, inputs)
        self._say(f"calibrated: this machine takes {factor:.2f} times what {source} says, which is scaled to it")
        self._notes["Calibration"] = f"{source}, times scaled by {factor:.3f} to this machine"
        return slowed_config(config, factor)

    def run(self, compare: bool, platform: str = "local", port: int = 0) -> None:
        """The adaptive run, and with ``compare`` the same arrivals with what stays fixed, served by a ``platform`` of
        SERVED_BY; the live page is at ``port`` meanwhile (0: a free one). The directory then has what ``read_run``
        reads, also where not all of them came to their end.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        forget_run(self._directory)
        if platform == "seldon":
            self._notes["Platform"] = EMULATED
        title = f"{self._config.name}: {'cores' if self._config.pipeline.by_deadline else 'variants'} follow the load"
        notes = {"Load": self.load.words, **self._notes, **_here()}
        replays, telemetry = [], LiveTelemetry()
        with live_page(telemetry, port) as url:
            self._say(f"live page: {url}")
            for run in (Run(ADAPTIVE, self._config, self._algorithm), *(self.fixed() if compare else ())):
                self._say(f"{run.name}: serving {self._config.name} on Triton; load: {self.load.words}")
                replays.append(replay(run, self.load, self._directory, SERVED_BY[platform], telemetry))
                write_run(self._directory, title, notes, replays)

    def fixed(self) -> list[Run]:
        """What the adaptive run is compared with: the lightest and the heaviest variants; where requests have deadlines
        one pod on the fewest and on the most cores, sized for the peak, that answers first come, first served.
        """
        spec = self._config.spec
        if not self._config.pipeline.by_deadline:
            return [Run(name, self._config, algorithm) for name, algorithm in FIXED.items()]
        runs = []
        for cores in sorted({1, min(spec.sponge.cores, self._config.budget or spec.sponge.cores)}):
            baselines = spec.baselines.model_copy(update={"cores": cores, "rate": self.load.peak})
            name = f"fifo-{cores}-core{'s' if cores > 1 else ''}"
            runs.append(Run(name, with_spec(self._config, baselines=baselines), "static", "fifo"))
        return runs

    def _peak(self) -> float:
        """Requests/s: PEAK of what the lightest variants carry within the limits; capacities hold a reserve already. Or
        PEAK_BY_DEADLINE of what all cores do.
        """
        chosen = self._algorithm in BY_CAPACITY | BY_DEADLINE
        carrier = build_algorithm(self._config, self._algorithm if chosen else "fa2-low")
        most = carrier.decide(BEYOND_ANY_PLAN, Observation(time=0.0, arrivals=(), plan={})).served
        part = PEAK_BY_DEADLINE if self._config.pipeline.by_deadline else PEAK
        return part * most / (USABLE if self._algorithm in BY_CAPACITY else 1.0)


def _here() -> dict[str, str]:
    """The machine, and what runs on it."""
    found = {"Python": python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {"Machine": this_machine(), "Versions": ", ".join(f"{name} {number}" for name, number in found.items())}
