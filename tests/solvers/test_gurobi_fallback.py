"""Whatever Gurobi refuses, HiGHS solves, with one warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipa_seldon.programs import AccuracyMeasure, SolveStatus
from ipa_seldon.solvers.gurobi import GurobiSolver
from tests.solvers.instances import Size, large_problem, small_problem

ROOT = Path(__file__).parents[2]
SCRIPT = """
from ipa_seldon.programs import AccuracyMeasure
from ipa_seldon.solvers.gurobi import GurobiSolver
from tests.solvers.instances import Size, large_problem

solver = GurobiSolver()
for seed in range(3):
    answer = solver.choose(large_problem(Size(3, 3), AccuracyMeasure.SUM, seed))
    assert answer.status == "optimal", answer
    assert solver.name == "highs", solver.name
"""


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_warning(finished: subprocess.CompletedProcess[str], reason: str) -> None:
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("solver gurobi: ")
    assert line.endswith("; solving with highs instead")
    assert reason in line


def test_refused_licence(tmp_path: Path) -> None:
    """A licence file that is no licence: three decisions by HiGHS, one warning, nothing on standard output."""
    pytest.importorskip("gurobipy")
    licence = tmp_path / "gurobi.lic"
    licence.write_text("TYPE=NODE\nVERSION=13\nHOSTID=00000000\nKEY=ABCDEFGH\n")
    assert_one_warning(run(SCRIPT, GRB_LICENSE_FILE=str(licence)), reason="")


def test_missing_licence(tmp_path: Path) -> None:
    """GRB_LICENSE_FILE names a file that does not exist."""
    pytest.importorskip("gurobipy")
    assert_one_warning(run(SCRIPT, GRB_LICENSE_FILE=str(tmp_path / "none.lic")), reason="none.lic")


def test_missing_package() -> None:
    """Without gurobipy the warning names the extra."""
    assert_one_warning(run("import sys; sys.modules['gurobipy'] = None\n" + SCRIPT), reason="extra 'gurobi'")


def test_program_beyond_the_licence(caplog: pytest.LogCaptureFixture) -> None:
    """A program too large for the licence in the wheel goes to HiGHS, the next small one to Gurobi again."""
    pytest.importorskip("gurobipy")
    if os.environ.get("GRB_LICENSE_FILE"):
        pytest.skip("GRB_LICENSE_FILE names a licence without the wheel's size limit")
    solver = GurobiSolver()
    large = large_problem(Size(12, 50), AccuracyMeasure.SUM, seed=0)
    for _ in range(2):
        answer = solver.choose(large)
        assert (answer.status, solver.name) == (SolveStatus.OPTIMAL, "highs")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    solver.choose(small_problem(0))
    assert solver.name == "gurobi"


@pytest.mark.parametrize("measure", [AccuracyMeasure.SUM, AccuracyMeasure.PRODUCT])
def test_five_stages_of_five_variants_need_no_licence(measure: AccuracyMeasure) -> None:
    """The licence in the wheel solves 5 x 5 with four batch sizes each."""
    pytest.importorskip("gurobipy")
    solver = GurobiSolver()
    assert solver.choose(large_problem(Size(5, 5), measure, seed=0)).status is SolveStatus.OPTIMAL
    assert solver.name == "gurobi"
