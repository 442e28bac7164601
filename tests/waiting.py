"""Waits for what other processes and threads bring about."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Until the condition holds; AssertionError after ``seconds``."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not within {seconds:g} s"
        sleep(0.05)
