"""``python -m tests.cluster``: a cluster in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ipa_seldon.cluster.api import PODS
from ipa_seldon.specs.observed import is_ready
from tests.cluster.test_full_loop import STAGES, children, deploy
from tests.cluster.world import door
from tests.remnants import abandoned_memory, await_nothing_abandoned
from tests.waiting import wait_for

pytestmark = pytest.mark.triton


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_leaves_nothing(number: signal.Signals, toy_repository: Path, tmp_path: Path) -> None:
    """It says how it is reached; however it ends, its pods' processes and their shared memory go with it."""
    before, memory = children(), abandoned_memory()
    kubeconfig = tmp_path / "kubeconfig"
    words = ["--repository", str(toy_repository), "--kubeconfig", str(kubeconfig), "--directory", str(tmp_path)]
    command = [sys.executable, "-m", "tests.cluster", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["kubeconfig"] == str(kubeconfig)
        assert said["services"].startswith("http://127.0.0.1:")
        deploy(door(kubeconfig))
        wait_for(lambda: len([name for name in children() - before if "tritonserver" in name]) == len(STAGES))
        # A Triton that is just being started has no guard yet; one that is ready has.
        wait_for(lambda: all(map(is_ready, door(kubeconfig).list(PODS))))
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(30) == (0 if number is signal.SIGTERM else -number)
    finally:
        process.kill()
        process.communicate()

    def gone(member: psutil.Process) -> bool:
        return not member.is_running() or member.status() == psutil.STATUS_ZOMBIE

    wait_for(lambda: all(map(gone, family)))
    wait_for(lambda: children() <= before)
    await_nothing_abandoned(memory)


def test_it_ends_with_its_parent(toy_repository: Path, tmp_path: Path) -> None:
    """Told of a parent that is not there, it stops by itself."""
    words = ["--repository", str(toy_repository), "--kubeconfig", str(tmp_path / "kubeconfig"), "--parent-pid", "1"]
    command = [sys.executable, "-m", "tests.cluster", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
