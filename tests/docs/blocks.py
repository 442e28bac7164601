"""Commands in the documents: what a reader is told to type.

A block of ``console`` is run: its lines with ``$`` are commands, those below what they print, where that is shown;
``...`` stands for anything. A command in any other block, for a cluster or for files of the reader's, has to parse.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "manifests").rglob("*.md")))
NAMES = ("ipa-seldon", "make")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TYPED = {"": "", "sh": "", "console": "$ "}
"""Languages whose blocks hold commands, and what these begin with."""


class Step(NamedTuple):
    """A command of a ``console`` block, and what it prints; empty where that is not shown."""

    command: str
    printed: str


def steps(page: Path) -> list[Step]:
    """What a page has run, in order."""
    found = []
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                found.append(Step(command, printed))
    return found


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of ours in the blocks of a page, however it is joined to others."""
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in text.replace("\\\n", " ").splitlines() if language in _TYPED else ():
            if line.startswith(_TYPED[language]) and any(name in line for name in NAMES):
                yield from _ours(line.removeprefix(_TYPED[language]))


def _ours(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;<>()"):
            if words and words[0] in NAMES:
                yield words
            words = []
        else:
            words.append(word)
