"""The demo from end to end: calibrate, replay the load, adapted and with fixed variants, and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ipa_seldon.algorithms.baselines import fa2_low
from ipa_seldon.bootstrap import algorithm_settings, repository_of, time_shared
from ipa_seldon.config import Config, read_config, with_profiles
from ipa_seldon.demo.replay import ADAPTIVE, FIXED, Load, replay
from ipa_seldon.demo.report import render
from ipa_seldon.demo.requests import text_requests
from ipa_seldon.demo.serving import SERVED_BY
from ipa_seldon.demo.summary import RunResult
from ipa_seldon.plan import Observation
from ipa_seldon.profiler import CALIBRATION_SECONDS, calibrate, this_machine
from ipa_seldon.profiles import slowed
from ipa_seldon.simulation.workload import pattern_rates
from ipa_seldon.traces import read_trace

TEXT_PIPELINE = Path(__file__).parents[2] / "manifests" / "pipelines" / "text" / "pipeline.yaml"
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


class Demo:
    """``path`` is the pipeline file, results go to ``directory``, progress in words to ``say``.

    With ``calibration_seed`` the stored profile is first scaled by what the lightest variants take on this machine.
    """

    def __init__(self, path: Path, directory: Path, say: Callable[[str], None], calibration_seed: int | None) -> None:
        self._directory = directory
        self._say = say
        self._notes: dict[str, str] = {}
        config = read_config(path)
        if calibration_seed is not None:
            config = self._calibrated(config, calibration_seed)
        self._config, note = time_shared(config)
        if note:
            say(note)
            self._notes["Cores"] = note

    def _calibrated(self, config: Config, seed: int) -> Config:
        profile = config.spec.profile
        self._say(f"calibrating: measuring the lightest variants for {CALIBRATION_SECONDS:g} s")
        factor = calibrate(config.pipeline, repository_of(config), text_requests(seed))
        self._say(f"calibrated: this machine takes {factor:.2f} times what {profile} says; the profile is scaled to it")
        self._notes["Profile"] = f"{profile}, times scaled by {factor:.3f} to this machine"
        return with_profiles(config, slowed(config.profiles, factor))

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
        common = ("--seed", str(seed), "--damping", str(damping), "--duration", str(round(duration)))
        if trace is not None:
            seconds = min(round(duration), len(read_trace(trace)))
            return Load((*common, "--trace", str(trace)), seconds, f"{trace.name}, divided by {damping:g}, seed {seed}")
        peak = scale or PEAK * self._capacity()
        words = f"{pattern}, peak {peak / damping:.1f} requests/s, seed {seed}"
        return Load((*common, "--pattern", pattern, "--scale", f"{peak:.3f}"), duration, words)

    def run(self, load: Load, compare: bool, platform: str = "local") -> list[RunResult]:
        """The adaptive run, and with ``compare`` the same arrivals with the lightest and the heaviest variants, served
        by a ``platform`` of SERVED_BY.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        if platform == "seldon":
            self._notes["Platform"] = EMULATED
        runs = []
        for name in (ADAPTIVE, *(FIXED if compare else ())):
            self._say(f"{name}: serving {self._config.name} on Triton; load: {load.words}")
            runs.append(replay(name, self._config, load, self._directory, SERVED_BY[platform]))
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

    def _capacity(self) -> float:
        """Requests/s that the lightest variants carry within the limits."""
        lightest = fa2_low(self._config.pipeline, algorithm_settings(self._config))
        return lightest.decide(BEYOND_ANY_PLAN, Observation(time=0.0, arrivals=(), plan={})).served
