"""A bridge says in one line what is wrong with its parameters."""

from __future__ import annotations

from typing import Any

import pytest

from ipa_seldon.bridge.settings import REMAINING_SLO, Settings, read_settings
from ipa_seldon.gateway.budgets import REMAINING_SLO as READ_BY_GATEWAY

GOOD = {"url": "http://text-default-detect:9000", "stage": "detect"}


def test_parameters_as_seldon_gives_them() -> None:
    """Of any type that a unit's parameters have; a timeout may be a text."""
    assert read_settings(GOOD) == Settings(**GOOD, timeout=5.0)
    assert read_settings({**GOOD, "input": "image", "timeout": "0.5"}) == Settings(**GOOD, input="image", timeout=0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uri": "x"}, "parameter 'uri': unknown; accepted: url, stage, input, timeout"),
        ({"url": ""}, "parameter 'url': missing; accepted: http://host:port"),
        ({"stage": ""}, "parameter 'stage': missing; accepted: the name of a model"),
        ({"url": "triton:8000"}, "parameter 'url': 'triton:8000'; accepted: http://host:port or https://host:port"),
        ({"timeout": "soon"}, "parameter 'timeout': 'soon'; accepted: seconds, more than 0"),
        ({"timeout": 0}, "parameter 'timeout': 0; accepted: seconds, more than 0"),
        ({"timeout": float("nan")}, "parameter 'timeout': nan; accepted: seconds, more than 0"),
    ],
)
def test_wrong_parameters_end_it_in_one_line(change: dict[str, Any], words: str) -> None:
    """With the parameter, its value and what is accepted."""
    with pytest.raises(SystemExit, match=words):
        read_settings(GOOD | change)


def test_the_header_is_the_gateways() -> None:
    """The bridge cannot import it: what it names itself is the same."""
    assert REMAINING_SLO == READ_BY_GATEWAY
