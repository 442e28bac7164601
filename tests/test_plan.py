"""Figures of plans, and which are of a pipeline."""

from __future__ import annotations

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Plan, allocated_cores, check_plan, transition_cores

LIGHT, HEAVY = Allocation("light", 2, 1, 4, 0.25), Allocation("heavy", 3, 2, 1, 0.75)


def test_both_sides_of_a_transition_are_allocated() -> None:
    """What comes and what goes count together; a variant that is resized is there twice."""
    before, after = {"a": (LIGHT,)}, {"a": (HEAVY,)}
    assert transition_cores(before, after) == 2 + 6 == allocated_cores(before) + allocated_cores(after)
    assert transition_cores(before, {"a": (Allocation("light", 2, 2, 4),)}) == 2 + 4
    assert transition_cores({}, after) == 6
    assert transition_cores(before, {"b": (HEAVY,)}) == 2 + 6


def test_what_stays_is_allocated_once() -> None:
    """Variants that keep replicas, cores and batch count once, whatever share of the requests they get."""
    before = {"a": (LIGHT, HEAVY), "b": (LIGHT,)}
    assert transition_cores(before, before) == allocated_cores(before) == 10
    moved = {"a": (Allocation("light", 2, 1, 4, 1.0),), "b": (Allocation("light", 2, 1, 8),)}
    assert transition_cores(before, moved) == 2 + 6 + 2 + 2


def pipeline() -> Pipeline:
    """Stages ``a`` and ``b``, each of variants ``light`` and ``heavy``."""
    variants = tuple(
        Variant(name, 0.5, 1, (1,), lambda c, b: b / c, lambda c, b: float(c)) for name in ("light", "heavy")
    )
    return Pipeline("toy", (Stage("a", variants), Stage("b", variants)), (("a", "b"),), 1.0)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"c": (LIGHT,)}, "stage 'c' is unknown; stages are: a, b"),
        ({"b": ()}, "stage 'b': none: accepted: one or more variants, each once"),
        ({"b": (LIGHT, LIGHT)}, "stage 'b': light, light: accepted: one or more variants, each once"),
        ({"b": (Allocation("huge", 1, 1, 1),)}, "stage 'b': variant 'huge' is unknown; variants are: light, heavy"),
        ({"b": (Allocation("light", 0, 1, 1),)}, "'light': 0 replicas of 1 cores, batch 1; accepted: from 1"),
        ({"b": (Allocation("light", 1, 0, 1),)}, "'light': 1 replicas of 0 cores, batch 1; accepted: from 1"),
        ({"b": (Allocation("light", 1, 1, 0),)}, "'light': 1 replicas of 1 cores, batch 0; accepted: from 1"),
        ({"b": (LIGHT,)}, "stage 'b': shares sum to 0.25; accepted: 1"),
        ({"b": (Allocation("light", 1, 1, 1, 1.5), Allocation("heavy", 1, 1, 1, -0.5))}, "share 1.5; accepted: 0 to 1"),
    ],
)
def test_a_plan_of_another_pipeline_is_one_line(plan: Plan, said: str) -> None:
    """It names what is wrong and what is accepted; the same plan without that is accepted, for some or all stages."""
    right = {"a": (LIGHT, HEAVY), "b": (Allocation("light", 1, 1, 1),)}
    check_plan(pipeline(), {"a": right["a"]})
    check_plan(pipeline(), right)
    with pytest.raises(PlatformError) as refused:
        check_plan(pipeline(), right | dict(plan))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
