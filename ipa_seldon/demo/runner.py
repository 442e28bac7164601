"""The demo from end to end: calibrate, replay the load, adapted and with fixed variants, and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ipa_seldon.algorithms import BY_CAPACITY
from ipa_seldon.bootstrap import build_algorithm, repository_of, time_shared
from ipa_seldon.config import Config, read_config, slowed_config
from ipa_seldon.demo.replay import ADAPTIVE, FIXED, Load, Run, replay
from ipa_seldon.demo.report import render
from ipa_seldon.demo.requests import generated_for, requests
from ipa_seldon.demo.serving import SERVED_BY
from ipa_seldon.demo.summary import RunResult
from ipa_seldon.plan import Observation
from ipa_seldon.profiler import CALIBRATION_SECONDS, calibrate, calibrate_capacity, this_machine
from ipa_seldon.profiles import USABLE
from ipa_seldon.simulation.workload import pattern_rates
from ipa_seldon.telemetry.live import LiveTelemetry, live_page
from ipa_seldon.traces import read_trace

PIPELINES = Path(__file__).parents[2] / "manifests" / "pipelines"
TEXT_PIPELINE = PIPELINES / "text" / "pipeline.yaml"
RECOGNISE_PIPELINE = PIPELINES / "recognise" / "pipeline.yaml"
PEAK = 0.58
"""Share of the load that the lightest variants carry on this machine, at which a pattern peaks by default: the load
generator, the gateway and the controller need cores too."""
BEYOND_ANY_PLAN = 1e6
EMULATED = "an emulated cluster with Seldon Core; each pod a Triton and a sidecar, processes of this machine"


def check_load(trace: Path | None, pattern: str, duration: float, seed: int) -> None:
    """ConfigError for a load that cannot be replayed, before anything is started for it."""
    if trace is not None:
        read_trace(trace)
    else:
        pattern_rates(pattern, round(duration), 1.0, seed)


def pipeline_of(algorithm: str | None) -> Path:
    """The pipeline file of a demo that names none: a stage on its own for an algorithm that decides by capacities."""
    return RECOGNISE_PIPELINE if algorithm in BY_CAPACITY else TEXT_PIPELINE


@dataclass(frozen=True)
class Subject:
    """What is shown: the pipeline file at ``path``, adapted by ``algorithm`` (None: the file's). With
    ``calibration_seed`` what was measured is first scaled by what the lightest variants take on this machine.
    """

    path: Path
    algorithm: str | None = None
    calibration_seed: int | None = None


class Demo:
    """Of ``subject``; results go to ``directory``, progress in words to ``say``."""

    def __init__(self, subject: Subject, directory: Path, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._notes: dict[str, str] = {}
        config = read_config(subject.path)
        self._algorithm = subject.algorithm or config.spec.algorithm
        build_algorithm(config, self._algorithm)  # what it lacks is said before anything is measured for it
        first = config.pipeline.stages[0].name
        self._tensor = generated_for(repository_of(config), first)
        if subject.calibration_seed is not None:
            config = self._calibrated(config, subject.calibration_seed)
        self._config, note = time_shared(config)
        if note:
            say(note)
            self._notes["Cores"] = note

    def _calibrated(self, config: Config, seed: int) -> Config:
        repository, inputs = repository_of(config), requests(self._tensor, seed)
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

    def load(
        self,
        duration: float,
        seed: int,
        damping: float = 1.0,
        *,
        trace: Path | None = None,
        pattern: str = "bursty",
        scale: float | None = None,
    ) -> Load:
        """The load to replay: the first ``duration`` seconds of ``trace``, else ``pattern`` with its peak at ``scale``
        requests/s, by default at what suits this machine; divided by ``damping``.
        """
        length = ("--duration", str(round(duration)))
        common = ("--tensor", self._tensor, "--seed", str(seed), "--damping", str(damping), *length)
        if trace is not None:
            seconds = min(round(duration), len(read_trace(trace)))
            return Load((*common, "--trace", str(trace)), seconds, f"{trace.name}, divided by {damping:g}, seed {seed}")
        peak = scale or self._peak()
        words = f"{pattern}, peak {peak / damping:.1f} requests/s, seed {seed}"
        return Load((*common, "--pattern", pattern, "--scale", f"{peak:.3f}"), duration, words)

    def run(self, load: Load, compare: bool, platform: str = "local", port: int = 0) -> list[RunResult]:
        """The adaptive run, and with ``compare`` the same arrivals with the lightest and the heaviest variants, served
        by a ``platform`` of SERVED_BY; the live page is at ``port`` meanwhile (0: a free one).
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        if platform == "seldon":
            self._notes["Platform"] = EMULATED
        runs, telemetry = [], LiveTelemetry()
        with live_page(telemetry, port) as url:
            self._say(f"live page: {url}")
            for name in (ADAPTIVE, *(FIXED if compare else ())):
                self._say(f"{name}: serving {self._config.name} on Triton; load: {load.words}")
                run = Run(name, FIXED.get(name, self._algorithm), load)
                runs.append(replay(run, self._config, self._directory, SERVED_BY[platform], telemetry))
        return runs

    def write_report(self, runs: Sequence[RunResult], load: Load) -> Path:
        """The HTML report of ``runs``; returns where it is."""
        footer = {
            "Load": load.words,
            **self._notes,
            "Machine": this_machine(),
            "ipa-seldon": version("ipa-seldon"),
        }
        path = self._directory / "report.html"
        path.write_text(render(runs, f"{self._config.name}: variants follow the load", footer), encoding="utf-8")
        return path

    def _peak(self) -> float:
        """Requests/s: PEAK of what the lightest variants carry within the limits; capacities hold a reserve already."""
        by_capacity = self._algorithm in BY_CAPACITY
        carrier = build_algorithm(self._config, self._algorithm if by_capacity else "fa2-low")
        most = carrier.decide(BEYOND_ANY_PLAN, Observation(time=0.0, arrivals=(), plan={})).served
        return PEAK * most / (USABLE if by_capacity else 1.0)
