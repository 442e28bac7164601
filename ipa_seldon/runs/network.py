"""The chart of the network that requests passed."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ipa_seldon.reports.charts import INK, MUTED, PALE, Chart, chart, draw_steps, dress
from ipa_seldon.runs.style import last_second, mark_slo
from ipa_seldon.runs.summary import RunResult

MEGABYTE = 1e6


def network(runs: Sequence[RunResult]) -> list[Chart]:
    """Bandwidth, and how long each request was on the network, the same in all runs; no chart where there is none."""
    run, plot = runs[0], go.Figure()
    if not run.bandwidth:
        return []
    seconds = list(range(len(run.bandwidth) + 1))
    steps = [value / MEGABYTE for value in (*run.bandwidth, run.bandwidth[-1])]
    draw_steps(plot, (seconds, steps), "bandwidth", line={"color": PALE, "width": 2})
    plot.data[0].update(yaxis="y2")
    plot.add_scatter(
        x=[record.due - run.start for record in run.records],
        y=[record.transfer for record in run.records],
        mode="markers",
        name="a request's time on the network",
        marker={"size": 3, "color": INK},
    )
    mark_slo(plot, run.slo)
    dress(plot, 240, "time (s)", "on the network (s)", end=last_second(runs))
    plot.update_layout(
        hovermode="closest",
        yaxis={"range": [0, 1.15 * run.slo]},
        yaxis2={"title": {"text": "MB/s", "font": {"color": MUTED}}, "overlaying": "y", "side": "right"},
    )
    plot.update_layout(margin={"r": 60}, yaxis2={"rangemode": "tozero", "showgrid": False, "zeroline": False})
    caption = (
        "Each request by when its client sent it: what it spent on the network its SLO no longer has when it comes to "
        "the server."
    )
    return [chart("network", "Network", caption, plot)]
