"""Figures in words, the same in tables and in reports."""

from __future__ import annotations

ABSENT = "–"


def figure(value: float | None, digits: int = 3) -> str:
    """Three significant digits without an exponent: 0.0123, 1.24, 12.4, 1240; a dash for None."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text else text


def duration(seconds: float | None) -> str:
    """Seconds as ``12.3 ms`` below one second, ``1.23 s`` above."""
    if seconds is None:
        return ABSENT
    return f"{figure(seconds * 1000)} ms" if abs(seconds) < 1 else f"{figure(seconds)} s"


def share(ratio: float | None, digits: int = 3) -> str:
    """A ratio as per cent."""
    return ABSENT if ratio is None else f"{figure(ratio * 100, digits)} %"
