"""Waits for what other processes and threads bring about."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep


def wait_for(condition: Callable[[], object], seconds: float = 120, period: float = 0.05) -> None:
    """Until the condition holds, looked at every ``period`` seconds; AssertionError after ``seconds``."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not within {seconds:g} s"
        sleep(period)
