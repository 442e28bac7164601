"""Gurobi (optional extra ``gurobi``); whatever its licence refuses goes to HiGHS, with one warning."""

from __future__ import annotations

import logging
from typing import Any

from ipa_seldon.errors import SolverError
from ipa_seldon.formulation import choice_of, formulate, formulate_deadlines, formulate_set
from ipa_seldon.programs import (
    Choice,
    Deadlines,
    IntegerProgram,
    MultipleChoice,
    Row,
    Solution,
    SolveStatus,
    Variable,
    VariantSet,
)
from ipa_seldon.solvers.highs import HighsSolver

# At Gurobi's default relative gap of 1e-4 a tie-break of 1e-6 would be ignored.
PARAMETERS = {
    "MIPGap": 0.0,
    "MIPGapAbs": 1e-9,
    "FeasibilityTol": 1e-9,
    "IntFeasTol": 1e-9,
    "OptimalityTol": 1e-9,
    "Threads": 1,
}
SIZE_LIMIT = 2_000
"""Variables, and rows, up to which the licence in gurobipy's wheel solves."""


class GurobiSolver:
    """``time_limit`` is in seconds. The licence is found as gurobipy finds it (``GRB_LICENSE_FILE``, else the
    size-limited one in its wheel: SIZE_LIMIT).
    """

    def __init__(self, time_limit: float = 10.0) -> None:
        self._time_limit = time_limit
        self._highs = HighsSolver(time_limit)
        self._environment: Any = None
        self._refused = False
        self._warned = False
        self._name = "gurobi"
        self.gap = 0.0

    @property
    def name(self) -> str:
        """``gurobi``, or ``highs`` when that answered last."""
        return self._name

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
        """An optimal solution of any program; raises SolverError when it is unbounded, the solver breaks down, or
        the time limit leaves no solution at all.
        """
        solution = self._solved(program)
        self.gap = solution.gap
        return solution

    def _solved(self, program: IntegerProgram) -> Solution:
        self._name = "gurobi"
        try:
            if not self._refused:
                return _solve(self._start(), program, self._time_limit)
        except _RefusedError as refusal:
            self._warn(refusal)
        self._name = self._highs.name
        return self._highs.solve(program)

    def _start(self) -> Any:
        """The environment, which holds the licence; opened once."""
        if self._environment is None:
            try:
                self._environment = _environment()
            except _RefusedError:
                self._refused = True
                raise
        return self._environment

    def _warn(self, refusal: _RefusedError) -> None:
        if not self._warned:
            logging.getLogger(__name__).warning("solver gurobi: %s; solving with highs instead", refusal)
        self._warned = True


class _RefusedError(Exception):
    """Gurobi will not solve this here: no package, no licence, or a program beyond the licence's size."""


def refusal(variables: int) -> str:
    """Why Gurobi would not solve a program of so many variables here; empty: it would."""
    try:
        with _environment() as environment:
            names = [str(number) for number in range(variables)]
            _solve(environment, IntegerProgram(dict.fromkeys(names, Variable()), dict.fromkeys(names, 1.0)), 10.0)
    except _RefusedError as error:
        return str(error)
    return ""


def _environment() -> Any:
    try:
        import gurobipy
    except ImportError as error:
        raise _RefusedError("the package gurobipy is missing (extra 'gurobi')") from error
    try:
        environment = gurobipy.Env(empty=True)
        environment.setParam("OutputFlag", 0)
        for name, value in PARAMETERS.items():
            environment.setParam(name, value)
        environment.start()
    except gurobipy.GurobiError as error:
        raise _RefusedError(str(error)) from error
    return environment


def _solve(environment: Any, program: IntegerProgram, time_limit: float) -> Solution:
    import gurobipy

    refusals = {gurobipy.GRB.Error.SIZE_LIMIT_EXCEEDED, gurobipy.GRB.Error.NO_LICENSE, gurobipy.GRB.Error.NETWORK}
    try:
        with gurobipy.Model(env=environment) as model:
            model.Params.TimeLimit = time_limit
            variables = _build(model, program)
            model.optimize()
            if model.Status == gurobipy.GRB.INF_OR_UNBD:
                model.Params.DualReductions = 0
                model.optimize()
            return _solution(model, variables, time_limit)
    except gurobipy.GurobiError as error:
        if error.errno in refusals:
            raise _RefusedError(str(error)) from error
        raise SolverError(f"solver gurobi: {error}") from error


def _build(model: Any, program: IntegerProgram) -> dict[str, Any]:
    from gurobipy import GRB

    variables = {
        name: model.addVar(v.lower, v.upper, program.objective.get(name, 0.0), GRB.INTEGER if v.integer else "C", name)
        for name, v in program.variables.items()
    }
    model.ModelSense = GRB.MAXIMIZE
    for row in program.rows:
        _add_row(model, row, variables)
    return variables


def _add_row(model: Any, row: Row, variables: dict[str, Any]) -> None:
    from gurobipy import GRB, LinExpr

    total = LinExpr(list(row.coefficients.values()), [variables[name] for name in row.coefficients])
    if row.lower == row.upper:
        model.addLConstr(total, GRB.EQUAL, row.lower)
        return
    if row.upper < float("inf"):
        model.addLConstr(total, GRB.LESS_EQUAL, row.upper)
    if row.lower > float("-inf"):
        model.addLConstr(total, GRB.GREATER_EQUAL, row.lower)


def _solution(model: Any, variables: dict[str, Any], time_limit: float) -> Solution:
    from gurobipy import GRB

    if model.Status == GRB.INFEASIBLE:
        return Solution(SolveStatus.INFEASIBLE, None)
    timed_out = model.Status == GRB.TIME_LIMIT
    if timed_out and not model.SolCount:
        raise SolverError(f"solver gurobi: no solution within the time limit of {time_limit:g} s")
    if not timed_out and model.Status != GRB.OPTIMAL:
        raise SolverError(f"solver gurobi: the solve ended with status {model.Status}")
    values = {name: variable.X for name, variable in variables.items()}
    if timed_out:
        return Solution(SolveStatus.FEASIBLE, values, model.ObjVal, model.MIPGap)
    return Solution(SolveStatus.OPTIMAL, values, model.ObjVal)
