"""Weights from the model hub: its own client, against a hub of this machine that has one repository."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ipa_seldon.weights.catalogue import CATALOGUE
from ipa_seldon.weights.record import read_record
from tests.weights.repositories import ROOT

pytest.importorskip("huggingface_hub")
FIRST, SECOND = "1" * 40, "2" * 40
HUB = "someone/resnet"


def sha256(content: bytes) -> str:
    """The digest as an index has it."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repository:
    """On the hub: commit -> its files; ``head`` is the newest. ``index`` overrules what is said of a file's content."""

    commits: dict[str, dict[str, bytes]]
    head: str
    index: dict[str, str] = field(default_factory=dict)

    def document(self, commit: str) -> bytes:
        """What the hub's API says of the commit; it knows digests of large files only."""
        files = [
            {
                "rfilename": name,
                "size": len(content),
                "lfs": {"sha256": self.index.get(name, sha256(content)), "size": len(content), "pointerSize": 134}
                if name.endswith(".onnx")
                else None,
            }
            for name, content in self.commits[commit].items()
        ]
        return json.dumps({"id": HUB, "sha": commit, "siblings": files}).encode()

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Commit and content behind a path of the hub; None: there is nothing."""
        parts = path.strip("/").removeprefix("api/models/").removeprefix(HUB).strip("/").split("/")
        if path.startswith(f"/api/models/{HUB}"):
            commit = parts[1] if parts[0] == "revision" else self.head
            return commit, self.document(commit)
        if parts[0] == "resolve" and parts[2] in self.commits.get(parts[1], {}):
            return parts[1], self.commits[parts[1]][parts[2]]
        return None


@pytest.fixture
def hub() -> Iterator[tuple[str, Repository]]:
    """The hub's URL, and the repository that it has."""
    files = {"model.onnx": b"first", "config.json": b"{}", "README.md": b"read me"}
    repository = Repository({FIRST: files, SECOND: files | {"model.onnx": b"second"}}, FIRST)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = repository.answer(self.path.partition("?")[0])
            commit, content = found or ("", b"")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{sha256(content)}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815  # as the server looks for it

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", repository
        server.shutdown()
        thread.join()


@dataclass
class Fetching:
    """``ipa-seldon models fetch`` of one variant into a repository of its own."""

    url: str
    directory: Path

    def __call__(self, revision: str | None = None, cache: str = "cache") -> subprocess.CompletedProcess[str]:
        """Run it with a catalogue that pins ``revision``."""
        pin = f", revision: '{revision}'" if revision else ""
        (self.directory / CATALOGUE).write_text(
            f"stages: {{classification: {{resnet18: {{builder: resnet, hub: {HUB}, "
            f"files: ['*.onnx', '*.json'], licence: BSD-3-Clause{pin}}}}}}}\n"
        )
        words = ["models", "fetch", "video", "--variant", "resnet18", "--repository", str(self.directory)]
        settings = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.directory / cache), "HF_HUB_DISABLE_XET": "1"}
        return subprocess.run(
            [sys.executable, "-m", "ipa_seldon", *words],
            env=os.environ | settings,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def version(self) -> Path:
        """Where the weights go."""
        return self.directory / "classification" / "1"


def test_the_newest_commit_is_taken_once_and_kept(hub: tuple[str, Repository], tmp_path: Path) -> None:
    """Licence and commit are told, the files of the patterns are taken, and the record keeps commit and digests. When
    the hub moves on, what is there is skipped, also without the hub, and repaired from its own commit, until the
    catalogue pins another.
    """
    url, repository = hub
    fetch = Fetching(url, tmp_path)
    result = fetch()
    assert f"classification/resnet18: {HUB} at {FIRST}, licence BSD-3-Clause\n" in result.stderr
    assert sorted(path.name for path in fetch.version.iterdir()) == ["config.json", "model.onnx", "weights.json"]
    record = read_record(fetch.version)
    assert record is not None
    assert (record.origin.revision, record.files["model.onnx"].sha256) == (FIRST, sha256(b"first"))
    repository.head = SECOND
    without = Fetching("http://127.0.0.1:9", tmp_path)()
    assert (without.returncode, without.stderr) == (0, "")
    (fetch.version / "model.onnx").write_bytes(b"worse")
    assert fetch(cache="other").returncode == 0
    assert (fetch.version / "model.onnx").read_bytes() == b"first"
    assert fetch(revision=SECOND).returncode == 0
    assert (fetch.version / "model.onnx").read_bytes() == b"second"


def test_other_content_than_the_index_says_is_refused(hub: tuple[str, Repository], tmp_path: Path) -> None:
    """One line says which file; nothing is left in the repository, and the next fetch takes nothing out of a cache."""
    url, repository = hub
    fetch = Fetching(url, tmp_path)
    repository.index["model.onnx"] = sha256(b"another")
    result = fetch()
    assert result.returncode == 1
    assert f"classification/resnet18: model.onnx of {HUB} is not what its index says" in result.stderr.splitlines()[-1]
    assert list((tmp_path / "classification").iterdir()) == []
    repository.commits[FIRST]["model.onnx"] = b"another"
    assert fetch().returncode == 0


def test_a_commit_that_gives_something_else_is_refused(hub: tuple[str, Repository], tmp_path: Path) -> None:
    """The record holds digests of all files, also of those for which the hub states none."""
    url, repository = hub
    fetch = Fetching(url, tmp_path)
    assert fetch().returncode == 0
    (fetch.version / "config.json").unlink()
    repository.commits[FIRST]["config.json"] = b"{'other': true}"
    result = fetch(cache="other")
    assert result.returncode == 1
    assert f"{HUB} at {FIRST} is not what {fetch.version} has recorded" in result.stderr.splitlines()[-1]
    assert (fetch.version / "model.onnx").read_bytes() == b"first"


def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    """Without a network, as with a wrong name."""
    result = Fetching("http://127.0.0.1:9", tmp_path)()
    assert result.returncode == 1
    assert f"Error: classification/resnet18: cannot fetch {HUB} from the model hub: " in result.stderr
    assert "Traceback" not in result.stderr
