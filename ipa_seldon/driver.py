"""Drives a controller in wall time: one step at a fixed interval, until told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable

from ipa_seldon.controller import Controller


def drive(controller: Controller, interval: float, wait: Callable[[float], bool]) -> None:
    """Step every ``interval`` seconds, the first time after one interval.

    ``wait(seconds)`` waits and returns whether to stop (``threading.Event().wait`` fits). A step that takes longer than
    the interval delays the next one; steps are never run to catch up.
    """
    due = time.monotonic() + interval
    while not wait(max(due - time.monotonic(), 0.0)):
        controller.step(time.time())
        due = max(due + interval, time.monotonic())
