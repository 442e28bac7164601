"""Write what is made from the code, or check that it is in sync (``--check``): the reference pages, the Kubernetes
documents of every pipeline in ``manifests/pipelines``, and the dashboards in ``manifests/monitoring``.
"""

from __future__ import annotations

import sys
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

from docs.dashboards import dashboards
from docs.pages import pages
from ipa_seldon.cli import cli

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


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
    wanted = {HERE / name: text for name, text in pages().items()}
    wanted[HERE / "pipeline.schema.json"] = CliRunner().invoke(cli, ["schema"]).output
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
