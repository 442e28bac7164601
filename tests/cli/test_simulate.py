"""``ipa-seldon simulate``: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_seldon.cli import main
from ipa_seldon.experiments.statistics import estimate
from tests.test_config import changed, document_of_a_service, document_of_a_set, write

PATTERN = ("--pattern", "bursty", "--duration", "60", "--scale", "30")
KEYS = {
    "requests", "completed", "late", "dropped", "violation_ratio", "accuracy", "mean_cost", "latency", "decisions",
    "switches", "degraded",
    "failed", "seconds",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The documented pipeline with the quickest forecaster."""
    return str(write(tmp_path, changed("spec.forecaster", {"name": "max"})))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``ipa-seldon simulate``."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = run(capsys, *arguments, "-o", "json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_json_has_the_documented_keys(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of ``simulate`` is an interface: its keys are pinned; the counts add up."""
    found = figures(capsys, "-f", file, *PATTERN)
    assert set(found) == KEYS
    assert set(found["latency"]) == {"p50", "p95", "p99"}
    assert found["completed"] + found["late"] + found["dropped"] == found["requests"] > 100
    assert found["decisions"] == 6


def test_a_network_adds_its_figures(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Over a network there are the seconds on it and who was lost; the table has a row for each."""
    over = (*PATTERN, "--network", "4g-bus", "--size", "200KB-500KB")
    found = figures(capsys, "-f", file, *over)
    assert set(found) == KEYS | {"network", "avoidable_ratio"}
    assert set(found["network"]) == {"mean", "max", "lost"}
    assert 0.05 < found["network"]["mean"] < found["network"]["max"]
    _, out, _ = run(capsys, "-f", file, *over, "--repeats", "2")
    assert all(f"network {name}" in out for name in found["network"])


def test_the_seed_decides(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed prints the same figures but for the seconds; another one prints others."""
    one, same, other = (
        {**figures(capsys, "-f", file, *PATTERN, "--seed", seed), "seconds": 0} for seed in ("4", "4", "5")
    )
    assert one == same != other


def test_repeats_add_their_means_and_intervals(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Three repeats of one load with seeds 0, 1, 2: the first run, and of every figure what three runs say of it."""
    trace = Path(file).parent / "load.txt"
    trace.write_text("12\n20\n16\n" * 20)
    alone = [figures(capsys, "-f", file, "--trace", str(trace), "--seed", str(seed)) for seed in range(3)]
    found = figures(capsys, "-f", file, "--trace", str(trace), "--repeats", "3")
    assert set(found) == KEYS | {"repeats", "estimates"}
    assert found["repeats"] == 3
    assert {key: found[key] for key in KEYS - {"seconds"}} == {key: alone[0][key] for key in KEYS - {"seconds"}}
    flat = KEYS - {"latency"} | {f"latency.{p}" for p in ("p50", "p95", "p99")}
    assert set(found["estimates"]) == flat
    for key in flat - {"seconds"}:
        name, _, part = key.partition(".")
        values = [one[name][part] if part else one[name] for one in alone]
        direct = estimate(values)
        stated = found["estimates"][key]
        assert (stated["mean"], stated["low"], stated["high"]) == (direct.mean, direct.low, direct.high)
        assert stated["mean"] == pytest.approx(np.mean(values))


def test_figures_that_rest_on_nothing_are_null(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A trace of zeros has no latency and no accuracy, alone and with repeats, and costs what the least plan costs."""
    trace = Path(file).parent / "zeros.txt"
    trace.write_text("0\n" * 30)
    found = figures(capsys, "-f", file, "--trace", str(trace), "--repeats", "2")
    assert found["requests"] == 0
    assert found["accuracy"] is None
    assert found["latency"] == {"p50": None, "p95": None, "p99": None}
    assert "accuracy" not in found["estimates"]
    assert found["mean_cost"] == 2.0
    assert run(capsys, "-f", file, "--trace", str(trace))[0] == 0


def test_damping_divides_and_scale_multiplies(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A trace damped by 8 and scaled by 8 is the trace; damped alone it is an eighth."""
    trace = Path(file).parent / "load.csv"
    trace.write_text("second,rps\n" + "".join(f"{second},80\n" for second in range(60)))
    load = ("-f", file, "--trace", str(trace))
    damped, both = figures(capsys, *load, "--damping", "8"), figures(capsys, *load, "--damping", "8", "--scale", "8")
    assert damped["requests"] == pytest.approx(600, abs=4 * 600**0.5)
    assert {**both, "seconds": 0} == {**figures(capsys, *load), "seconds": 0}
    assert both["requests"] == pytest.approx(4800, abs=4 * 4800**0.5)


def test_overload_is_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A load that no plan carries ends well, with degraded decisions and violations."""
    found = figures(capsys, "-f", file, "--pattern", "steady-high", "--duration", "30s", "--scale", "9000")
    assert found["degraded"] > 0
    assert found["violation_ratio"] > 0.1


def test_start_up_and_drops_are_passed_on(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Replicas that start slowly cost or violate more; without drops nothing is dropped."""
    quick, slow = (figures(capsys, "-f", file, *PATTERN, "--startup", seconds) for seconds in ("0", "8"))
    assert slow["latency"]["p99"] > quick["latency"]["p99"]
    assert figures(capsys, "-f", file, *PATTERN, "--startup", "30", "--drop", "none")["dropped"] == 0


def test_cores_change_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a tenth of a second where requests have deadlines, unless it is said how long they take; a pod that needs a
    minute for each change serves no burst.
    """
    service = str(write(tmp_path, document_of_a_service()))
    found = [
        figures(capsys, "-f", service, "--pattern", "bursty", "--scale", "20", "--duration", "120", *given)
        for given in ((), ("--resize", "0.1"), ("--resize", "60"))
    ]
    for run_of_it in found:
        del run_of_it["seconds"]
    assert found[0] == found[1]
    assert found[2]["violation_ratio"] > 2 * found[0]["violation_ratio"]


def test_the_table_has_every_figure(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a figure; with repeats also mean and interval."""
    _, out, _ = run(capsys, "-f", file, *PATTERN)
    assert all(key.replace("_", " ") in out for key in KEYS)
    _, out, _ = run(capsys, "-f", file, *PATTERN, "--repeats", "2")
    assert "95 % low" in out
    assert "latency p99" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "exactly one of --pattern and --trace"),
        ((*PATTERN, "--trace", "load.txt"), "exactly one of --pattern and --trace"),
        (("--pattern", "calm"), "accepted: constant, steady-low, steady-high, bursty, fluctuating, ramp, diurnal"),
        (("--trace", "/nowhere.csv"), "/nowhere.csv: the trace cannot be read"),
        (("--trace", "{directory}"), "the trace cannot be read"),
        (("--trace", "{file}"), "pipeline.yaml, line"),
        ((*PATTERN, "-f", "/nowhere.yaml"), "/nowhere.yaml"),
        ((*PATTERN, "--network", "4g-bus"), "network: accepted: --network and --size together"),
        ((*PATTERN, "--size", "1KB"), "network: accepted: --network and --size together"),
        ((*PATTERN, "--network", "{file}", "--size", "1KB"), "pipeline.yaml, line 1"),
        ((*PATTERN, "--network", "4g-bus", "--size", "1TB"), "size: '1TB': accepted: bytes above 0"),
        ((*PATTERN, "--network", "4g-bus", "--size", "9999999MB"), "accepted: what brings them over within a day"),
        ((*PATTERN, "--algorithm", "magic"), "'magic' is unknown; accepted: ipa"),
        ((*PATTERN, "--algorithm", "no_such_package:thing"), "no_such_package"),
        ((*PATTERN, "--algorithm", "os:path"), "accepted: a class or function"),
        ((*PATTERN, "--drop", "some"), "'some'"),
        ((*PATTERN, "--repeats", "0"), "--repeats"),
        ((*PATTERN, "--seed", "-1"), "--seed"),
        ((*PATTERN, "--startup", "-1"), "--startup"),
        ((*PATTERN, "--startup", "nan"), "accepted: a finite number"),
        ((*PATTERN, "--startup", "inf"), "accepted: a finite number"),
        ((*PATTERN, "--damping", "0"), "--damping"),
        ((*PATTERN, "--damping", "1e-9"), "accepted: up to 10,000,000"),
        (("--pattern", "ramp", "--scale", "inf"), "accepted: a finite number"),
        (("--pattern", "ramp", "--duration", "1e30"), "duration"),
        (("--pattern", "ramp", "--duration", "soon"), "'soon'"),
    ],
)
def test_wrong_input_is_one_line(
    file: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 1 or 2, and one line that says what is accepted; click shows its usage above it; no traceback."""
    named = [word.format(file=file, directory=Path(file).parent) for word in arguments]
    code, out, err = run(capsys, "-f", file, *named)
    assert code in (1, 2)
    assert out == ""
    assert said in err.strip().splitlines()[-1]


def test_a_set_is_simulated_by_its_capacities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a profile; the variants share the load, hardly anybody is late; two runs print the same figures but for
    the seconds.
    """
    path = str(write(tmp_path, document_of_a_set()))
    trace = tmp_path / "load.txt"
    trace.write_text("40\n" * 120)
    one, same = ({**figures(capsys, "-f", path, "--trace", str(trace)), "seconds": 0} for _ in range(2))
    assert one == same
    assert one["completed"] + one["late"] + one["dropped"] == one["requests"] > 4000
    assert one["violation_ratio"] < 0.01
    assert 0.6 < one["accuracy"] < 0.8
    assert one["mean_cost"] >= 2


def test_without_a_profile_an_algorithm_by_batches_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Capacities say nothing of batches: one line names file and key."""
    path = str(write(tmp_path, document_of_a_set()))
    code, _, err = run(capsys, "-f", path, *PATTERN, "--algorithm", "ipa")
    assert (code, err.count("\n")) == (2, 1)
    assert f"{path}: spec.profile: missing" in err
