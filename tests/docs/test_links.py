"""Links in the documents work in a repository browser too: the site's own are checked when it is built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pages.markdown import slug
from tests.docs.blocks import PAGES, ROOT

TEXTS = (*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def broken(page: Path, link: str) -> bool:
    """Whether a link of a page leads to no file, or to none of its headings."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return not target.exists() or (bool(anchor) and anchor not in map(slug, _HEADING.findall(prose(target))))


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading of it."""
    links = [link for link in _LINK.findall(prose(page)) if not re.match(r"\w+:", link)]
    assert [link for link in links if broken(page, link)] == []


def test_a_broken_link_is_noticed() -> None:
    """A file that is not there, and a heading that is not in it."""
    page = ROOT / "docs" / "index.md"
    assert not broken(page, "metrics.md#values-of-labels")
    assert broken(page, "metric.md")
    assert broken(page, "metrics.md#value")
