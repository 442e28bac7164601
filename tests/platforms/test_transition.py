"""What a change of a stage loads, when, and what it takes away."""

from __future__ import annotations

from ipa_seldon.pipeline import Stage, Variant
from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.transition import models_of, transition

STAGE = Stage(
    "read",
    tuple(
        Variant(name, 0.5, version, (1,), lambda cores, batch: 1.0, lambda cores, batch: 1.0)
        for version, name in ((3, "light"), (7, "heavy"))
    ),
)
LIGHT, HEAVY = Allocation("light", 2, 1, 4), Allocation("heavy", 1, 2, 1)


def test_a_set_has_a_model_for_each_variant() -> None:
    """Named by stage and version, without its share; a stage that runs no set has the model of its name."""
    shared = (Allocation("light", 2, 1, 4, 0.3), Allocation("heavy", 1, 2, 1, 0.7))
    assert models_of(STAGE, shared, as_set=True) == {"read.3": LIGHT, "read.7": HEAVY}
    assert models_of(STAGE, (LIGHT,), as_set=True) == {"read.3": LIGHT}
    assert models_of(STAGE, (LIGHT,), as_set=False) == {"read": LIGHT}


def test_what_comes_or_grows_is_loaded_before_what_shrinks() -> None:
    """New models and those with as many cores or more first, those with fewer later; what stays is left alone."""
    small, large = Allocation("light", 1, 1, 4), Allocation("light", 3, 1, 4)
    assert transition({"read.3": LIGHT}, {"read.3": LIGHT, "read.7": HEAVY}).first == {"read.7": HEAVY}
    grows = transition({"read.3": LIGHT, "read.7": HEAVY}, {"read.3": large, "read.7": HEAVY})
    assert (grows.first, grows.later, grows.leaving) == ({"read.3": large}, {}, ())
    shrinks = transition({"read.3": LIGHT, "read.7": HEAVY}, {"read.3": small, "read.7": HEAVY})
    assert (shrinks.first, shrinks.later, shrinks.leaving) == ({}, {"read.3": small}, ())
    other_batch = Allocation("light", 2, 1, 8)
    assert transition({"read.3": LIGHT, "read.7": HEAVY}, {"read.3": other_batch}).first == {"read.3": other_batch}


def test_what_is_not_wanted_leaves() -> None:
    """The model of the stage's name too, when the stage becomes a set."""
    becomes = transition({"read": LIGHT}, {"read.3": LIGHT, "read.7": HEAVY})
    assert (becomes.first, becomes.leaving) == ({"read.3": LIGHT, "read.7": HEAVY}, ("read",))
    assert transition({"read.3": LIGHT, "read.7": HEAVY}, {"read.7": HEAVY}).leaving == ("read.3",)


def test_a_model_that_is_alone_changes_at_once() -> None:
    """No requests move, so there is nothing to wait for, whatever its size."""
    small = Allocation("light", 1, 1, 4)
    assert transition({"read": HEAVY}, {"read": small}).first == {"read": small}
    assert transition({"read.3": LIGHT}, {"read.3": small}).first == {"read.3": small}
    assert transition({"read": LIGHT}, {"read": LIGHT}) == transition({}, {})
