"""``ipa-seldon validate``: against a real Triton with the toy repository, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import TOY_PIPELINE

PROFILE = "stage,variant,cores,batch,latency,throughput\n" + "".join(
    f"{stage},fast,1,{batch},0.003,{batch / 0.003:.0f}\n" for stage in ("double", "increment") for batch in (1, 2)
)
KEYS = {"rate", "rounds", "requests", "utilisation", "unanswered", "overhead", "others", "latency"}


def validate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ipa_seldon", "validate", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def toy(directory: Path, repository: Path) -> list[str]:
    """Arguments for the toy pipeline, with a request that it understands."""
    text = f"{TOY_PIPELINE}  profile: profile.csv\n  repository: {repository}\n"
    (directory / "pipeline.yaml").write_text(text)
    (directory / "profile.csv").write_text(PROFILE)
    tensors = [{"name": n, "shape": [1, 1], "datatype": "INT32", "data": [1]} for n in ("number", "trace")]
    (directory / "body.json").write_text(json.dumps({"inputs": tensors}))
    return ["-f", str(directory / "pipeline.yaml"), "--body", str(directory / "body.json")]


@pytest.mark.triton
@pytest.mark.alone
def test_the_toy_is_predicted(toy_repository: Path, tmp_path: Path) -> None:
    """Two short loads: the documented keys, all requests answered, and a median that is roughly right."""
    done = validate(*toy(tmp_path, toy_repository), "--rates", "30,60", "--seconds", "4", "-o", "json")
    assert done.returncode == 0, done.stderr
    loads = json.loads(done.stdout)
    assert [load["rate"] for load in loads] == [30, 60]
    for load in loads:
        assert set(load) == KEYS
        assert load["requests"] > 20
        assert load["unanswered"] == 0
        assert 0 < load["utilisation"] < 1
        assert set(load["latency"]) == {"p50", "p99"}
        for quantile in load["latency"].values():
            assert set(quantile) == {"measured", "predicted", "noise", "error"}
            assert quantile["error"] == pytest.approx(quantile["predicted"] / quantile["measured"] - 1)
        assert abs(load["latency"]["p50"]["error"]) < 0.5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--rates", "10,zero"), "'10,zero': accepted: requests/s above 0"),
        (("--rates", "0"), "accepted: requests/s above 0"),
        (("--rates", "0.5"), "0.5 requests/s for 9 s: accepted: at least 20 requests in a round"),
        (("--rates", "20", "--body", "missing.json"), "missing.json: the request cannot be read"),
        (("--rates", "20", "--body", __file__), "no v2 inference request; accepted: a JSON object with a list"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    """Before anything is served, in one line, with exit code 2."""
    done = validate(*toy(tmp_path, tmp_path), *words)
    assert done.returncode == 2
    assert reason in done.stderr.splitlines()[-1]
