"""Reading pages: an HTML report's tags, charts and tables, what a browser makes of it; and what a server answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import closing
from html import unescape
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def need_chromium() -> None:
    """Skip the test where there is no Chromium; in CI, fail it."""
    if CHROMIUM is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("no chromium on this machine: apt-get install chromium")


class Page(HTMLParser):
    """The tags of a page, the text of its elements by id, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or f"script-{len(self.scripts)}"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        """A script is over."""
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        """Note the text of scripts."""
        if self._script is not None:
            self.scripts[self._script] += data

    def charts(self) -> dict[str, dict[str, Any]]:
        """Chart name -> plotly's specification."""
        prefix = "spec-"
        return {
            key.removeprefix(prefix): json.loads(text) for key, text in self.scripts.items() if key.startswith(prefix)
        }


def table(html: str, marker: str) -> list[list[str]]:
    """The cells of the rows of the table that follows ``marker``, as plain text."""
    part = html[html.index(marker) :]
    rows = re.findall(r"<tr.*?</tr>", part[: part.index("</table>")], re.S)
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        for row in rows
    ]


def browse(html: str, folder: Path) -> str:
    """The document as it stands after a headless Chromium ran its scripts."""
    assert CHROMIUM is not None
    page = folder / "report.html"
    page.write_text(html, "utf-8")
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", *quiet]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def assert_needs_nothing_else(html: str) -> None:
    """No element loads from elsewhere, and the page itself forbids every request."""
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "img", "object", "embed", "base"}
        assert not {"src", "href", "srcset", "action"} & set(attributes)
    policies = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes]
    assert any(policy and "default-src 'none'" in policy and "http" not in policy for policy in policies)
    styles = re.findall(r"<style>.*?</style>", html, re.S)
    assert styles
    assert not any("url(" in style or "@import" in style for style in styles)


def get(url: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and text."""
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def get_json(url: str, path: str) -> Any:
    """What it answers with 200."""
    status, text = get(url, path)
    assert status == 200
    return json.loads(text)
