"""The experiment file: what its runs are, and what is refused in one line."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.grid import Cell, code_version, expand, merged, read_experiment
from ipa_seldon.simulation.network import Network, pattern_bandwidth, sizes_of
from ipa_seldon.simulation.physics import Drop
from ipa_seldon.traces import read_trace
from tests.experiments.conftest import Workspace, pipeline_document

ROOT = Path(__file__).parents[2]
WITH_NETWORK = {"pattern": "ramp", "scale": 5, "network": {"pattern": "4g-bus"}, "size": "200KB"}


def test_every_combination_is_a_run(workspace: Workspace) -> None:
    """Pipelines x loads x methods x seeds, the seeds of a cell together; the first seed of each has the series."""
    runs = expand(read_experiment(workspace.file))
    assert len(runs) == 2 * 2 * 2 * 2
    assert [run.seed for run in runs[:4]] == [0, 1, 0, 1]
    assert [run.series for run in runs[:4]] == [True, False, True, False]
    assert runs[0].cell == runs[1].cell == Cell("one", "calm", "default")
    assert len({run.key for run in runs}) == len(runs)


def test_only_selects_cells(workspace: Workspace) -> None:
    """An axis that is named keeps those names; the others stay whole."""
    cells = read_experiment(workspace.file).cells({"pipeline": ["two"], "method": ["fixed", "default"]})
    assert cells == [Cell("two", load, method) for load in ("calm", "wild") for method in ("default", "fixed")]


def test_changes_merge_key_by_key() -> None:
    """Mappings merge, everything else is replaced, and what was merged stays as it was."""
    base = {"objective": {"alpha": 2, "beta": 1}, "seeds": [1, 2], "algorithm": "ipa"}
    changes = {
        "objective": {"alpha": 9},
        "seeds": [3],
        "damping": {"gain": 1},
        "algorithm": {"not": "a mapping before"},
    }
    assert merged(base, changes) == {
        "objective": {"alpha": 9, "beta": 1},
        "seeds": [3],
        "damping": {"gain": 1},
        "algorithm": {"not": "a mapping before"},
    }
    assert base == {"objective": {"alpha": 2, "beta": 1}, "seeds": [1, 2], "algorithm": "ipa"}


def test_overrides_hold_for_their_load_and_methods_win(workspace: Workspace) -> None:
    """A pipeline's change under one load reaches every method there but one that says otherwise."""
    workspace.change("overrides", {"one": {"calm": {"objective": {"alpha": 77}}}})
    workspace.change("methods.own", {"objective": {"alpha": 3}})
    alphas = {
        str(run.cell): run.scenario.config.spec.objective.alpha for run in expand(read_experiment(workspace.file))
    }
    assert alphas["one-calm-default"] == alphas["one-calm-fixed"] == 77
    assert alphas["one-calm-own"] == alphas["two-calm-own"] == 3
    assert alphas["one-wild-default"] == alphas["two-calm-default"] == 10


def test_a_trace_is_used_where_it_is(workspace: Workspace) -> None:
    """Without the file a load is its pattern, scaled to the peak; with it, the trace, divided."""
    cell = {"pipeline": ["one"], "load": ["wild"], "method": ["default"]}
    pattern = expand(read_experiment(workspace.file), cell)[0]
    assert pattern.scenario.rates.max() == pytest.approx(20, rel=0.1)
    (workspace.path / "wild.csv").write_text("second,rps\n" + "".join(f"{k},{k}\n" for k in range(100)))
    traced = expand(read_experiment(workspace.file), cell)[0]
    assert np.array_equal(traced.scenario.rates, np.arange(60) / 2)
    assert traced.key != pattern.key


def test_a_load_is_a_window_of_a_long_trace(workspace: Workspace) -> None:
    """One number a line, packed: the seconds from ``start`` on; another start is another load."""
    (workspace.path / "long.txt.xz").write_bytes(lzma.compress("".join(f"{k}\n" for k in range(500)).encode()))
    cell = {"pipeline": ["one"], "load": ["long"], "method": ["default"]}
    keys = set()
    for start, first in (("2m", 120), (30, 30)):
        workspace.change("loads.long", {"trace": "long.txt.xz", "start": start, "duration": "60s"})
        run = expand(read_experiment(workspace.file), cell)[0]
        assert np.array_equal(run.scenario.rates, np.arange(first, first + 60))
        keys.add(run.key)
    assert len(keys) == 2
    workspace.change("loads.long", {"trace": "long.txt.xz", "start": "9m"})
    with pytest.raises(ConfigError, match=r"spec.loads.long: start: 540: accepted: below the 500 seconds"):
        expand(read_experiment(workspace.file), cell)


def test_a_network_is_its_trace_where_that_is(workspace: Workspace) -> None:
    """Without the file the network of a load is its pattern, of the load's length and the run's seed; with it, the
    trace, whatever the seed; a load that says nothing has none.
    """
    workspace.change("loads.calm.network", {"trace": "net.csv", "pattern": "4g-bus"})
    workspace.change("loads.calm.size", "200KB-500KB")
    only = {"pipeline": ["one"], "method": ["default"]}

    def networks() -> tuple[list[Network | None], list[str]]:
        runs = expand(read_experiment(workspace.file), only)
        return [run.scenario.network for run in runs], [run.key for run in runs]

    (one, other, *none), keys = networks()
    assert none == [None, None]
    for seed, made in enumerate((one, other)):
        assert made is not None
        assert np.array_equal(made.bandwidth, pattern_bandwidth("4g-bus", 60, seed))
        assert made.sizes == sizes_of("200KB-500KB")
    (workspace.path / "net.csv").write_text("second,bytes_per_second\n0,1000000\n1,2000000\n")
    traced, keys_of_trace = networks()
    assert [made and made.bandwidth.tolist() for made in traced] == [[1e6, 2e6], [1e6, 2e6], None, None]
    workspace.change("loads.calm.size", "200KB")
    _, keys_of_size = networks()
    assert len({keys[0], keys_of_trace[0], keys_of_size[0]}) == 3
    assert keys[2:] == keys_of_trace[2:] == keys_of_size[2:]


def test_the_key_follows_what_decides_the_result(workspace: Workspace) -> None:
    """Spec, profile, simulation and load change it; the profile's name and the order of its rows do not."""

    def key() -> str:
        return expand(read_experiment(workspace.file), {"pipeline": ["one"], "load": ["calm"]})[0].key

    first = key()
    profile = workspace.path / "pipelines" / "one.csv"
    header, *rows = profile.read_text().splitlines()
    (workspace.path / "pipelines" / "other.csv").write_text("\n".join([header, *reversed(rows)]))
    document = pipeline_document("one", ("first",))
    document["spec"]["profile"] = "other.csv"
    workspace.write_pipeline(document)
    assert key() == first
    keys = {first}
    (workspace.path / "pipelines" / "other.csv").write_text("\n".join([header, *rows]).replace("0.05", "0.06"))
    keys.add(key())
    for change, value in (
        ("methods.default", {"objective": {"alpha": 11}}),
        ("simulation", {"drop": "expired"}),
        ("simulation", {"drop": "expired", "resize": "250ms"}),
        ("simulation", {"drop": "expired", "resize": "250ms", "held_back": 1}),
        ("loads.calm.scale", 17),
    ):
        workspace.change(change, value)
        keys.add(key())
    assert len(keys) == 7


def test_the_key_follows_the_code_that_runs(tmp_path: Path) -> None:
    """An edit of an algorithm makes results old; one of a report, the command line or a figure does not."""
    root = tmp_path / "package"
    for name in ("algorithms/ipa.py", "experiments/simulate.py", "experiments/series.py", "experiments/figures.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("first")

    def version() -> str:
        code_version.cache_clear()
        return code_version(root)

    first = version()
    (root / "cli").mkdir()
    (root / "cli" / "new.py").write_text("second")
    (root / "experiments" / "figures.py").write_text("second")
    assert version() == first
    (root / "experiments" / "simulate.py").write_text("second")
    second = version()
    (root / "algorithms" / "ipa.py").write_text("second")
    assert len({first, second, version()}) == 3


def test_the_published_evaluation_expands() -> None:
    """The experiment file that comes with the project is whole: every method fits its pipelines, published weights
    that differ by load among them.
    """
    experiment = read_experiment(ROOT / "profiling" / "experiments.yaml")
    assert len(experiment.cells()) == 5 * 4 * 8
    runs = expand(experiment, {"pipeline": ["audio-qa"]})
    assert len(runs) == 4 * 8 * 5
    alphas = {run.cell.load: run.scenario.config.spec.objective.alpha for run in runs}
    assert alphas == {"bursty": 20, "steady-low": 10, "steady-high": 10, "fluctuating": 20}
    assert {len(run.scenario.rates) for run in runs} == {1200}


def test_infadapters_evaluation_expands() -> None:
    """Every method fits the service, whose file names no profile; each load is 20 minutes, of about the scale of the
    trace where that is not there.
    """
    experiment = read_experiment(ROOT / "profiling" / "infadapter.yaml")
    runs = expand(experiment)
    assert len(runs) == 4 * 10 * 5
    assert {run.cell.pipeline for run in runs} == {"resnet"}
    assert {len(run.scenario.rates) for run in runs} == {1200}
    means = {run.cell.load: float(run.scenario.rates.mean()) for run in runs}
    windows = {"bursty": 98.2, "steady-low": 37.6, "steady-high": 89.8, "fluctuating": 147.9}
    there = experiment.trace("bursty") is not None
    assert means == pytest.approx(windows, rel=0.001 if there else 0.25)


def test_sponges_evaluation_expands() -> None:
    """Every method fits the service; each load is 12 minutes long, over the bus trace, twice, where it is there."""
    experiment = read_experiment(ROOT / "profiling" / "sponge.yaml")
    runs = expand(experiment)
    assert len(runs) == 5 * 9 * 5
    assert {run.cell.pipeline for run in runs} == {"yolo-sponge"}
    assert {len(run.scenario.rates) for run in runs} == {720}
    there = experiment.network_trace("500kb") is not None
    assert {len(run.scenario.network.bandwidth) for run in runs if run.scenario.network} == {360 if there else 720}
    assert {run.scenario.physics.resize for run in runs} == {0.1}
    means = {run.cell.load: float(run.scenario.rates.mean()) for run in runs}
    published = expand(read_experiment(ROOT / "profiling" / "sponge-published.yaml"))
    alike = {(str(run.cell), run.seed): run.scenario for run in runs}
    assert len(published) == 2 * 9 * 5
    for run in published:
        other = alike[str(run.cell), run.seed]
        assert run.scenario.config.spec == other.config.spec
        assert np.array_equal(run.scenario.rates, other.rates)
        assert (run.scenario.physics.drop, run.scenario.physics.resize) == (Drop.NONE, other.physics.resize)
    assert means == pytest.approx({"200kb": 20, "500kb": 20, "surges": 13, "rush": 40, "overload": 26}, rel=0.1)


@pytest.mark.parametrize(
    ("load", "damping"), [("bursty", 8), ("steady-low", 8), ("steady-high", 3), ("fluctuating", 8)]
)
def test_infadapters_windows_are_those_of_ipa_not_damped(load: str, damping: int) -> None:
    """Whole requests of what remains after IPA's damping are those of the windows that IPA's experiment replays."""
    damped, whole = (read_experiment(ROOT / "profiling" / f"{name}.yaml") for name in ("experiments", "infadapter"))
    windows = [one.trace(load) for one in (damped, whole)]
    if None in windows:
        pytest.skip("the traces are not there")
    cell = {"load": [load], "method": ["infadapter"]}
    rates = expand(whole, cell)[0].scenario.rates
    assert np.floor(rates / damping).tolist() == read_trace(str(windows[0]))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lods", {}, "spec.lods: unknown key; accepted: pipelines, loads, methods, overrides, seeds, simulation"),
        ("loads.calm.scal", 1, "spec.loads.calm.scal: unknown key; accepted: trace, start, damping, pattern, scale"),
        ("loads.calm", {}, "accepted: trace, pattern, or both"),
        ("loads.calm", {"pattern": "ramp"}, "scale: accepted: requests/s at the peak, together with pattern"),
        ("loads.calm.damping", 2, "damping: accepted: together with trace"),
        ("loads.calm.start", "5m", "start: accepted: together with trace"),
        ("loads.calm.pattern", "rampp", "spec.loads.calm: pattern: 'rampp' is unknown; accepted: constant, steady-low"),
        ("loads.wild", {"trace": "gone.csv"}, "spec.loads.wild: "),
        ("loads.calm.size", "200KB", "size: accepted: bytes such as 200KB, together with network"),
        ("loads.calm.network", {"pattern": "4g-bus"}, "size: accepted: bytes such as 200KB, together with network"),
        (
            "loads.calm",
            WITH_NETWORK | {"network": {}},
            "spec.loads.calm.network: {}: accepted: trace, pattern, or both",
        ),
        ("loads.calm", WITH_NETWORK | {"size": "big"}, "spec.loads.calm: size: 'big': accepted: bytes above 0"),
        ("loads.calm", WITH_NETWORK | {"network": {"pattern": "5g"}}, "spec.loads.calm: network: '5g': accepted: "),
        ("loads.calm", WITH_NETWORK | {"network": {"trace": "gone.csv"}}, "gone.csv: the trace cannot be read"),
        ("seeds", [1, 1], "seeds: accepted: each seed once"),
        ("seeds", [], "spec.seeds: "),
        ("simulation.drop", "all", "spec.simulation.drop: 'all': accepted: 'hopeless', 'expired' or 'none'"),
        ("decision_times", {"stages": [1]}, "spec.decision_times.variants: missing"),
        (
            "decision_times",
            {"stages": [1], "variants": [1], "times": 1},
            "spec.decision_times.times: unknown key; accepted: stages, variants, repeats",
        ),
        ("overrides.three.calm", {}, "spec.overrides: three: unknown pipeline; accepted: one, two"),
        ("overrides.one.storm", {}, "overrides: load storm: accepted: calm, wild"),
        ("pipelines", ["pipelines/one.yaml", "pipelines/one.yaml"], "each pipeline once; one is there already"),
        ("pipelines", ["pipelines/zero.yaml"], "zero.yaml: cannot be read"),
        ("methods.default.algorithm", "ipaa", "method default, load calm: algorithm: 'ipaa' is unknown; accepted: ipa"),
        ("methods.default.forecaster", {"name": "x"}, "'x' is unknown; accepted: arima"),
        ("methods.default.damping", {"gan": 1}, "spec.damping.gan: unknown key; accepted: stabilization"),
        ("methods.default.limits", {"batch": 0}, "spec.limits.batch: 0: "),
        ("methods.default.profile", None, "spec.profile: missing"),
        (
            "methods.default.stages",
            {"first": {"tresh": 1}},
            "spec.stages.first.tresh: unknown key; accepted: threshold",
        ),
    ],
)
def test_mistakes_are_one_line(workspace: Workspace, key: str, value: object, words: str) -> None:
    """Every mistake names the file, the key and what is accepted."""
    workspace.change(key, value)
    with pytest.raises(ConfigError) as refused:
        expand(read_experiment(workspace.file))
    assert words in str(refused.value)
    assert str(workspace.path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_that_would_share_a_file_are_refused(workspace: Workspace) -> None:
    """The series of a cell has the cell's name: load a with method b-c is not load a-b with method c."""
    loads = workspace.document["spec"]["loads"]
    workspace.change("loads", {"a": loads["calm"], "a-b": loads["calm"]})
    workspace.change("methods", {"b-c": {}, "c": {}})
    with pytest.raises(ConfigError, match="one-a-b-c: accepted: names that differ when joined by hyphens"):
        read_experiment(workspace.file)
