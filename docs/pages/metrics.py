"""Metrics."""

from __future__ import annotations

from docs.pages.markdown import ORIGIN, table
from ipa_seldon.gateway.metrics import OF_GATEWAY
from ipa_seldon.sidecar.metrics import OF_SIDECAR
from ipa_seldon.telemetry.catalogue import OF_ADAPTER, OF_PIPELINE, VALUES, most_series

HEAD = f"""# Metrics

{ORIGIN} In the text format of Prometheus at `/metrics`; who scrapes what on a cluster is
in `manifests/monitoring`. Names are in base units; where there is no namespace (on one machine) the label is empty.
"""
BASE = most_series(0, 0)
SECTIONS = {
    "Of a pipeline": (
        OF_PIPELINE,
        "From the adapter, and from `ipa-seldon run` on one machine. `current` is what runs, or is on its way, after "
        "the last round; `desired` is what was decided last. All series of a pipeline go with it, those of a variant "
        "with the plan that has it; what is counted begins at zero when a changed pipeline file is taken up. A "
        f"pipeline has at most {BASE} series, {most_series(1, 0) - BASE} more for every stage and "
        f"{most_series(0, 1) - BASE} more for every variant; an adapter that stands by has none.",
    ),
    "Of the adapter": (OF_ADAPTER, "On a cluster."),
    "Of the gateway": (OF_GATEWAY, "From every gateway, at its own port."),
    "Of a sidecar": (OF_SIDECAR, "From every pod of a stage; the PodMonitor adds the pipeline."),
}


def metrics() -> str:
    """Every metric: name, type, labels, what it says and which series there are; and the values of labels."""
    pages = [HEAD]
    for title, (catalogue, words) in SECTIONS.items():
        rows = [(f"`{m.name}`", m.kind, ", ".join(m.labels), m.help, m.when) for m in catalogue]
        pages.append(f"## {title}\n\n{words}\n\n{table(('name', 'type', 'labels', 'what', 'series'), rows)}")
    values = [(label, ", ".join(f"`{value}`" for value in of)) for label, of in VALUES.items()]
    pages.append(f"## Values of labels\n\n{table(('label', 'values'), values)}")
    return "\n".join(pages)
