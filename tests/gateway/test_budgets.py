"""What requests have left when they arrive: the headers, clocks that differ, and what is remembered."""

from __future__ import annotations

import pytest

from ipa_seldon.gateway.budgets import AHEAD, BEHIND, TOLD, RecentBudgets, least, read_budget
from ipa_seldon.gateway.protocol import RefusedError
from ipa_seldon.plan import BUDGET_SECONDS

NOW = 1_700_000_000.0
SLO = 2.0


def sent(seconds: float) -> dict[str, str]:
    """The header of a request that was sent so long ago."""
    return {"Ipa-Send-Time": f"{NOW - seconds:.6f}"}


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({}, 2.0),
        (sent(0.5), 1.5),
        (sent(3.0), -1.0),
        ({"Ipa-Remaining-Slo": "0.25"}, 0.25),
        ({"Ipa-Remaining-Slo": "0.25"} | sent(0.5), 0.25),
        ({"Ipa-Remaining-Slo": "0.25"} | sent(-900), 0.25),
        (sent(-AHEAD / 2), 2.0),
        (sent(BEHIND * SLO - 0.001), SLO - BEHIND * SLO + 0.001),
    ],
)
def test_what_is_left_is_what_the_headers_say(headers: dict[str, str], left: float) -> None:
    """The SLO; less the time since a request was sent; or what it says itself, which wins."""
    budget = read_budget(headers, SLO, NOW)
    assert budget.seconds == pytest.approx(left, abs=1e-5)
    assert budget.off == 0.0


@pytest.mark.parametrize(
    ("ago", "off"), [(-2 * AHEAD, 2 * AHEAD), (-3600, 3600), (BEHIND * SLO + 1, -BEHIND * SLO - 1)]
)
def test_a_send_time_that_cannot_be_is_not_believed(ago: float, off: float) -> None:
    """From the future, or older than any network makes a request: it gets the whole SLO, and by how much it is off is
    told.
    """
    budget = read_budget(sent(ago), SLO, NOW)
    assert budget.seconds == SLO
    assert budget.off == pytest.approx(off, abs=1e-5)


@pytest.mark.parametrize("name", ["Ipa-Remaining-Slo", "Ipa-Send-Time"])
@pytest.mark.parametrize("value", ["soon", "nan", "inf", ""])
def test_what_is_no_number_is_refused(name: str, value: str) -> None:
    """With the header's name, and what is accepted."""
    with pytest.raises(RefusedError, match=f"header {name}: .* accepted: seconds as a decimal number") as refused:
        read_budget({name: value}, SLO, NOW)
    assert refused.value.status == 400


def test_budgets_are_remembered_for_a_while() -> None:
    """Those of the last seconds, whether or not others arrive."""
    recent = RecentBudgets()
    for second in range(10):
        recent.add(float(second), 0.1 * second)
    assert recent.at(9.0) == [0.1 * second for second in range(10 - 1 - int(BUDGET_SECONDS), 10)]
    assert recent.at(9.5 + BUDGET_SECONDS - 1) == [0.1 * 9]
    assert recent.at(9.5 + BUDGET_SECONDS) == []


def test_no_more_than_some_thousands_are_told_of() -> None:
    """Those with the least left, of whichever sign, in ascending order."""
    told = least(0.001 * number - 1 for number in reversed(range(2 * TOLD)))
    assert told == [round(0.001 * number - 1, 4) for number in range(TOLD)]
