"""The site: it builds strictly, it has every page, and it loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT


def build(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(target),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", target)
    assert done.returncode == 0, done.stderr
    return target


class Loads(HTMLParser):
    """What a page has a browser load by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Scripts, pictures, frames and styles; a link that a reader clicks is none."""
        self.found += [value or "" for key, value in attrs if key == "src" or (key == "href" and tag == "link")]


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Every script, style, picture and font of every page is a file of the site."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loaded = Loads(page.read_text(encoding="utf-8")).found
        assert any(url.endswith(".js") for url in loaded)
        for url in loaded:
            assert not re.match(r"(\w+:)?//", url), f"{page}: {url}"
            assert (page.parent / url.partition("?")[0]).exists() or page.name == "404.html", f"{page}: {url}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(.?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_pages_reach_what_lies_beside_them_in_the_repository(site: Path) -> None:
    """The architecture is a page, a manifest is a file, and code is not there."""
    assert "One decision" in (site / "repository" / "ARCHITECTURE.html").read_text()
    assert 'href="repository/ARCHITECTURE.html"' in (site / "index.html").read_text()
    role = Path("manifests", "adapter", "base", "role.yaml")
    assert (site / "repository" / role).read_text() == (ROOT / role).read_text()
    assert not list(site.rglob("*.py"))


def test_a_broken_link_fails(tmp_path: Path) -> None:
    """To a page, to a heading and to a file beside ``docs/``: one line each, and no site."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n[a](two.md) [b](#three) [c](../four.yaml)\n")
    settings = (
        (ROOT / "mkdocs.yml").read_text().split("\nnav:")[0].replace("docs/beside.py", str(ROOT / "docs/beside.py"))
    )
    (tmp_path / "mkdocs.yml").write_text(settings)
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1
    for target in ("two.md", "#three", "four.yaml"):
        assert re.search(rf"WARNING.*'{target}|WARNING.*{target}", done.stderr)
