"""Which solvers there are, by having each solve something."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from ipa_seldon.doctor.findings import Finding, ok, warn
from ipa_seldon.programs import AccuracyMeasure, MultipleChoice
from ipa_seldon.solvers.auto import AutoSolver

_NUMBER = (np.ones(1),)
PROBLEM = MultipleChoice(
    accuracy=_NUMBER,
    penalty=_NUMBER,
    latency=_NUMBER,
    used=(np.ones((1, 1)),),
    paths=((0,),),
    slo=1.0,
    alpha=1.0,
    measure=AccuracyMeasure.SUM,
)
"""One stage with one option."""


def auto() -> Finding:
    """Which one ``solver: auto`` takes."""
    solver = AutoSolver()
    solver.choose(PROBLEM)
    return ok("solver", f"auto takes {solver.name} (exact), and highs where that gives no proof")


def highs() -> Finding:
    """Whether HiGHS is there."""
    # imported here: an installation that lacks it is what this is to find
    import highspy

    from ipa_seldon.solvers.highs import HighsSolver

    HighsSolver().choose(PROBLEM)
    return ok("highs", f"HiGHS {highspy.Highs().version()}")


def gurobi() -> Finding:
    """Whether Gurobi is there, and what its licence allows."""
    from ipa_seldon.solvers.gurobi import SIZE_LIMIT, refusal

    if find_spec("gurobipy") is None:
        return ok("gurobi", "not installed: pipelines with solver: gurobi are solved by highs")
    why = refusal(1)
    if why:
        remedy = "let GRB_LICENSE_FILE name a licence; until then highs solves"
        return warn("gurobi", f"its licence cannot be used: {why}", remedy)
    if refusal(SIZE_LIMIT + 1):
        words = f"its licence is limited to {SIZE_LIMIT:,} variables and {SIZE_LIMIT:,} rows"
        return warn("gurobi", words, "highs solves what is larger; a full licence: GRB_LICENSE_FILE")
    return ok("gurobi", "installed, with a licence for programs of any size")
