"""HiGHS: the open-source MIP solver every installation has."""

from __future__ import annotations

from itertools import chain

import highspy

from ipa_seldon.errors import SolverError
from ipa_seldon.formulation import choice_of, formulate, formulate_deadlines, formulate_set
from ipa_seldon.programs import Choice, Deadlines, IntegerProgram, MultipleChoice, Solution, SolveStatus, VariantSet

# HiGHS stops by default at a gap of 1e-4 (relative) or 1e-6 (absolute): either would ignore a tie-break of 1e-6.
OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 1e-9,
    "mip_feasibility_tolerance": 1e-9,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
    # a restart of the tree search costs more than it saves on programs this small (product accuracy: half the time)
    "mip_allow_restart": False,
}


class HighsSolver:
    """``time_limit`` is in seconds; a solve that reaches it answers FEASIBLE with the gap it proved."""

    name = "highs"

    def __init__(self, time_limit: float = 10.0) -> None:
        self._time_limit = time_limit
        self.gap = 0.0

    def choose(self, problem: MultipleChoice) -> Choice:
        """The choice behind an optimal solution of ``formulate(problem)``; raises SolverError."""
        return choice_of(problem, self.solve(formulate(problem)))

    def share(self, problem: VariantSet) -> Choice:
        """The choice behind an optimal solution of ``formulate_set(problem)``; raises SolverError."""
        return choice_of(problem, self.solve(formulate_set(problem)))

    def meet(self, problem: Deadlines) -> Choice:
        """The choice behind an optimal solution of ``formulate_deadlines(problem)``; raises SolverError."""
        return choice_of(problem, self.solve(formulate_deadlines(problem)))

    def solve(self, program: IntegerProgram) -> Solution:
        """An optimal solution of any program; raises SolverError when it is unbounded, HiGHS breaks down, or the
        time limit leaves no solution at all.
        """
        highs = highspy.Highs()
        for option, value in OPTIONS.items():
            highs.setOptionValue(option, value)
        highs.setOptionValue("time_limit", self._time_limit)
        highs.passModel(_model(program))
        highs.run()
        if highs.getModelStatus() == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            highs.setOptionValue("presolve", "off")
            highs.run()
        solution = _solution(highs, program, self._time_limit)
        self.gap = solution.gap
        return solution


def _model(program: IntegerProgram) -> highspy.HighsLp:
    column = {name: index for index, name in enumerate(program.variables)}
    variables = program.variables.values()
    rows = program.rows
    lp = highspy.HighsLp()
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.num_col_, lp.num_row_ = len(column), len(rows)
    lp.col_cost_ = [program.objective.get(name, 0.0) for name in column]
    lp.col_lower_ = [variable.lower for variable in variables]
    lp.col_upper_ = [variable.upper for variable in variables]
    lp.integrality_ = [_kind(variable.integer) for variable in variables]
    lp.row_lower_ = [row.lower for row in rows]
    lp.row_upper_ = [row.upper for row in rows]
    matrix = lp.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    starts = [0]
    for row in rows:
        starts.append(starts[-1] + len(row.coefficients))
    matrix.start_ = starts
    matrix.index_ = [column[name] for row in rows for name in row.coefficients]
    matrix.value_ = list(chain.from_iterable(row.coefficients.values() for row in rows))
    return lp


def _kind(integer: bool) -> highspy.HighsVarType:
    return highspy.HighsVarType.kInteger if integer else highspy.HighsVarType.kContinuous


def _solution(highs: highspy.Highs, program: IntegerProgram, time_limit: float) -> Solution:
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return Solution(SolveStatus.INFEASIBLE, None)
    found = highs.getInfo()
    timed_out = status == highspy.HighsModelStatus.kTimeLimit
    if timed_out and found.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        raise SolverError(f"solver highs: no solution within the time limit of {time_limit:g} s")
    if not timed_out and status != highspy.HighsModelStatus.kOptimal:
        raise SolverError(f"solver highs: the solve ended with {highs.modelStatusToString(status)!r}")
    values = dict(zip(program.variables, highs.getSolution().col_value, strict=True))
    kind = SolveStatus.FEASIBLE if timed_out else SolveStatus.OPTIMAL
    gap = found.mip_gap if timed_out else 0.0
    return Solution(kind, values, found.objective_function_value, gap)
