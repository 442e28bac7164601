"""The drawing of a frontier: accuracy over cost."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

from ipa_seldon.algorithms.frontier import FrontierPoint
from ipa_seldon.errors import ConfigError

_INK, _MUTED, _COLOUR = "#1f2933", "#52606d", "#004488"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="max-width: 60rem; margin: auto">
{drawing}
</body></html>
"""


def draw(points: Sequence[FrontierPoint], title: str, path: Path) -> None:
    """Write the frontier to ``path`` as its suffix says: .svg, .png, or .html that needs nothing else; the same points
    give the same file. Raises ConfigError when it cannot be written.
    """
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "frontier", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = _figure(points, title)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix.lower() == ".html":
                svg = StringIO()
                figure.savefig(svg, format="svg", metadata={"Date": None})
                drawing = svg.getvalue()
                page = _PAGE.format(title=escape(title), drawing=drawing[drawing.index("<svg") :])
                path.write_text(page, encoding="utf-8")
            else:
                metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
                figure.savefig(path, dpi=150, metadata=metadata)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _figure(points: Sequence[FrontierPoint], title: str) -> Any:
    from matplotlib.figure import Figure

    costs = [point.proposal.cost for point in points]
    accuracies = [point.proposal.accuracy for point in points]
    weighted = [k for k, point in enumerate(points) if point.ratio is not None]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot(costs, accuracies, color=_MUTED, linewidth=1, drawstyle="steps-post", zorder=2)
    axes.scatter(costs, accuracies, 36, facecolors="white", edgecolors=_COLOUR, zorder=3, label="only by a constraint")
    axes.scatter(
        [costs[k] for k in weighted], [accuracies[k] for k in weighted], 36, color=_COLOUR, zorder=4, label="by weights"
    )
    axes.set_title(title, loc="left", color=_INK)
    axes.set_xlabel("cost, cores")
    axes.set_ylabel("accuracy")
    axes.margins(0.05)
    axes.set_axisbelow(True)
    axes.grid(color="#e4e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="selected", loc="lower right", frameon=False)
    return figure
