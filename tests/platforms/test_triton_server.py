"""A real tritonserver process is started and ended without leaving anything behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.platforms.triton_server import SHARED_MEMORY, Address, TritonServer
from tests.conftest import write_toy_repository
from tests.platforms.load import Client, body

pytestmark = pytest.mark.triton
OWNER = """
import signal, sys
from pathlib import Path
from ipa_seldon.platforms.triton_server import TritonServer
with TritonServer(Path(sys.argv[1]), models=("double",)) as server:
    print(server.pid, server.http_url.rpartition(":")[2], server.shared_memory, server.directory, flush=True)
    signal.pause()
"""


def eventually(condition: Callable[[], bool], patience: float = 30.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + patience
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


def group(pid: int) -> list[psutil.Process]:
    """The living processes of a process group."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return members


def nothing_left(pid: int, port: int, prefix: str) -> bool:
    """No process of the group, nobody listening, no shared memory."""
    with socket.socket() as probe:
        refused = probe.connect_ex(("127.0.0.1", port)) != 0
    return refused and not group(pid) and not list(SHARED_MEMORY.glob(prefix + "*"))


def test_serves_and_stops_without_a_trace(toy_repository: Path) -> None:
    """Ready after start; after stop no process, port, shared memory or temporary directory is left."""
    with TritonServer(toy_repository, models=("double", "increment")) as server:
        assert server.alive
        client = Client(server.http_url)
        assert client.chain(20) == {"number": 41, "trace": 11}
        client.close()
        pid, port, directory = server.pid, int(server.http_url.rpartition(":")[2]), server.directory
        assert pid is not None
        assert directory is not None
        assert len(group(pid)) == 3, "the server and one model process per stage"
    assert not server.alive
    assert not directory.exists()
    assert eventually(lambda: nothing_left(pid, port, server.shared_memory))  # what was killed takes a moment to go
    server.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_never_outlives_its_owner(toy_repository: Path, number: signal.Signals) -> None:
    """However the owning process ends, the server, its port, shared memory and temporary directory go too."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(toy_repository)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, port, prefix, directory = owner.stdout.readline().split()
        assert len(group(int(pid))) == 2
        owner.send_signal(number)
        owner.wait()
    assert eventually(lambda: nothing_left(int(pid), int(port), prefix))
    assert eventually(lambda: not Path(directory).exists())


def test_a_model_that_does_not_load_is_an_error_with_tritons_reason(tmp_path: Path) -> None:
    """One line, with the words of the model's own exception."""
    repository = write_toy_repository(tmp_path / "models", versions=1)
    (repository / "double" / "1" / "model.py").write_text("raise RuntimeError('broken on purpose')")
    server = TritonServer(repository, models=("double",))
    with pytest.raises(PlatformError, match=r"^Triton did not start: .*'double'.*broken on purpose$"):
        server.start()
    assert server.pid is None


def test_a_missing_repository_is_named(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(PlatformError, match="missing' is not a directory"):
        TritonServer(tmp_path / "missing").start()


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path) -> None:
    """Without the wheel the message says what to install."""
    code = (
        "import sys; sys.modules['pytriton'] = None\n"
        "from pathlib import Path\n"
        "from ipa_seldon.errors import PlatformError\n"
        "from ipa_seldon.platforms.triton_server import TritonServer\n"
        "try: TritonServer(Path()).start()\n"
        "except PlatformError as error: print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'nvidia-pytriton': pip install 'ipa-seldon[triton]'" in answer.stdout


def test_a_restart_keeps_the_ports(toy_repository: Path, tmp_path: Path) -> None:
    """Clients find a restarted server where it was; model processes see the environment that was given."""
    with TritonServer(toy_repository, tmp_path, environment={"MARKER_OF_THIS_TEST": "seen"}) as server:
        url, first = server.http_url, server.pid
        server.start()
        assert server.http_url == url
        assert server.pid is not None
        assert server.pid != first
        assert psutil.Process(server.pid).environ()["MARKER_OF_THIS_TEST"] == "seen"
    assert (tmp_path / "triton.log").exists()
    assert (tmp_path / "triton.log.1").exists()


def test_it_listens_where_it_is_told_to(toy_repository: Path) -> None:
    """On the given address and ports, and on no other address."""
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for chosen in (one, two, three):
            chosen.bind(("127.0.0.7", 0))
        ports = (one.getsockname()[1], two.getsockname()[1], three.getsockname()[1])
    address = Address("127.0.0.7", ports)
    with TritonServer(toy_repository, models=("double",), address=address) as server:
        assert server.http_url == f"http://127.0.0.7:{ports[0]}"
        assert server.grpc_url == f"127.0.0.7:{ports[1]}"
        client = Client(server.http_url)
        assert client.infer("double", body(3))["number"] == 6
        client.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", ports[0]))
