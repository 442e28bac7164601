"""``ipa-seldon replay``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def replay(log: Path, output: str) -> int:
    """Decide the audit LOG again, from its observations alone. Exit code 1 when a decision comes out differently."""
    from ipa_seldon.bootstrap import replay_decisions
    from ipa_seldon.cli import EXIT_ERROR
    from ipa_seldon.telemetry.audit import read_audit_log

    config, algorithm, decisions = read_audit_log(log)
    differences = replay_decisions(config, algorithm, decisions)
    if output == "json":
        click.echo(json.dumps({"decisions": len(decisions), "different": differences}, indent=2))
    else:
        for difference in differences:
            click.echo(
                f"decision {difference['tick']}: {difference['what']}: {difference['logged']} became "
                f"{difference['replayed']}"
            )
        click.echo(f"{len(decisions)} decisions, {len(differences)} different")
    return EXIT_ERROR if differences else 0
