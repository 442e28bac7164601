"""``ipa-seldon plan``: output formats, exit codes, start-up imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ipa_seldon.cli import cli
from tests.test_config import changed, document, document_of_a_service, document_of_a_set, write


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipa_seldon", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_json_has_the_documented_keys(tmp_path: Path) -> None:
    """The JSON of ``plan`` is an interface: keys and types are pinned."""
    path = write(tmp_path, document())
    done = run("plan", "-f", str(path), "--rate", "20", "-o", "json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    keys = ("status", "solver", "decision_seconds", "objective", "accuracy", "cost", "latency", "slo", "why", "stages")
    assert tuple(plan) == keys
    assert set(plan["why"]) == {"binding", "runner_up"}
    assert set(plan["stages"]) == {"crop", "classification"}
    for allocations in plan["stages"].values():
        assert [set(a) for a in allocations] == [{"variant", "cores", "batch", "replicas", "share", "gpus"}]
    assert yaml.safe_load(run("plan", "-f", str(path), "--rate", "20", "-o", "yaml").stdout)["cost"] == plan["cost"]
    assert "optimal" in run("plan", "-f", str(path), "--rate", "20").stdout


def test_a_degraded_plan_is_exit_code_3_with_a_reason(tmp_path: Path) -> None:
    """Load that no plan can carry: a plan all the same, status degraded, a reason, exit code 3."""
    path = write(tmp_path, changed("spec.limits.replicas", 2))
    done = run("plan", "-f", str(path), "--rate", "5000", "-o", "json")
    assert done.returncode == 3
    plan = json.loads(done.stdout)
    assert plan["status"] == "degraded"
    assert "5000" in plan["reason"]
    assert plan["stages"]["crop"][0]["replicas"] == 2


def test_the_frontier_lists_what_accuracy_costs(tmp_path: Path) -> None:
    """The JSON of the frontier is an interface: keys are pinned; accuracy and cost rise together; ranges of weights
    begin at 0 and end without an end.
    """
    path = write(tmp_path, document())
    done = run("plan", "-f", str(path), "--rate", "20", "--frontier", "-o", "json")
    assert done.returncode == 0
    printed = json.loads(done.stdout)
    assert tuple(printed) == ("rate", "solver", "seconds", "slo", "frontier")
    points = printed["frontier"]
    assert len(points) > 1
    assert all(set(point) == {"accuracy", "cost", "latency", "ratio", "stages"} for point in points)
    for key in ("accuracy", "cost"):
        values = [point[key] for point in points]
        assert values == sorted(set(values))
    assert points[0]["ratio"][0] == 0
    assert points[-1]["ratio"][1] is None
    assert set(points[0]["stages"]) == {"crop", "classification"}
    table = run("plan", "-f", str(path), "--rate", "20", "--frontier", "--solver", "highs").stdout
    assert f"{len(points)} plans · highs" in table
    assert all(f"{point['accuracy']:.4f}" in table for point in points)


def test_a_frontier_of_nothing_says_why(tmp_path: Path) -> None:
    """Exit code 3, as for a degraded plan, with the reason; nothing is drawn."""
    path, plot = write(tmp_path, changed("spec.limits.replicas", 2)), tmp_path / "frontier.svg"
    words = ("plan", "-f", str(path), "--rate", "5000", "--frontier", "--plot", str(plot))
    done = run(*words, "-o", "json")
    assert done.returncode == 3
    printed = json.loads(done.stdout)
    assert printed["frontier"] == []
    assert "5000" in printed["reason"]
    table = run(*words)
    assert table.returncode == 3
    assert "5000" in table.stdout
    assert not plot.exists()


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".html", b"<!doctype html>")])
def test_the_frontier_is_drawn(tmp_path: Path, suffix: str, start: bytes) -> None:
    """In each format, the same bytes for the same plans; text formats hold the title as text."""
    drawn = []
    for name in ("one", "two"):
        plot = tmp_path / "new" / (name + suffix)
        words = ("plan", "-f", str(write(tmp_path, document())), "--rate", "20", "--frontier", "--plot", str(plot))
        assert CliRunner().invoke(cli, words, standalone_mode=False).return_value == 0
        drawn.append(plot.read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(start)
    assert suffix == ".png" or b"video at 20 requests/s" in drawn[0]


def test_a_set_is_printed_with_its_shares(tmp_path: Path) -> None:
    """Several allocations of a stage, shares summing to 1, and the formula's objective against what runs."""
    path = write(tmp_path, document_of_a_set())
    words = ("plan", "-f", str(path), "--rate", "30")
    done = run(*words, "-o", "json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    heavy, light = plan["stages"]["classification"]
    assert (heavy["variant"], light["variant"]) == ("heavy", "light")
    assert heavy["share"] + light["share"] == pytest.approx(1)
    assert plan["accuracy"] == pytest.approx(0.8 * heavy["share"] + 0.6 * light["share"])
    settled = plan["accuracy"] - 0.05 * plan["cost"] / 8
    assert plan["objective"] == pytest.approx(settled - 0.001)  # the heavy one loads longest
    table = run(*words).stdout
    assert all(word in table for word in ("heavy", "light", "binding: budget", "runner-up: classification on"))
    assert plan["why"]["peak"] == plan["cost"]
    assert f"{plan['cost']} cores at once during the change" in table
    cores = (heavy["cores"], light["cores"])
    for running in ("heavy={},light={}", "light={1}:0.3,heavy={0}:0.7"):
        again = run(*words, "-o", "json", "--running", running.format(*cores))
        assert json.loads(again.stdout)["stages"] == plan["stages"]
        assert json.loads(again.stdout)["objective"] == pytest.approx(settled)


def test_sets_in_a_pipeline_are_printed(tmp_path: Path) -> None:
    """Two variants of a stage share its load where one of them is too much; so do those of a plan on the frontier."""
    path = write(tmp_path, changed("spec.algorithm", "ipa-sets"))
    words = ("plan", "-f", str(path), "--rate", "20")
    done = run(*words, "-o", "json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    better, lighter = plan["stages"]["crop"]
    assert (better["variant"], lighter["variant"]) == ("yolov5s", "yolov5n")
    assert better["share"] + lighter["share"] == pytest.approx(1)
    crop = 0.568 * better["share"] + 0.457 * lighter["share"]
    assert plan["accuracy"] == pytest.approx(crop * 0.6975)
    alone = json.loads(run(*words, "-o", "json", "--algorithm", "ipa").stdout)
    assert (plan["cost"], plan["accuracy"] > alone["accuracy"]) == (alone["cost"], True)
    table = run(*words).stdout
    assert all(word in table for word in ("yolov5s", "yolov5n", f"{better['share']:g}", f"{lighter['share']:g}"))
    points = json.loads(run(*words, "--frontier", "-o", "json").stdout)["frontier"]
    shared = [a["share"] for point in points for a in point["stages"]["crop"] if a["share"] < 1]
    frontier = run(*words, "--frontier").stdout
    assert shared
    assert all(f" {share:.0%} " in frontier for share in shared)


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ("heavy", "'heavy': accepted: VARIANT=CORES or VARIANT=CORES:SHARE"),
        ("heavy=0", "'heavy=0': accepted: VARIANT=CORES"),
        ("heavy=2,", "'': accepted: VARIANT=CORES"),
        ("heavy=2,heavy=4", "accepted: each variant once"),
        ("heavy=2:0.5,light=2", "accepted: no shares, or one for each variant, 1 in sum"),
        ("heavy=2:0.5,light=2:0.4", "accepted: no shares, or one for each variant, 1 in sum"),
        ("vgg=2", "--running: 'vgg': accepted: heavy, light"),
    ],
)
def test_what_cannot_be_running_is_told(tmp_path: Path, running: str, expected: str) -> None:
    """One line with what is accepted, exit code 2."""
    done = run("plan", "-f", str(write(tmp_path, document_of_a_set())), "--rate", "5", "--running", running)
    assert done.returncode == 2
    assert expected in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["plan", "-f", "{file}", "--rate", "1", "--running", "yolov5n=2"], "stages are: crop, classification"),
        (["plan", "-f", "{file}", "--rate", "1", "--running", "yolov5n=2", "--frontier"], "without --frontier"),
        (["plan", "-f", "{file}", "--rate", "1", "--algorithm", "infadapter"], "accepted: one stage, for this"),
        (["plan", "-f", "{file}", "--rate", "1", "--algorithm", "sponge"], "accepted: one stage, for this algorithm"),
        (["plan", "-f", "{file}", "--rate", "1", "--remaining", "0.3,soon"], "'soon': accepted: seconds"),
        (["plan", "-f", "{file}", "--rate", "1", "--remaining", "nan"], "'nan': accepted: seconds"),
        (["plan", "-f", "{file}", "--rate", "1", "--remaining", "1", "--frontier"], "without --frontier"),
        (["plan", "-f", "absent.yaml", "--rate", "1"], "absent.yaml"),
        (["plan", "-f", "{file}", "--rate", "-1"], "--rate"),
        (["plan", "-f", "{file}", "--rate", "1", "--algorithm", "magic"], "accepted: ipa"),
        (["plan", "-f", "{file}", "--rate", "1", "--algorithm", "no.such:thing"], "no"),
        (["plan", "-f", "{file}", "--rate", "1", "--solver", "magic"], "--solver"),
        (
            ["plan", "-f", "{file}", "--rate", "1", "--frontier", "--plot", "x.pdf"],
            "'x.pdf': accepted: a file that ends",
        ),
        (["plan", "-f", "{file}", "--rate", "1", "--plot", "x.svg"], "--plot needs --frontier"),
        (["plan", "-f", "{file}", "--rate", "1", "--frontier", "--plot", "{file}/x.svg"], "cannot be written"),
        (["plane"], "plane"),
    ],
)
def test_wrong_input_is_one_clear_line_and_exit_code_2(tmp_path: Path, words: list[str], expected: str) -> None:
    """No traceback for what a user can cause."""
    path = write(tmp_path, document())
    done = run(*[word.format(file=path) for word in words])
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_queue_is_planned_for(tmp_path: Path) -> None:
    """What queued requests have left takes more cores; the fit that the plan rests on is printed, as JSON with the
    residual of every point.
    """
    path = write(tmp_path, document_of_a_service())
    words = ("plan", "-f", str(path), "--rate", "5")
    calm = json.loads(run(*words, "-o", "json").stdout)
    queued = run(*words, "-o", "json", "--remaining", "300ms,0.3,0.3,0.3,0.3,-1,0.3")
    assert queued.returncode == 0
    plan = json.loads(queued.stdout)
    assert plan["cost"] > calm["cost"]
    assert (plan["why"]["binding"], plan["why"]["queued"], plan["why"]["hopeless"]) == ("queue", 7, 1)
    assert set(plan["fit"]) == {"gamma", "epsilon", "delta", "eta", "r2", "residuals"}
    assert len(plan["fit"]["residuals"]) == 20
    table = " ".join(run(*words).stdout.split())
    assert f"R2 {plan['fit']['r2']:.3f} · farthest off +0.088 s, on 2 cores at batch 8" in table
    overload = run(*words, "--remaining", ",".join(["0.06"] * 9))
    assert overload.returncode == 3
    assert "1 of 9 queued requests can be saved" in " ".join(overload.stdout.split())


def test_plan_imports_no_library_it_does_not_use(tmp_path: Path) -> None:
    """The start stays fast because nothing heavy is imported: no solver, forecaster, server or cluster library."""
    path = write(tmp_path, document())
    code = (
        "import sys; from click.testing import CliRunner; from ipa_seldon.cli import cli;"
        f"words = ['plan', '-f', {str(path)!r}, '--rate', '5'];"
        "CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False);"
        "heavy = {'highspy', 'gurobipy', 'statsmodels', 'pandas', 'scipy', 'tritonclient', 'kubernetes', 'aiohttp',"
        "'starlette', 'plotly', 'cv2', 'onnxruntime', 'matplotlib', 'prometheus_client'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
