"""Write what is made from the code, or check that it is in sync (``--check``): the reference pages, the Kubernetes
documents of every pipeline in ``manifests/pipelines``, and the dashboards in ``manifests/monitoring``.
"""

from __future__ import annotations

import sys
from contextlib import chdir
from pathlib import Path

import click
from click.testing import CliRunner

from docs.dashboards import dashboards
from ipa_seldon.cli import COMMANDS, cli
from ipa_seldon.gateway.metrics import OF_GATEWAY
from ipa_seldon.metric import Metric
from ipa_seldon.sidecar.metrics import OF_SIDECAR
from ipa_seldon.telemetry.catalogue import OF_ADAPTER, OF_PIPELINE, VALUES, most_series

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def reference() -> str:
    """The help of every command."""
    runner = CliRunner()
    context = click.Context(cli)
    pages = ["# Command reference\n\nWritten by `make docs` from the code.\n"]
    for name in ("", *COMMANDS):
        command = cli.get_command(context, name) if name else None
        names = [[name]] if name else [[]]
        if isinstance(command, click.Group):
            names += [[name, sub] for sub in command.list_commands(context)]
        for words in names:
            text = runner.invoke(cli, [*words, "--help"], prog_name="ipa-seldon", terminal_width=100).output
            pages.append(f"## `{' '.join(['ipa-seldon', *words])}`\n\n```\n{text.rstrip()}\n```\n")
    return "\n".join(pages)


METRICS = """# Metrics

Written by `make docs` from the code. In the text format of Prometheus at `/metrics`; who scrapes what on a cluster is
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
    pages = [METRICS]
    for title, (catalogue, words) in SECTIONS.items():
        rows = "\n".join(_row(metric) for metric in catalogue)
        pages.append(
            f"## {title}\n\n{words}\n\n| name | type | labels | what | series |\n|---|---|---|---|---|\n{rows}\n"
        )
    values = "\n".join(f"| {label} | {', '.join(f'`{value}`' for value in of)} |" for label, of in VALUES.items())
    pages.append(f"## Values of labels\n\n| label | values |\n|---|---|\n{values}\n")
    return "\n".join(pages)


def _row(metric: Metric) -> str:
    labels = ", ".join(metric.labels)
    what = metric.help.replace("|", "\\|")
    return f"| `{metric.name}` | {metric.kind} | {labels} | {what} | {metric.when} |"


def rendered(pipeline: Path) -> str:
    """What ``ipa-seldon render`` writes for a pipeline file; RuntimeError where it refuses."""
    words = ["render", "-f", str(pipeline.relative_to(ROOT))]
    with chdir(ROOT):  # so that no path of this machine gets into what is written
        result = CliRunner().invoke(cli, words)
    if result.exit_code:
        raise RuntimeError(f"{pipeline}: render: {result.stderr or result.exception}")
    head = (
        f"# Written by `make docs`: ipa-seldon {' '.join(words)}\n# What is to be replaced: README.md, one folder up.\n"
    )
    return head + result.stdout


def main() -> int:
    """Exit code 1 when ``--check`` finds a file out of date."""
    wanted = {
        HERE / "reference.md": reference(),
        HERE / "metrics.md": metrics(),
        HERE / "pipeline.schema.json": CliRunner().invoke(cli, ["schema"]).output,
    }
    for pipeline in sorted((ROOT / "manifests" / "pipelines").glob("*/pipeline.yaml")):
        wanted[pipeline.with_name("seldondeployment.yaml")] = rendered(pipeline)
    for name, text in dashboards().items():
        wanted[ROOT / "manifests" / "monitoring" / "dashboards" / name] = text
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv:
        for path in stale:
            path.write_text(wanted[path], encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of date: run make docs", file=sys.stderr)  # noqa: T201  # a script's own message
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
