"""The command line: parses and prints, computes nothing. Every command is imported only when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from ipa_seldon import __version__
from ipa_seldon.errors import ConfigError, IpaSeldonError

COMMANDS = {
    "demo": ("ipa_seldon.cli.demo:demo", "Serve the text pipeline, replay a load against it, adapt it, report."),
    "plan": ("ipa_seldon.cli.plan:plan", "Print the best plan of a pipeline for one rate."),
    "render": ("ipa_seldon.cli.render:render", "Write a pipeline as Kubernetes documents, or as a Triton repository."),
    "attach": ("ipa_seldon.cli.attach:attach", "Make a SeldonDeployment that is there one that can be adapted."),
    "detach": ("ipa_seldon.cli.detach:detach", "Give a SeldonDeployment back what it was before attach."),
    "simulate": ("ipa_seldon.cli.simulate:simulate", "Simulate a pipeline under a load, without a server."),
    "experiment": ("ipa_seldon.cli.experiment:experiment", "Simulate pipelines x loads x methods x seeds and compare."),
    "backtest": ("ipa_seldon.cli.backtest:backtest", "Replay a history, and compare what algorithms would have done."),
    "report": ("ipa_seldon.cli.report:report", "Report on a run; with --agreement, advice against what ran."),
    "validate": ("ipa_seldon.cli.validate:validate", "Set the simulator against a real Triton."),
    "run": ("ipa_seldon.cli.run:run", "Serve a pipeline and adapt it until stopped."),
    "doctor": ("ipa_seldon.cli.doctor:doctor", "Check live what adapting pipelines on a cluster needs."),
    "profile": ("ipa_seldon.cli.profile:profile", "Measure variants on a real Triton, or import a profile CSV."),
    "forecast": ("ipa_seldon.cli.forecast:forecast", "Forecast a trace, and compare forecasters on it."),
    "explain": ("ipa_seldon.cli.explain:explain", "Explain a decision, and what something else would have changed."),
    "replay": ("ipa_seldon.cli.replay:replay", "Decide an audit log again and compare."),
    "gateway": ("ipa_seldon.cli.gateway:gateway", "Run the local ingress of a pipeline."),
    "sidecar": ("ipa_seldon.cli.sidecar:sidecar", "Make the Triton of this pod run its part of the plan."),
    "load": ("ipa_seldon.cli.load:load", "Send an open-loop load to a gateway."),
    "models": ("ipa_seldon.cli.models:models", "Fetch the models of the pipelines."),
    "schema": ("ipa_seldon.cli.schema:schema", "Print the JSON Schema of the pipeline file."),
}
EXIT_ERROR, EXIT_USAGE, EXIT_DEGRADED = 1, 2, 3


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command object; None when the name is unknown."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help lines, from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="ipa-seldon")
def cli() -> None:
    """Adapt inference pipelines on Seldon Core and Triton: variant, batch, replicas and cores under one SLO."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry point. Exit codes: 0 ok, 1 error, 2 usage or bad input, 3 degraded."""
    # Matrices are tiny here: the threads of numpy's and scipy's algebra would only spin beside the servers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = cli.main(args=arguments, standalone_mode=False, auto_envvar_prefix="IPA_SELDON")
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except IpaSeldonError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_ERROR)
    sys.exit(code if isinstance(code, int) else 0)
