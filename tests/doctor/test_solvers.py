"""What is found of the solvers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = "from ipa_seldon.cli import main; main(['doctor', '-o', 'json'])"


def found(script: str = SCRIPT, **environment: str) -> dict[str, Any]:
    """The findings of a process of its own, by check; stderr stays empty."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "KUBECONFIG": "/nonexistent", **environment},
    )
    assert done.stderr == ""
    return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def without(package: str) -> dict[str, Any]:
    """The findings of an installation that lacks a package."""
    return found(f"import sys; sys.modules[{package!r}] = None; {SCRIPT}")


def test_what_auto_takes() -> None:
    """The exact one first; both are there."""
    said = found()
    assert said["solver"]["message"] == "auto takes labels (exact), and highs where that gives no proof"
    assert said["highs"]["status"] == "ok"


def test_without_highs() -> None:
    """What to install; auto's own is not affected."""
    said = without("highspy")
    assert (said["highs"]["status"], said["highs"]["message"]) == ("fail", "needs the package 'highspy'")
    assert said["solver"]["status"] == "ok"


def test_without_gurobi() -> None:
    """It is optional."""
    assert without("gurobipy")["gurobi"]["status"] == "ok"


def test_the_licence_of_the_wheel_is_limited(tmp_path: Path) -> None:
    """A warning that says to what."""
    pytest.importorskip("gurobipy")
    if os.environ.get("GRB_LICENSE_FILE"):
        pytest.skip("GRB_LICENSE_FILE names a licence without the wheel's size limit")
    said = found()["gurobi"]
    assert said["status"] == "warn"
    assert said["message"] == "its licence is limited to 2,000 variables and 2,000 rows"


def test_a_licence_that_is_none(tmp_path: Path) -> None:
    """A warning with Gurobi's reason: HiGHS solves meanwhile."""
    pytest.importorskip("gurobipy")
    said = found(GRB_LICENSE_FILE=str(tmp_path / "none.lic"))["gurobi"]
    assert said["status"] == "warn"
    assert said["message"].startswith("its licence cannot be used: ")
    assert "none.lic" in said["message"]
    assert "GRB_LICENSE_FILE" in said["remedy"]
