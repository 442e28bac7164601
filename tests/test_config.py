"""The pipeline file: what is read, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ipa_seldon.algorithms import BY_CAPACITY
from ipa_seldon.cli import cli
from ipa_seldon.config import read_config, with_algorithm
from ipa_seldon.errors import ConfigError
from ipa_seldon.plan import Allocation

PROFILE = """batch,stage,variant,throughput,cores,latency,note
1,crop,yolov5n,15.1,1,0.088,x
8,crop,yolov5n,12.2,1,0.655,
1,crop,yolov5s,6.57,1,0.205,
2,classification,resnet18,18.18,1,0.110,
1,classification,resnet18,17.7,1,0.074,
"""


def document() -> dict[str, Any]:
    return {
        "apiVersion": "ipa.seldon.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "video"},
        "spec": {
            "slo": {"latency": 6.89, "percentile": 99},
            "objective": {"accuracy": "product", "alpha": 2, "beta": 1, "delta": 1.0e-6},
            "algorithm": "ipa",
            "solver": "auto",
            "forecaster": {"name": "arima", "window": 120, "aggregate": 10, "horizon": 20, "quantile": 0.95},
            "interval": 10,
            "allocation": "base",
            "limits": {"batch": 8, "replicas": 100, "cores": None},
            "graph": {"name": "crop", "children": [{"name": "classification"}]},
            "stages": {
                "crop": {
                    "threshold": 4,
                    "variants": {
                        "yolov5n": {"accuracy": 0.457, "version": 1},
                        "yolov5s": {"accuracy": 0.568, "version": 2},
                    },
                },
                "classification": {"threshold": 4, "variants": {"resnet18": {"accuracy": 0.6975, "version": 1}}},
            },
            "profile": "video.csv",
        },
    }


CAPACITY = """cores,variant,capacity,slo,load_time,source
1,light,12,0.75,5,measured
4,light,42,0.75,6,measured
1,heavy,4,0.75,8,measured
4,heavy,17,0.75,8,measured
4,light,30,0.5,6,measured
"""


def document_of_a_set() -> dict[str, Any]:
    """A pipeline of one stage for InfAdapter, without a profile."""
    made = document()
    variants = {"heavy": {"accuracy": 0.8, "version": 2}, "light": {"accuracy": 0.6, "version": 1}}
    made["spec"] |= {
        "slo": {"latency": "750ms"},
        "algorithm": "infadapter",
        "infadapter": {"budget": 8, "min_cores": 1},
        "graph": {"name": "classification"},
        "stages": {"classification": {"variants": variants}},
        "capacity": "capacity.csv",
    }
    del made["spec"]["profile"]
    return made


PUBLISHED_SERVICE = Path(__file__).parents[1] / "profiling" / "results" / "published" / "sponge.csv"


def document_of_a_service() -> dict[str, Any]:
    """A pipeline of one stage and one variant for Sponge, on the published profile."""
    made = document()
    made["spec"] |= {
        "slo": {"latency": "1s"},
        "algorithm": "sponge",
        "limits": {"batch": 16, "replicas": 4},
        "graph": {"name": "yolo"},
        "stages": {"yolo": {"variants": {"yolov5s": {"accuracy": 0.568, "version": 1}}}},
        "profile": str(PUBLISHED_SERVICE),
    }
    return made


def write(directory: Path, content: dict[str, Any] | str, profile: str = PROFILE, capacity: str = CAPACITY) -> Path:
    path = directory / "pipeline.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    (directory / "video.csv").write_text(profile)
    (directory / "capacity.csv").write_text(capacity)
    return path


def changed(key: str, value: object) -> dict[str, Any]:
    made = document()
    *parents, last = key.split(".")
    target = made
    for parent in parents:
        target = target[parent]
    target[last] = value
    return made


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    """Every documented field arrives where the core looks for it; profile columns in any order, extras ignored."""
    config = read_config(write(tmp_path, document()))
    crop, classification = config.pipeline.stages
    assert (config.name, config.pipeline.slo, config.pipeline.percentile) == ("video", 6.89, 99)
    assert config.pipeline.paths == (("crop", "classification"),)
    assert [v.name for v in crop.variants] == ["yolov5n", "yolov5s"]
    assert crop.variant("yolov5s").version == 2
    assert crop.variants[0].latency(1, 8) == 0.655
    assert classification.threshold == 4
    assert config.spec.forecaster.quantile == 0.95


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("10s", 10), ("2m", 120), (1.5, 1.5), ("3", 3)])
def test_durations(tmp_path: Path, text: object, seconds: float) -> None:
    """Plain numbers are seconds; 250ms, 10s and 2m are accepted."""
    assert read_config(write(tmp_path, changed("spec.slo.latency", text))).pipeline.slo == seconds


REFUSED: dict[str, tuple[Any, ...]] = {
    "spec.slo.latency": (-1, "greater than 0"),
    "spec.slo.percentile": (100, "less than 100"),
    "spec.objective.accuracy": ("best", "'product', 'sum', 'average' or 'rank'"),
    "spec.solver": ("cplex", "'auto', 'highs', 'gurobi' or 'exhaustive'"),
    "spec.interval": ("soon", "250ms"),
    "spec.forecaster.window": (0.5, "whole seconds"),
    "spec.limits.cores": (1, "at least 2"),
    "spec.limits.replica": (3, "batch, replicas, cores"),
    "spec.stages.crop.treshold": (4, "threshold, rate, slo, variants"),
    "spec.stages.crop.variants.yolov5s.version": (1, "a version of its own", "spec.stages.crop.variants"),
    "spec.stages.crop.variants.yolov5m": ({"accuracy": 0.6, "version": 3}, "no row"),
    "spec.graph": ({"name": "crop"}, "classification", "spec.stages"),
    "spec.graph.children": (
        [{"name": "classification", "children": [{"name": "crop"}]}],
        "without cycles",
        "spec.graph",
    ),
    "spec.profile": ("absent.csv", "cannot be read"),
    "metadata.name": ("Not A Name", "pattern"),
    "kind": ("Pod", "'Pipeline'"),
}


@pytest.mark.parametrize("key", REFUSED)
def test_bad_input_is_one_line_with_exit_code_2(tmp_path: Path, key: str) -> None:
    """One line names the file, the key and what is accepted; no traceback; exit code 2."""
    value, accepted, *elsewhere = REFUSED[key]
    named = elsewhere[0] if elsewhere else key
    path = write(tmp_path, changed(key, value))
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert accepted in message
    if key != "spec.profile":
        assert f": {named}" in message


ON_A_GPU = {"accuracy": 0.568, "version": 2, "device": "gpu"}
PRICES = {"cpu_hourly_cost": 0.05, "gpu_hourly_cost": 0.6}


@pytest.mark.parametrize(
    ("variant", "spec", "gpus", "gpu_cores"),
    [
        (ON_A_GPU, {"prices": PRICES}, 1, 12.0),
        ({**ON_A_GPU, "gpus": 2}, {"objective": {"gpu_cores": 8}}, 2, 8.0),
        (ON_A_GPU, {"prices": PRICES, "objective": {"gpu_cores": 0}}, 1, 0.0),
        ({**ON_A_GPU, "device": "cpu"}, {}, 0, 0.0),
    ],
)
def test_what_a_gpu_costs(
    tmp_path: Path, variant: dict[str, Any], spec: dict[str, Any], gpus: int, gpu_cores: float
) -> None:
    """In cores: by the prices of both, or as the objective says, which goes before; a replica has one where the file
    does not say how many. The limit of a pipeline is its own.
    """
    content = changed("spec.stages.crop.variants.yolov5s", variant)
    content["spec"] |= spec
    content["spec"]["limits"]["gpus"] = 3
    pipeline = read_config(write(tmp_path, content)).pipeline
    assert [variant.gpus for variant in pipeline.stages[0].variants] == [0, gpus]
    assert pipeline.gpus == 3
    assert pipeline.gpu_cores == pytest.approx(gpu_cores)


@pytest.mark.parametrize(
    ("variant", "spec", "words"),
    [
        ({**ON_A_GPU, "device": "tpu"}, {}, "variants.yolov5s.device: 'tpu': accepted: 'cpu' or 'gpu'"),
        ({**ON_A_GPU, "gpus": 0.5}, {}, "variants.yolov5s.gpus: 0.5: accepted: a valid integer"),
        ({**ON_A_GPU, "device": "cpu", "gpus": 1}, {}, "variants.yolov5s.gpus: 1: accepted: only with device: gpu"),
        (ON_A_GPU, {}, "spec.objective.gpu_cores: missing; stages.crop.variants.yolov5s runs on GPUs; accepted: the"),
        (ON_A_GPU, {"prices": {"cpu_hourly_cost": 1}}, "spec.prices.gpu_hourly_cost: missing; stages.crop.variants."),
        (ON_A_GPU, {"prices": {**PRICES, "cpu_hourly_cost": 0}}, "spec.objective.gpu_cores: missing; stages.crop."),
        (ON_A_GPU, {"prices": PRICES, "limits": {"gpus": -1}}, "spec.limits.gpus: -1: accepted: greater than or"),
    ],
)
def test_gpus_that_cannot_be_planned_with(
    tmp_path: Path, variant: dict[str, Any], spec: dict[str, Any], words: str
) -> None:
    """A part of one, one without a price in cores, or one for a variant on processors: one line names the key."""
    content = changed("spec.stages.crop.variants.yolov5s", variant)
    content["spec"] |= spec
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, content))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "accepted"),
    [
        ({"variants": "best"}, "variants: 'best'", "lightest, heaviest, or {stage: variant}"),
        ({"variants": ["yolov5n"]}, "variants: ['yolov5n']", "lightest, heaviest, or {stage: variant}"),
        ({"variants": {"crop": 3}}, "variants: {'crop': 3}", "lightest, heaviest, or {stage: variant}"),
        ({"variants": {"crop": "yolov9"}}, "variants.crop: 'yolov9'", "accepted: yolov5n, yolov5s"),
        ({"variants": {"audio": "yolov5n"}}, "variants: 'audio'", "accepted: classification, crop"),
        ({"replicas": {"audio": 2}}, "replicas: 'audio'", "accepted: classification, crop"),
        ({"replicas": {"crop": 0}}, "replicas.crop: 0", "greater than or equal to 1"),
        ({"replicas": {"crop": 101}}, "replicas.crop: 101", "accepted: 1 to 100"),
        ({"utilization": 1.2}, "utilization: 1.2", "less than or equal to 1"),
        ({"rate": 0}, "rate: 0", "greater than 0"),
        ({"target": 0.8}, "target: unknown key", "accepted: rate, variants, replicas, utilization"),
    ],
)
def test_baselines_that_cannot_be_sized(tmp_path: Path, section: dict[str, Any], key: str, accepted: str) -> None:
    """One line names the key, the value, and the stages, variants or numbers that are accepted."""
    path = write(tmp_path, changed("spec.baselines", section))
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert f"{path}: spec.baselines.{key}" in message
    assert accepted in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("objective", "line"),
    [
        (
            {"maximise": "accuracy", "cost_at_most": 20, "alpha": 2},
            "alpha: 2.0: accepted: weights or maximise, not both",
        ),
        (
            {"minimise": "cost", "accuracy_at_least": 0.3, "beta": 1},
            "beta: 1.0: accepted: weights or minimise, not both",
        ),
        ({"maximise": "accuracy"}, "cost_at_most: missing; maximise: accuracy needs it"),
        ({"minimise": "cost"}, "accuracy_at_least: missing; minimise: cost needs it"),
        ({"cost_at_most": 20}, "cost_at_most: 20: accepted: only with maximise"),
        ({"maximise": "accuracy", "cost_at_most": 2, "accuracy_at_least": 0.3}, "only with minimise"),
        (
            {"maximise": "accuracy", "cost_at_most": 2, "minimise": "cost", "accuracy_at_least": 0.3},
            "minimise: 'cost': accepted: one of maximise and minimise",
        ),
        ({"maximise": "cost", "cost_at_most": 20}, "maximise: 'cost': accepted: 'accuracy'"),
        ({"maximise": "accuracy", "cost_at_most": 0}, "cost_at_most: 0: "),
        ({"minimise": "cost", "accuracy_at_least": 34}, "accuracy_at_least: 34.0: accepted: at most 1"),
    ],
)
def test_an_objective_has_weights_or_one_constraint(tmp_path: Path, objective: dict[str, Any], line: str) -> None:
    """One line names the key at fault in spec.objective, its value and what is accepted."""
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, changed("spec.objective", objective)))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'pipeline.yaml'}: spec.objective.")
    assert line in message
    assert "\n" not in message


def test_a_sum_of_accuracies_may_be_asked_for_beyond_1(tmp_path: Path) -> None:
    """Two stages add up to at most 2."""
    objective = {"accuracy": "sum", "minimise": "cost", "accuracy_at_least": 1.5, "delta": 0}
    assert read_config(write(tmp_path, changed("spec.objective", objective))).spec.objective.accuracy_at_least == 1.5


def test_the_budget_is_the_tighter_one(tmp_path: Path) -> None:
    """Of the limits' cores and the objective's cost, or a set's budget, whichever the algorithm goes by; none where
    neither is given.
    """
    assert read_config(write(tmp_path, document())).budget is None
    content = changed("spec.objective", {"maximise": "accuracy", "cost_at_most": 20})
    assert read_config(write(tmp_path, content)).budget == 20
    content["spec"]["limits"]["cores"] = 12
    assert read_config(write(tmp_path, content)).budget == 12
    for algorithm in sorted(BY_CAPACITY):
        of_a_set = document_of_a_set()
        of_a_set["spec"] |= {"algorithm": algorithm, "objective": {"maximise": "accuracy", "cost_at_most": 5}}
        assert read_config(write(tmp_path, of_a_set)).budget == 8
        of_a_set["spec"]["limits"]["cores"] = 6
        assert read_config(write(tmp_path, of_a_set)).budget == 6


def test_an_algorithm_may_go_by_deadlines(tmp_path: Path) -> None:
    """By the file's algorithm, or by that which takes its place; all else stays. On a cluster Triton's own queues do
    too, unless clients come through a gateway.
    """
    made = document_of_a_service()
    for seldon, orders in ((None, False), ({}, True), ({"gateway": "http://gateway:8080"}, False)):
        made["spec"]["seldon"] = seldon if seldon is None else {"model_uri": "gs://bucket/yolo", **seldon}
        config = read_config(write(tmp_path, made))
        assert config.pipeline.triton_orders == orders
        assert not with_algorithm(config, "static-8").pipeline.triton_orders
    config = read_config(write(tmp_path, document_of_a_service()))
    other = with_algorithm(config, "static-8")
    assert [made.pipeline.by_deadline for made in (config, other, with_algorithm(other, "sponge-hv"))] == [1, 0, 1]
    assert other.spec.algorithm == "static-8"
    assert with_algorithm(other, "sponge").document == config.document
    assert not read_config(write(tmp_path, document())).pipeline.by_deadline


@pytest.mark.parametrize(
    ("fallback", "line"),
    [
        ({"behavior": "static"}, r"fallback\.rate: missing; behavior: static needs it"),
        ({"behavior": "currentReplicasIfHigher"}, r"fallback\.rate: missing; behavior: currentReplicasIfHigher needs"),
        ({"rate": 5}, r"fallback\.rate: 5\.0: accepted: only with static or currentReplicasIfHigher"),
        (
            {"behavior": "currentReplicasIfLower", "rate": 5},
            r"behavior: 'currentReplicasIfLower': accepted: 'curr",
        ),
        ({"failureThreshold": 0}, r"fallback\.failureThreshold: 0: "),
        ({"replicas": 3}, r"fallback\.replicas: unknown key; accepted: failureThreshold, behavior, rate, staleInt"),
        ({"behavior": "static", "rate": "inf"}, r"fallback\.rate: 'inf': "),
    ],
)
def test_a_fallback_has_a_rate_where_one_counts(tmp_path: Path, fallback: dict[str, Any], line: str) -> None:
    """One line names the key and what it may be."""
    with pytest.raises(ConfigError, match=line):
        read_config(write(tmp_path, changed("spec.fallback", fallback)))


def test_a_fallback_by_default(tmp_path: Path) -> None:
    """What runs is kept from the third round without a load on; a stated one reads as it is written."""
    spec = read_config(write(tmp_path, document())).spec.fallback
    assert (spec.failure_threshold, spec.behavior, spec.rate, spec.stale_intervals) == (3, "currentReplicas", None, 3)
    stated = {"failureThreshold": 5, "behavior": "static", "rate": 20.0, "staleIntervals": 2.0}
    spec = read_config(write(tmp_path, changed("spec.fallback", stated))).spec.fallback
    assert spec.model_dump(by_alias=True) == stated


@pytest.mark.parametrize(
    ("seldon", "line"),
    [
        (
            {"gateway": "http://g:8080", "load": {"source": "triton"}},
            r"seldon\.load\.source: 'triton': accepted: executor, where arrivals or gateway is given",
        ),
        (
            {"load": {"source": "nobody"}},
            r"load\.source: 'nobody': accepted: 'executor', 'gateway' or 'triton'",
        ),
        ({"load": {"prometheus": {"url": "http://me:word@there"}}}, r"prometheus\.url: accepted: http://HOST:PORT or "),
        ({"load": {"prometheus": {"url": "me:word@there"}}}, r"spec\.seldon\.load\.prometheus\.url: accepted: http:"),
        ({"load": {"prometheus": {"bearer_token": "x"}}}, r"bearer_token: unknown key; accepted: url, ca_cert_path, "),
        ({"gateway": "gateway:8080"}, r"seldon\.gateway: 'gateway:8080': "),
        (
            {"gateway": "http://g:8080", "arrivals": "sum(x)"},
            r"seldon\.arrivals: 'sum\(x\)': accepted: null with a gate",
        ),
    ],
)
def test_a_load_is_counted_in_one_place(tmp_path: Path, seldon: dict[str, Any], line: str) -> None:
    """A gateway by its URL, and neither a query nor a source beside it; a Prometheus without secrets: one line names
    the key and what it may be.
    """
    with pytest.raises(ConfigError, match=line):
        read_config(write(tmp_path, changed("spec.seldon", {"model_uri": "gs://bucket/video", **seldon})))


def test_a_set_of_variants_has_no_replicas_in_place_of_cores(tmp_path: Path) -> None:
    """One line names the key and what it may be."""
    made = document_of_a_set()
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video", "predictor": None, "resize_fallback": "replica"}
    with pytest.raises(ConfigError, match=r"seldon\.resize_fallback: 'replica': accepted: revert, where predictor is"):
        read_config(write(tmp_path, made))


@pytest.mark.parametrize(
    ("text", "accepted"),
    [("{", "not YAML"), ("[]", "a mapping"), ("kind: A\nkind: B\n", "appears twice"), ("", "a mapping")],
)
def test_files_that_are_no_pipeline(tmp_path: Path, text: str, accepted: str) -> None:
    """Broken YAML, other YAML, and a key given twice are named as such."""
    with pytest.raises(ConfigError, match=accepted):
        read_config(write(tmp_path, text))


@pytest.mark.parametrize(
    ("profile", "accepted"),
    [
        ("stage,variant,cores,batch,latency\n", "throughput"),
        (PROFILE + "1,crop,yolov5n,15,1,0.1,\n", "appears twice"),
        (PROFILE.replace("0.655", "nan"), "a number > 0"),
        (PROFILE.replace("8,crop", "2.5,crop"), "a whole number"),
        ("stage,variant,cores,batch,latency,throughput\n", "no rows"),
    ],
)
def test_profiles_that_cannot_be_used(tmp_path: Path, profile: str, accepted: str) -> None:
    """The profile's file and line are named, with what is accepted."""
    with pytest.raises(ConfigError, match=accepted) as caught:
        read_config(write(tmp_path, document(), profile))
    assert "video.csv" in str(caught.value)


def test_capacities_are_those_at_the_slo(tmp_path: Path) -> None:
    """Columns in any order, extras ignored; points as measured, others on the line through them, 0.8 of either usable;
    the longest load time of a variant, unless the pipeline file states one. No profile is needed.
    """
    content = document_of_a_set()
    content["spec"]["stages"]["classification"]["variants"]["heavy"]["load_time"] = "3s"
    (stage,) = read_config(write(tmp_path, content)).pipeline.stages
    light, heavy = stage.variant("light"), stage.variant("heavy")
    assert light.capacity is not None
    assert [light.capacity(n) for n in (1, 4)] == pytest.approx([0.8 * 12, 0.8 * 42])
    assert light.capacity(6) == pytest.approx(0.8 * (10 * 6 + 2))
    assert (light.load_time, heavy.load_time) == (6, 3)
    assert light.throughput(6, 1) == light.capacity(6)
    assert light.core_rate == pytest.approx(10)


@pytest.mark.parametrize(
    ("capacity", "accepted"),
    [
        ("variant,cores,slo,capacity\n", "column load_time is missing; accepted: variant,cores,slo,capacity,load_time"),
        ("variant,cores,slo,capacity,load_time\n", "no rows"),
        (CAPACITY + "4,light,43,0.75,6,\n", "line 7: light, cores 4, slo 0.75 appears twice"),
        (CAPACITY.replace("4,light,42", "4,light,-1"), "line 3: capacity: '-1': accepted: a number >= 0"),
        (CAPACITY.replace("4,light,42", "4.5,light,42"), "line 3: cores: '4.5': accepted: a whole number"),
        (CAPACITY.replace("42,0.75", "42,soon"), "line 3: slo: 'soon': accepted: a number > 0"),
        (CAPACITY.replace("17,0.75,8", "17,0.75,"), "line 5: load_time: '': accepted: a number >= 0"),
    ],
)
def test_capacities_that_cannot_be_used(tmp_path: Path, capacity: str, accepted: str) -> None:
    """The file, the line and the column are named, with what is accepted."""
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, document_of_a_set(), capacity=capacity))
    assert str(tmp_path / "capacity.csv") in str(caught.value)
    assert accepted in str(caught.value)


def test_capacities_lack_a_variant(tmp_path: Path) -> None:
    """A variant that was not measured at the pipeline's SLO is named, with the SLO."""
    content = document_of_a_set()
    content["spec"]["slo"] = {"latency": "500ms"}
    line = r"classification\.variants\.heavy: the capacities capacity\.csv have no row for it at an SLO of 0\.5 s"
    with pytest.raises(ConfigError, match=line):
        read_config(write(tmp_path, content))


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"budget": 0}, "infadapter.budget: 0"),
        ({"budget": 3, "min_cores": 4}, "infadapter.min_cores: 4: accepted: at most the budget, 3"),
        ({"alpha": -1}, "infadapter.alpha: -1"),
        ({"scale_down_after": 0}, "infadapter.scale_down_after: 0"),
        ({"quantum": 0.03}, "infadapter.quantum: 0.03: accepted: 1 divided by a whole number"),
        ({"quantum": 2}, "infadapter.quantum: 2"),
        ({"peak": "low"}, "infadapter.peak: 'low': accepted: 'ignored' or 'within-budget'"),
        ({"cores": 4}, "infadapter.cores: unknown key; accepted: budget, min_cores, alpha"),
    ],
)
def test_a_set_that_cannot_be_sized(tmp_path: Path, section: dict[str, Any], line: str) -> None:
    """One line names the key, the value and what is accepted."""
    content = document_of_a_set()
    content["spec"]["infadapter"] = section
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, content))
    assert f"{tmp_path / 'pipeline.yaml'}: spec.{line}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("quantum", "line"),
    [
        (0.3, "sets.quantum: 0.3: accepted: 1 divided by a whole number"),
        (0, "sets.quantum: 0: accepted: greater than or equal to 0.01"),
        (2, "sets.quantum: 2: accepted: less than or equal to 1"),
        ("half", "sets.quantum: 'half': accepted: a valid number"),
    ],
)
def test_shares_that_do_not_make_a_whole(tmp_path: Path, quantum: object, line: str) -> None:
    """A quantum of which no whole number is the load is one line; a third is one as far as it can be written."""
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, changed("spec.sets", {"quantum": quantum})))
    assert f"{tmp_path / 'pipeline.yaml'}: spec.{line}" in str(caught.value)
    assert "\n" not in str(caught.value)
    for section in ("sets", "infadapter"):
        third = read_config(write(tmp_path, changed(f"spec.{section}", {"quantum": 0.33333333})))
        assert getattr(third.spec, section).quantum == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("sponge", {"cores": 0}, "sponge.cores: 0"),
        ("sponge", {"batch_weight": -1}, "sponge.batch_weight: -1"),
        ("sponge", {"scale_down_after": 0}, "sponge.scale_down_after: 0"),
        ("sponge", {"pods": 2}, "sponge.pods: unknown key; accepted: variant, cores, batch_weight"),
        ("baselines", {"cores": 0}, "baselines.cores: 0"),
    ],
)
def test_a_service_that_cannot_be_sized(tmp_path: Path, key: str, value: dict[str, Any], line: str) -> None:
    """One line names the key, the value and what is accepted."""
    content = document_of_a_service()
    content["spec"][key] = value
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, content))
    assert f"{tmp_path / 'pipeline.yaml'}: spec.{line}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shared_node_keeps_the_children_of_all_its_appearances(tmp_path: Path) -> None:
    """A DAG is written as a tree in which a node may appear under several parents."""
    content = changed(
        "spec.graph",
        {
            "name": "a",
            "children": [
                {"name": "b", "children": [{"name": "d"}]},
                {"name": "c", "children": [{"name": "d", "children": [{"name": "e"}]}]},
            ],
        },
    )
    stage = document()["spec"]["stages"]["classification"]
    content["spec"]["stages"] = dict.fromkeys("abcde", stage)
    rows = "".join(f"{s},resnet18,1,1,0.1,10\n" for s in "abcde")
    config = read_config(write(tmp_path, content, "stage,variant,cores,batch,latency,throughput\n" + rows))
    assert set(config.pipeline.paths) == {("a", "b", "d", "e"), ("a", "c", "d", "e")}
    assert [stage.name for stage in config.pipeline.stages] == ["a", "b", "c", "d", "e"]


def test_the_schema_accepts_the_documented_file_keys() -> None:
    """``ipa-seldon schema`` prints JSON Schema with exactly the keys the reader accepts."""
    schema = json.loads(CliRunner().invoke(cli, ["schema"]).output)
    assert set(document()["spec"]) <= set(schema["$defs"]["PipelineSpec"]["properties"])
    assert schema["$defs"]["PipelineSpec"]["additionalProperties"] is False


def test_what_a_plan_costs_per_hour(tmp_path: Path) -> None:
    """Cores of all replicas at their price, GPUs of all replicas at theirs; no prices, no cost."""
    plan = {
        "crop": (Allocation("yolov5n", replicas=3, cores=2, batch=1, gpus=2), Allocation("yolov5s", 1, 4, 1)),
        "classification": (Allocation("resnet18", replicas=2, cores=1, batch=8),),
    }
    content = changed("spec.prices", {"cpu_hourly_cost": 0.04, "gpu_hourly_cost": 0.9})
    assert read_config(write(tmp_path, content)).spec.hourly_cost(plan) == pytest.approx(12 * 0.04 + 6 * 0.9)
    assert read_config(write(tmp_path, document())).spec.hourly_cost(plan) is None


def test_prices_are_checked(tmp_path: Path) -> None:
    """A price below zero, and a name that is not OpenCost's, are refused in one line."""
    for prices, said in (
        ({"cpu_hourly_cost": -1}, "spec.prices.cpu_hourly_cost: -1"),
        ({"cpu_hourly_cost": 1, "ram": 1}, "spec.prices.ram: unknown key; accepted: cpu_hourly_cost, gpu_hourly_cost"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_config(write(tmp_path, changed("spec.prices", prices)))
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
