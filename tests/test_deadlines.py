"""What is left of an SLO as a priority and a timeout of Triton's queue."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.deadlines import LEVELS, priority, request_parameters, timeout

slos = st.floats(0.01, 100)
parts = st.floats(-0.5, 1.5)


@settings(deadline=None)
@given(slos, parts, parts)
def test_priorities_go_by_what_is_left(slo: float, one: float, other: float) -> None:
    """Who has less left is never behind; of one level are only those within a quantum of each other, and those that are
    late or have it all.
    """
    first, second = sorted((one * slo, other * slo))
    levels = [priority(remaining, slo) for remaining in (first, second)]
    assert 1 <= levels[0] <= levels[1] <= LEVELS
    if levels[0] == levels[1] and first > 0 and second < slo:
        assert second - first <= slo / LEVELS * (1 + 1e-9)


def test_the_levels_are_even() -> None:
    """At least 16, each of the same width: the middle of the k-th quantum is of level k; what is late is first."""
    assert LEVELS >= 16
    assert [priority((k + 0.5) / LEVELS, 1.0) for k in range(LEVELS)] == list(range(1, LEVELS + 1))
    assert (priority(-1.0, 1.0), priority(0.0, 1.0), priority(1.0, 1.0), priority(2.0, 1.0)) == (1, 1, LEVELS, LEVELS)


def test_parameters_are_whole_numbers_triton_takes() -> None:
    """Microseconds; never 0, which would be no timeout at all, nor less."""
    assert request_parameters(0.25, 1.0) == {"priority": LEVELS // 4 + 1, "timeout": 250_000}
    assert [timeout(seconds) for seconds in (1.5, 1e-9, 0.0, -3.0)] == [1_500_000, 1, 1, 1]
