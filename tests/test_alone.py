"""Tests that are alone: real workers run a small suite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = """
from pathlib import Path
import pytest
from tests import alone

LOG = Path(__file__).with_name("log")

def pytest_configure(config):
    config.pluginmanager.register(alone)

def log(words):
    with LOG.open("a") as file:
        file.write(words + "\\n")

@pytest.fixture(scope="module")
def server():
    yield
    log("server")

@pytest.fixture(autouse=True)
def logged(request):
    yield
    log(request.node.name)
"""
QUICK = """
import pytest

@pytest.mark.alone
@pytest.mark.parametrize("number", [1, 2])
def test_alone(number): pass

@pytest.mark.parametrize("number", [1, 2])
def test_quick(server, number): pass
"""
SLOW = """
import time
from pathlib import Path

def test_slow(server):
    while "test_quick" not in Path(__file__).with_name("log").read_text():
        time.sleep(0.01)
    time.sleep(0.5)  # in which whoever does not wait begins
"""


def test_they_begin_when_all_others_have_ended(tmp_path: Path) -> None:
    """Those of any file, in any worker, and what these had started; each test has run once, and its name tells."""
    settings = "[pytest]\naddopts = --dist loadfile --no-loadscope-reorder\nmarkers = alone\n"
    files = {"pytest.ini": settings, "conftest.py": CONFTEST, "test_quick.py": QUICK, "test_slow.py": SLOW, "log": ""}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
    *others, first, second = (tmp_path / "log").read_text().splitlines()
    assert sorted(others) == ["server", "server", "test_quick[1]", "test_quick[2]", "test_slow"]
    assert (first, second) == ("test_alone[1-@alone]", "test_alone[2-@alone]")
