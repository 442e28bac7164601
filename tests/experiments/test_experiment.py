"""``ipa-seldon experiment``: what it runs, keeps and says."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the extra `experiments` is not installed", exc_type=ImportError)

from ipa_seldon.experiments.series import COLUMNS
from tests.experiments.conftest import Workspace, pipeline_document
from tests.experiments.test_outputs import texts
from tests.pages import Page, table
from tests.waiting import wait_for


def rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def timeless(path: Path) -> list[dict[str, str]]:
    """The results but for what they took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(path)]


def group_lives(group: int) -> bool:
    """Whether a process of the group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_time_nothing_runs(workspace: Workspace) -> None:
    """Every run is a row with all its figures, and there for good; a series of a minute per cell."""
    only = ("--only", "pipeline=two")
    assert workspace.json(*only)["executed"] == 8
    before = workspace.results.read_text()
    kept = rows(workspace.results)
    assert len(kept) == 8
    assert {"violation_ratio", "accuracy", "mean_cost", "latency.p99", "switches", "failed", "key"} <= set(kept[0])
    again = workspace.json(*only)
    assert (again["executed"], len(again["cells"])) == (0, 4)
    assert workspace.results.read_text() == before
    series = sorted(path.stem for path in (workspace.directory / "series").iterdir())
    assert series == [f"two-{load}-{method}" for load in ("calm", "wild") for method in ("default", "fixed")]
    found = rows(workspace.directory / "series" / f"{series[0]}.csv")
    assert tuple(found[0]) == COLUMNS
    assert len(found) == 60


def test_a_set_without_a_profile_runs(workspace: Workspace) -> None:
    """A pipeline of which only capacities are known, at a load that heavy does not carry alone; its set does, and a pod
    that takes less makes the results old.
    """
    document = pipeline_document("one", ("first",))
    document["spec"] |= {"algorithm": "infadapter", "infadapter": {"budget": 8}, "capacity": "capacity.csv"}
    del document["spec"]["profile"]
    workspace.write_pipeline(document)
    capacities = workspace.path / "pipelines" / "capacity.csv"
    header = "variant,cores,slo,capacity,load_time\n"
    capacities.write_text(header + "light,2,2,30,1\nlight,8,2,120,1\nheavy,2,2,8,1\nheavy,8,2,32,1\n")
    workspace.change("methods", {"set": {}, "heavy": {"algorithm": "vpa+", "baselines": {"variants": "heaviest"}}})
    workspace.change("loads.wild", {"pattern": "steady-high", "scale": 48, "duration": "60s"})
    only = ("--only", "pipeline=one,load=wild")
    cells = {cell["method"]: cell["figures"] for cell in workspace.json(*only)["cells"]}
    assert cells["heavy"]["accuracy"]["mean"] == pytest.approx(0.9)
    assert cells["heavy"]["violation_ratio"]["mean"] > 0.05
    assert 0.6 < cells["set"]["accuracy"]["mean"] < 0.9
    assert cells["set"]["violation_ratio"]["mean"] < 0.01
    assert cells["set"]["failed"]["mean"] == 0
    capacities.write_text(capacities.read_text().replace("heavy,2,2,8", "heavy,2,2,7"))
    assert workspace.json(*only)["executed"] == 4


def test_requests_over_a_network(workspace: Workspace) -> None:
    """What a network that is not there stands for is said, its figures are columns, and the report says what was sent
    over which network.
    """
    workspace.change("pipelines", ["pipelines/one.yaml"])
    wild = workspace.document["spec"]["loads"]["wild"]
    network = {"trace": "net.csv", "pattern": "4g-foot"}
    workspace.change("loads", {"wild": {**wild, "network": network, "size": "200KB,500KB"}})
    code, _, err = workspace.run()
    assert code == 0
    assert "load wild: net.csv is not there; the pattern 4g-foot instead" in err
    for row in rows(workspace.results):
        assert 0.02 < float(row["network.mean"]) < float(row["network.max"]) < 2
        assert int(row["network.lost"]) == 0
    said = "<dd>bursty, peak 20 rps; 200KB,500KB over 4g-foot</dd>"
    html = (workspace.directory / "report.html").read_text("utf-8")
    assert said in html
    assert "avoidable ratio" in table(html, "one: mean ± 95 % confidence")[0]
    data = Page(html).charts()["time-one-wild"]["data"]
    own = ["violations (1/s)", "p99 (s)", "accuracy loss", "cost (cores)"]
    assert [trace["name"] for trace in data] == ["load (rps)", "network (s)", *["default"] * 4, *["fixed"] * 4]
    words = texts(workspace.directory / "figures" / "one-wild.svg")
    assert {"load (rps)", "network (s)", *own} <= words


def test_a_loss_that_is_none_is_not_drawn(workspace: Workspace) -> None:
    """Where every plan is as accurate as can be; and cores that change in place are told."""
    workspace.change("pipelines", ["pipelines/one.yaml"])
    workspace.change("methods", {"fixed": {"algorithm": "fa2-high"}})
    workspace.change("loads", {"calm": workspace.document["spec"]["loads"]["calm"]})
    workspace.change("simulation", {"resize": "250ms"})
    code, _, err = workspace.run()
    assert code == 0, err
    words = texts(workspace.directory / "figures" / "one-calm.svg")
    assert {"load (rps)", "p99 (s)", "cost (cores)"} <= words
    assert not {"accuracy loss", "network (s)", "violations (1/s)"} & words
    html = (workspace.directory / "report.html").read_text("utf-8")
    assert "<dd>drops hopeless requests, replicas start in 0 s, cores change in place in 0.25 s</dd>" in html


def test_a_changed_method_runs_its_cells_again(workspace: Workspace) -> None:
    """The rows of the other cells stay, those of the changed ones are replaced."""
    only = ("--only", "pipeline=one")
    workspace.run(*only)
    before = {tuple(row.values())[:4]: row for row in rows(workspace.results)}
    workspace.change("methods.fixed.objective", {"alpha": 4})
    assert workspace.json(*only)["executed"] == 4
    after = {tuple(row.values())[:4]: row for row in rows(workspace.results)}
    assert len(rows(workspace.results)) == 8
    changed = {identity for identity in before if before[identity] != after[identity]}
    assert {identity[2] for identity in changed} == {"fixed"}
    assert len(changed) == 4


def test_a_series_that_is_gone_or_of_another_seed_is_made_again(workspace: Workspace) -> None:
    """Results without the run over time that belongs to them are not complete."""
    only = ("--only", "pipeline=one,load=calm,method=fixed")
    workspace.run(*only)
    series = workspace.directory / "series" / "one-calm-fixed.csv"
    series.unlink()
    assert workspace.json(*only)["executed"] == 1
    workspace.change("seeds", [1, 0])
    assert workspace.json(*only)["executed"] == 2
    assert {row["seed"] for row in rows(series)} == {"1"}


def test_a_half_written_line_is_survived(workspace: Workspace) -> None:
    """The run that it was of runs again, the others do not."""
    only = ("--only", "load=calm,method=fixed")
    workspace.run(*only)
    text = workspace.results.read_text()
    workspace.results.write_text(text[:-30])
    assert workspace.json(*only)["executed"] == 1
    assert timeless(workspace.results) == [
        {key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(text.splitlines())
    ]


def test_processes_do_not_change_results(make_workspace: Callable[[], Workspace]) -> None:
    """One process or two: the same rows, but for the seconds they took."""
    one, two = make_workspace(), make_workspace()
    one.run("--only", "pipeline=two", "--jobs", "1")
    two.run("--only", "pipeline=two", "--jobs", "2")
    assert len(rows(one.results)) == 8
    assert timeless(one.results) == timeless(two.results)


def test_a_run_that_fails_does_not_stop_the_others(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its reason in one line, the exit code is 1, and it is tried again the next time."""
    (workspace.path / "broken.py").write_text(
        "from ipa_seldon.algorithms.ipa import Ipa\n"
        "from ipa_seldon.errors import SolverError\n"
        "class Broken(Ipa):\n"
        "    def decide(self, rate, observation):\n"
        "        raise SolverError('no licence\\nfor this')\n"
    )
    monkeypatch.syspath_prepend(str(workspace.path))
    monkeypatch.setenv("PYTHONPATH", f"{workspace.path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    workspace.change("methods.broken", {"algorithm": "broken:Broken"})
    code, out, err = workspace.run("--only", "pipeline=one,load=calm")
    assert code == 1
    assert "failed: one-calm-broken, seed 0: no licence\n" in err
    assert "failed: one-calm-broken, seed 1: no licence\n" in err
    assert "for this" not in err
    assert len(rows(workspace.results)) == 4
    assert "fixed" in out
    _, _, err = workspace.run("--only", "pipeline=one,load=calm")
    assert "0 runs, 4 were there already" in err


def test_ctrl_c_keeps_what_ended(workspace: Workspace) -> None:
    """Interrupted, it ends at once with 130, says what is there, leaves no process, and goes on from there."""
    workspace.change("seeds", list(range(200)))

    def first_seeds() -> list[dict[str, str]]:
        """Rows of the seed that is run with a series, here as in the second experiment; it may end after others."""
        return [row for row in rows(workspace.results) if row["seed"] == "0"]

    command = [sys.executable, "-m", "ipa_seldon", "experiment", "-f", str(workspace.file), "--jobs", "2"]
    command += ["--directory", str(workspace.directory)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(lambda: workspace.results.exists() and len(first_seeds()) >= 1 and len(rows(workspace.results)) >= 3)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = rows(workspace.results)
    assert 3 <= len(kept) < 1600
    assert f"interrupted: {len(kept)} of 1600 runs are in" in err
    assert "Traceback" not in err
    wait_for(lambda: not group_lives(process.pid))
    one = first_seeds()[0]
    workspace.change("seeds", [int(one["seed"])])
    only = ",".join(f"{key}={one[key]}" for key in ("pipeline", "load", "method"))
    assert workspace.json("--only", only)["executed"] == 0


def test_differences_to_a_baseline_are_paired(workspace: Workspace) -> None:
    """Per pipeline and load the mean of the differences of each seed; the baseline itself is left out."""
    found = workspace.json("--only", "pipeline=two,load=wild", "--baseline", "fixed")
    by_run = {(row["method"], row["seed"]): row for row in rows(workspace.results)}
    (compared,) = found["comparison"]
    assert [compared[key] for key in ("pipeline", "load", "method", "seeds")] == ["two", "wild", "default", 2]
    for figure in ("violation_ratio", "accuracy", "mean_cost", "switches"):
        paired = [float(by_run["default", s][figure]) - float(by_run["fixed", s][figure]) for s in ("0", "1")]
        assert compared["differences"][figure]["mean"] == pytest.approx(sum(paired) / 2)
    # The light variants are the cheapest there are; ours buys accuracy.
    assert compared["differences"]["accuracy"]["mean"] > 0
    assert not compared["dominates"]
    _, out, _ = workspace.run("--only", "pipeline=two,load=wild", "--baseline", "fixed")
    assert "difference to fixed, paired by seed" in out


def test_one_seed_has_no_interval(workspace: Workspace) -> None:
    """Its figures are there, their intervals are null."""
    workspace.change("seeds", [5])
    (cell,) = workspace.json("--only", "pipeline=one,load=calm,method=fixed")["cells"]
    assert cell["seeds"] == 1
    assert cell["figures"]["mean_cost"]["low"] is None
    assert cell["figures"]["mean_cost"]["mean"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "pipelin=one"), "'pipelin=one': accepted: pipeline=name, load=name, method=name"),
        (("--only", "method=fixt"), "method 'fixt': unknown; accepted: default, fixed"),
        (("--baseline", "fixt"), "--baseline: 'fixt' is no method of this experiment; accepted: default, fixed"),
        (("--baseline", "fixed", "--only", "method=default"), "accepted: default"),
        (("--jobs", "0"), "--jobs"),
    ],
)
def test_options_are_checked_before_anything_runs(workspace: Workspace, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2 and one line that names what is accepted."""
    code, _, err = workspace.run(*arguments)
    assert code == 2
    assert words in err
    assert not workspace.directory.exists()


def test_a_directory_that_cannot_be_made_is_named(workspace: Workspace) -> None:
    """One line, before anything runs."""
    workspace.directory.write_text("a file")
    workspace.directory = workspace.directory / "below"
    code, _, err = workspace.run()
    assert code == 2
    assert f"Error: {workspace.directory}: accepted: a directory that can be written to" in err


def test_a_foreign_file_is_not_overwritten(workspace: Workspace) -> None:
    """A results.csv that is not one is refused, and stays."""
    workspace.directory.mkdir()
    workspace.results.write_text("a,b\n1,2\n")
    code, _, err = workspace.run()
    assert code == 2
    assert "results.csv: columns a, b; accepted: results of ipa-seldon experiment, or no file" in err
    assert workspace.results.read_text() == "a,b\n1,2\n"
