"""Pipeline files of the toy pipeline, light or heavy, on a profile of one and two cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SECONDS = {"light": 0.01, "heavy": 0.05}
"""Of one request on one core; batches gain nothing."""


def toy_document(name: str, **spec: Any) -> dict[str, Any]:
    """A pipeline file that decides every half second on what the last seconds were."""
    variants = {"light": {"accuracy": 0.5, "version": 1}, "heavy": {"accuracy": 1.0, "version": 2}}
    return {
        "apiVersion": "ipa.seldon.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": name},
        "spec": {
            "slo": {"latency": "1s"},
            "objective": {"accuracy": "product", "alpha": 0.1, "beta": 1},
            "forecaster": {"name": "last", "window": "4s", "aggregate": "1s", "horizon": "1s", "quantile": "none"},
            "interval": "500ms",
            "limits": {"batch": 1, "replicas": 6},
            "graph": {"name": "double", "children": [{"name": "increment"}]},
            "stages": {stage: {"variants": variants} for stage in ("double", "increment")},
            "profile": "toy.csv",
            "seldon": {"model_uri": "pvc://models/toy"},
            **spec,
        },
    }


def write_toy(directory: Path, name: str = "toy", **spec: Any) -> Path:
    """The file and its profile in ``directory``; returns the file's path."""
    lines = ["stage,variant,cores,batch,latency,throughput"]
    for stage in ("double", "increment"):
        for variant, seconds in SECONDS.items():
            lines += [f"{stage},{variant},{cores},1,{seconds / cores},{cores / seconds}" for cores in (1, 2)]
    (directory / "toy.csv").write_text("\n".join(lines) + "\n")
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(toy_document(name, **spec)))
    return path
