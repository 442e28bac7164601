"""Two small pipelines, an experiment over them, and the command that runs it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_seldon.cli import main

# Seconds and requests/s on one core; the heavy variant is accurate, and slow.
POINTS = {("light", 1): (0.05, 20.0), ("light", 2): (0.08, 25.0), ("heavy", 1): (0.2, 5.0), ("heavy", 2): (0.35, 5.7)}


def pipeline_document(name: str, stages: tuple[str, ...]) -> dict[str, Any]:
    """A chain of ``stages`` with a light and a heavy variant each, adapted every 10 s by the last load."""
    graph: dict[str, Any] = {"name": stages[-1]}
    for stage in reversed(stages[:-1]):
        graph = {"name": stage, "children": [graph]}
    variants = {"light": {"accuracy": 0.6, "version": 1}, "heavy": {"accuracy": 0.9, "version": 2}}
    return {
        "apiVersion": "ipa.seldon.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": name},
        "spec": {
            "slo": {"latency": "2s"},
            "objective": {"alpha": 10, "beta": 0.5},
            "forecaster": {"name": "last", "window": "20s", "aggregate": "5s", "horizon": "10s"},
            "limits": {"batch": 2, "replicas": 20},
            "graph": graph,
            "stages": {stage: {"threshold": 4, "variants": variants} for stage in stages},
            "profile": f"{name}.csv",
        },
    }


def experiment_document() -> dict[str, Any]:
    """Two pipelines, two loads of a minute, two methods, two seeds."""
    return {
        "apiVersion": "ipa.seldon.io/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "small"},
        "spec": {
            "pipelines": ["pipelines/one.yaml", "pipelines/two.yaml"],
            "loads": {
                "calm": {"pattern": "steady-low", "scale": 16, "duration": "60s"},
                "wild": {"trace": "wild.csv", "damping": 2, "pattern": "bursty", "scale": 20, "duration": 60},
            },
            "methods": {"default": {}, "fixed": {"algorithm": "fa2-low"}},
            "seeds": [0, 1],
        },
    }


class Workspace:
    """An experiment file with what it names in ``path``, changed by ``change``, run by ``run``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "experiments.yaml"
        self.directory = path / "reports"
        self.results = self.directory / "results.csv"
        self.document = experiment_document()
        (path / "pipelines").mkdir()
        for name, stages in (("one", ("first",)), ("two", ("first", "second"))):
            self.write_pipeline(pipeline_document(name, stages))
            rows = [f"{s},{v},1,{b},{t},{h}" for s in stages for (v, b), (t, h) in POINTS.items()]
            profile = "\n".join(["stage,variant,cores,batch,latency,throughput", *rows, ""])
            (path / "pipelines" / f"{name}.csv").write_text(profile)
        self.write()

    def write_pipeline(self, document: dict[str, Any]) -> None:
        """Write a pipeline file under its name."""
        (self.path / "pipelines" / f"{document['metadata']['name']}.yaml").write_text(yaml.safe_dump(document))

    def write(self) -> None:
        """Write the experiment file."""
        self.file.write_text(yaml.safe_dump(self.document, sort_keys=False))

    def change(self, key: str, value: object) -> None:
        """Put ``value`` at a dotted ``key`` of the experiment's spec."""
        *parents, last = key.split(".")
        target = self.document["spec"]
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
        self.write()

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of ``ipa-seldon experiment``."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(["experiment", "-f", str(self.file), "--directory", str(self.directory), *arguments])
        return int(ended.value.code or 0), out.getvalue(), err.getvalue()

    def json(self, *arguments: str) -> dict[str, Any]:
        """What ``-o json`` prints."""
        code, out, err = self.run("-o", "json", *arguments)
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A small experiment that has not run."""
    return Workspace(tmp_path)


@pytest.fixture
def make_workspace(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Workspace]:
    """Small experiments, each in a folder of its own."""
    return lambda: Workspace(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An experiment that has run, with decision times and a baseline; not to be changed."""
    made = Workspace(tmp_path_factory.mktemp("finished"))
    (made.path / "published.csv").write_text(
        "# Somebody, somewhere\nstages,variants,mean,max\n1,1,0.5,0.9\n2,1,0.8,1.5\n"
    )
    sizes = {"stages": [1, 2], "variants": [1, 2], "repeats": 2, "published": "published.csv"}
    made.change("decision_times", sizes)
    code, _, err = made.run("--baseline", "fixed")
    assert code == 0, err
    return made
