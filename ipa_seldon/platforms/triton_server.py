"""One tritonserver process from the ``nvidia-pytriton`` wheel: started, and stopped without leaving a trace."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from ipa_seldon.errors import PlatformError

POLL = 0.02
START_ATTEMPTS = 3
START_DEADLINE = 60.0
"""Seconds that a start may take."""
EXIT_TIMEOUT = 1
"""Seconds that requests under way get to finish at the end."""
SHARED_MEMORY = Path("/dev") / "shm"
LOG = "triton.log"
"""In the server's directory; the one before it is kept beside it."""
TRACES = "traces.json"
"""In the server's directory: how the names of files begin to which traces are written, once they are switched on."""
MORE_MODELS = "models"
"""In the server's directory: a second model repository, empty at first."""
OUR_BACKENDS = Path(__file__).parent / "backends"
"""Each a folder with the ``model.py`` that serves all models of the back end of that name."""
# Arguments: process group, shared-memory prefix, directory to remove (or empty). Waits for this process to write a
# line, which says that all is cleaned up; end of file means that this process died, and then the guard cleans up.
GUARD = 'read -r line || { kill -s KILL -- "-$1"; rm -f "/dev/shm/$2"*; rm -rf -- "$3"; }'


@dataclass(frozen=True)
class Address:
    """Where a server listens: ``ports`` are those of HTTP, gRPC and metrics; None takes free ones."""

    host: str = "127.0.0.1"
    ports: tuple[int, int, int] | None = None


class TritonServer:
    """A server over the model repository ``repository``, and over a second one of its own, ``more_models``.

    ``models`` are loaded at the start, every other one by the repository API. ``environment`` is added to this
    process's own; model processes inherit it (OMP_NUM_THREADS, ...). ``work_directory`` holds the log and outlives the
    server; without one a temporary directory is used. ``directory`` is the one in use, ``shared_memory`` how the names
    of its files in /dev/shm begin.
    The server never outlives this process, however that ends: a guard process sees a pipe close and ends the server.
    """

    def __init__(
        self,
        repository: Path,
        work_directory: Path | None = None,
        *,
        models: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        address: Address = Address(),
    ) -> None:
        self._repository = repository
        self._models = tuple(models)
        self._environment = dict(environment or {})
        self._address = address
        self._kept_directory = work_directory
        self.directory = work_directory
        self.shared_memory = f"ipa_seldon_{uuid.uuid4().hex[:12]}_"
        self._ports = address.ports
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def http_url(self) -> str:
        """``http://host:port`` of the v2 REST API."""
        return f"http://{self._address.host}:{self._port(0)}"

    @property
    def grpc_url(self) -> str:
        """``host:port`` of the v2 gRPC API, as tritonclient wants it."""
        return f"{self._address.host}:{self._port(1)}"

    @property
    def metrics_url(self) -> str:
        """Where Triton serves its Prometheus metrics."""
        return f"http://{self._address.host}:{self._port(2)}/metrics"

    @property
    def more_models(self) -> Path:
        """A model repository that is empty at each start. PlatformError before the first start."""
        if self.directory is None:
            raise PlatformError("the Triton server was not started yet")
        return self.directory / MORE_MODELS

    @property
    def pid(self) -> int | None:
        """The server's process id, also the id of its process group; None when there is no process."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        process = self._process
        return process is not None and process.poll() is None

    def start(self) -> None:
        """Return when the server is ready; a server that ran before is ended first.

        PlatformError with Triton's own reason when it does not become ready.
        """
        self._end_processes()
        wheel = _wheel()
        if not self._repository.is_dir():
            raise PlatformError(f"model repository {str(self._repository)!r} is not a directory")
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="ipa-seldon-triton-"))
        _link_backends(wheel, self.directory / "backends")
        shutil.rmtree(self.more_models, ignore_errors=True)
        self.more_models.mkdir()
        try:
            self._start_on_free_ports(wheel, self.directory)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and its model processes, remove their shared memory. Does nothing when there are none."""
        self._end_processes()
        if self._kept_directory is None and self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on_free_ports(self, wheel: Path, directory: Path) -> None:
        """Another process may take a free port before Triton binds it, hence more than one attempt.

        The ports of an earlier start are tried first, so that clients find a restarted server again.
        """
        reason = ""
        for _ in range(START_ATTEMPTS):
            self._ports = self._ports or _free_ports(self._address.host)
            self._launch(wheel, directory)
            reason = self._await_ready(directory / LOG)
            if not reason:
                return
            self._end_processes()
            if "in use" not in reason or self._address.ports:
                break
            self._ports = None
        raise PlatformError(f"Triton did not start: {reason}")

    def _launch(self, wheel: Path, directory: Path) -> None:
        if (directory / LOG).exists():  # of a server that ended, and it may say why
            (directory / LOG).replace(directory / f"{LOG}.1")
        with (directory / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                [str(wheel / "bin" / "tritonserver"), *self._arguments(directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment | _search_paths(wheel),
                start_new_session=True,
            )
        temporary = "" if self._kept_directory else str(directory)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._process.pid), self.shared_memory, temporary],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _port(self, service: int) -> int:
        """Of HTTP, gRPC or metrics (0, 1, 2). PlatformError before the first start."""
        if self._ports is None:
            raise PlatformError("the Triton server was not started yet")
        return self._ports[service]

    def _arguments(self, directory: Path) -> list[str]:
        http, grpc, metrics = (self._port(service) for service in range(3))
        return [
            f"--model-repository={self._repository}",
            f"--model-repository={directory / MORE_MODELS}",
            f"--backend-directory={directory / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name={self.shared_memory}",
            "--model-control-mode=explicit",
            # A reload must not guess at configurations: it makes every switch about two seconds slower.
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={EXIT_TIMEOUT}",
            "--allow-gpu-metrics=false",
            # Where traces go once they are switched on, which only the start can say.
            f"--trace-config=triton,file={directory / TRACES}",
            *(f"--load-model={model}" for model in self._models),
            *(f"--{service}-address={self._address.host}" for service in ("http", "grpc", "metrics")),
            *(f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"),
        ]

    def _await_ready(self, log: Path) -> str:
        """An empty string when the server is ready, else why not."""
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            if not self.alive:
                return _reason(log)
            if self._ready():
                return ""
            time.sleep(POLL)
        return f"not ready after {START_DEADLINE:g} s; {_reason(log)}"

    def _ready(self) -> bool:
        connection = HTTPConnection(self._address.host, self._port(0), timeout=1)
        with closing(connection), suppress(OSError, HTTPException):
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == HTTPStatus.OK
        return False

    def _end_processes(self) -> None:
        process, guard = self._process, self._guard
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(EXIT_TIMEOUT + 1)
            # Also ends model processes that a crashed server left behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for file in SHARED_MEMORY.glob(self.shared_memory + "*"):
                file.unlink(missing_ok=True)
        if guard is not None:
            with suppress(BrokenPipeError):
                guard.communicate(b"done\n")
        self._process = self._guard = None


def _wheel() -> Path:
    """The ``tritonserver`` directory of the installed wheel."""
    found = find_spec("pytriton")
    directories = list(found.submodule_search_locations or ()) if found else []
    if not directories:
        raise PlatformError("the local platform needs the package 'nvidia-pytriton': pip install 'ipa-seldon[triton]'")
    return Path(directories[0]) / "tritonserver"


def _link_backends(wheel: Path, target: Path) -> None:
    """Lay out the Python back end, with the stub of the running Python, the way Triton looks for it, and ours that are
    written in Python.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = wheel / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise PlatformError(f"the installed 'nvidia-pytriton' has no Python back end for Python {version}")
    shutil.rmtree(target, ignore_errors=True)
    (target / "python").mkdir(parents=True)
    for file in (*(wheel / "backends" / "python").iterdir(), stub):
        # Copied, as Triton refuses back ends in Python where the library that runs them is a link out of here.
        shutil.copy2(file, target / "python")
    for backend in OUR_BACKENDS.iterdir():
        (target / backend.name).symlink_to(backend)


def _search_paths(wheel: Path) -> dict[str, str]:
    """Model processes need libpython, the wheel's libraries, and this environment's packages.

    The stub ignores PYTHONPATH: it takes the environment of the first ``python3`` in PATH.
    """
    libraries = [sysconfig.get_config_var("LIBDIR"), str(wheel.parent.parent / "nvidia_pytriton.libs")]
    wanted = {"LD_LIBRARY_PATH": libraries, "PATH": [str(Path(sys.executable).parent)]}
    return {name: os.pathsep.join([*paths, *filter(None, [os.environ.get(name)])]) for name, paths in wanted.items()}


def _free_ports(host: str) -> tuple[int, int, int]:
    """Three ports that were free a moment ago; held together, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind((host, 0))
        http, grpc, metrics = (one.getsockname()[1] for one in sockets)
    return http, grpc, metrics


def _reason(log: Path) -> str:
    """The last error line of Triton's log, without time stamp and source line."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith(("E", "error", "| UNAVAILABLE"))]
    return (errors or lines or ["no output"])[-1].strip()
