"""Commands in the documents work: all parse, and those that need no cluster are run, in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path

import click
import pytest

from ipa_seldon.cli import cli
from tests.docs.blocks import PAGES, ROOT, commands, steps
from tests.remnants import processes_of

RUN = [page for page in PAGES if steps(page)]
MEASURE = [page for page in RUN if re.search(r"ipa-seldon (demo|profile)\b", str(steps(page)))]
"""Pages whose commands take all cores."""
LONGEST = 150
"""Seconds of a command."""


def parsed(words: list[str]) -> None:
    """As the command line would, without running it; a click exception says what is wrong."""
    context = click.Context(cli)
    name, command, rest = cli.resolve_command(context, words)
    while isinstance(command, click.Group) and not (command.invoke_without_command and rest[0].startswith("-")):
        name, command, rest = command.resolve_command(context, rest)
    assert command is not None
    command.make_context(name, rest, parent=context)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_parses(page: Path) -> None:
    """Options, choices and arguments of each ``ipa-seldon`` are those that there are; each target of ``make`` is."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for program, *words in commands(page):
        if program == "make":
            assert words[0] in targets, words
        else:
            try:
                parsed(words)
            except click.exceptions.Exit:
                pass  # --help, --version
            except click.ClickException as error:
                pytest.fail(f"{name_of(page)}: {' '.join(words)}: {error.format_message()}")


def test_commands_are_found() -> None:
    """In README and guides, in blocks with and without a prompt, beside others: the check above is not empty."""
    found = {name_of(page): list(commands(page)) for page in PAGES}
    assert ["make", "demo"] in found["README.md"]
    assert len(found["README.md"]) > 10
    assert ["ipa-seldon", "render", "-f", "pipeline.yaml"] in found["docs/kubernetes.md"]
    assert ["ipa-seldon", "models", "fetch"] in found["docs/tutorial.md"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with what of the repository the documents name; what they write there is gone afterwards."""
    for name in ("manifests", "profiling"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "model_repository").symlink_to(ROOT / "model_repository")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in RUN if page not in MEASURE], ids=name_of)
def test_what_is_run_works(page: Path, checkout: Path) -> None:
    """Each command of the page ends with exit code 0, one after the other, prints what the page shows of it, and leaves
    no process behind.
    """
    works(page, checkout)


@pytest.mark.triton
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", MEASURE, ids=name_of)
def test_what_measures_works(page: Path, checkout: Path) -> None:
    """So does what starts a Triton."""
    works(page, checkout)


def works(page: Path, checkout: Path) -> None:
    """Run the commands of a page."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    for command, printed in steps(page):
        shell = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(
            shell, cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        if printed:
            looks_like(printed, done.stdout)
    assert not processes_of(checkout)


def looks_like(shown: str, printed: str) -> None:
    """Fails with both unless ``printed`` is what is ``shown``: ``...`` is anything, and blanks do not count."""
    same = OutputChecker().check_output(shown.strip(), printed.strip(), ELLIPSIS | NORMALIZE_WHITESPACE)
    assert same, f"the page shows:\n{shown}\nbut there is:\n{printed}"


def test_other_output_is_noticed() -> None:
    """Another figure, and a line too many, are not what is shown; what changes from run to run may be left out."""
    looks_like("accuracy 0.9 · labels, ... ms\n", "accuracy 0.9   · labels, 2.5 ms")
    for printed in ("accuracy 0.8 · labels, 2.5 ms", "accuracy 0.9 · labels, 2.5 ms\nand more"):
        with pytest.raises(AssertionError, match="the page shows"):
            looks_like("accuracy 0.9 · labels, ... ms\n", printed)
