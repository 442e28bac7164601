"""Pods as processes of this machine: for each a real Triton and a real sidecar, on a loopback address of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from ipa_seldon.platforms.triton_server import Address, TritonServer
from ipa_seldon.specs.desired import SIDECAR
from tests.cluster.containers import Command, Container
from tests.cluster.documents import Documents
from tests.cluster.pod_runner import loopback_address
from tests.cluster.resources import Document

REFRESH = 10.0
"""Seconds between two looks at what is mounted: a kubelet takes up to about a minute."""
# Kills the process group that it leads once its standard input is closed: by us at the end, or by our death.
GUARD = "read -r line; kill -s KILL -- -$$"


@dataclass(frozen=True)
class Pod:
    """What runs of one pod."""

    address: str
    triton: TritonServer
    sidecar: Command
    containers: tuple[Container, ...]

    @property
    def ready(self) -> bool:
        """Whether all its containers are."""
        return all(container.ready for container in self.containers)

    @property
    def ended(self) -> bool:
        """Whether none of its processes is left."""
        return not any(container.running for container in self.containers)

    def start(self) -> None:
        """Begin."""
        for container in self.containers:
            container.start()

    def stop(self, hurried: bool = False) -> None:
        """End it as Kubernetes does, without any preStop where ``hurried``; returns at once."""
        for container in self.containers:
            container.stop(hurried)

    def join(self) -> None:
        """Return when it has ended."""
        for container in self.containers:
            container.join()


class ProcessPods:
    """Runs pods that serve models of ``repository``; a context manager that leaves no process behind.

    ``directory`` gets the logs and mounted files of each pod, under the pod's name, and keeps them. ``say`` is told of
    containers that cannot be started.
    """

    def __init__(
        self, repository: Path, kubeconfig: Path, directory: Path, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._repository = repository
        self._kubeconfig = kubeconfig
        self._directory = directory
        self._say = say
        self._documents = Documents(kubeconfig, "default", "kubelet")
        self._guard: subprocess.Popen[bytes]
        self.pods: dict[str, Pod] = {}
        """Those that were started and not stopped, by name."""
        self.stopped: list[Pod] = []

    def __enter__(self) -> Self:
        self._guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, process_group=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pods = [*self.stopped, *self.pods.values()]
        for pod in pods:
            pod.stop(hurried=True)
        for pod in pods:
            pod.join()
        self._guard.communicate()

    def start(self, pod: Document) -> None:
        """See PodRunner. Returns at once."""
        name = pod["metadata"]["name"]
        self.pods[name] = self._made(pod["spec"], self._directory / name)
        self.pods[name].start()

    def ready(self, pod: Document) -> bool:
        """See PodRunner."""
        return self.pods[pod["metadata"]["name"]].ready

    def resized(self, pod: Document) -> None:
        """See PodRunner. Nothing: all pods share this machine's cores."""

    def stop(self, name: str) -> None:
        """See PodRunner. Returns at once."""
        pod = self.pods.pop(name)
        self.stopped.append(pod)
        pod.stop()

    def ip(self, pod: Document) -> str:
        """See PodRunner."""
        return self.pods[pod["metadata"]["name"]].address

    def _made(self, spec: Document, directory: Path) -> Pod:
        directory.mkdir(parents=True)
        address = loopback_address()
        (sidecar,) = (container for container in spec["containers"] if container["name"] == SIDECAR)
        (triton,) = (container for container in spec["containers"] if container["name"] != SIDECAR)
        server = self._server(triton["args"], address, directory)
        mount = Mount(self._documents, spec, sidecar, directory)
        places = {"localhost": address, mount.path: str(directory)}
        command = Command(
            [sys.executable, "-m", "ipa_seldon", *(_replaced(a, places) for a in sidecar["args"]), "--host", address],
            {**os.environ, "KUBECONFIG": str(self._kubeconfig), "POD_NAME": directory.name},
            directory / "sidecar.log",
            self._guard.pid,
            spec["terminationGracePeriodSeconds"],
        )
        containers = (
            Container(triton, address, server, self._say),
            Container(sidecar, address, command, self._say, mount.refresh),
        )
        return Pod(address, server, command, containers)

    def _server(self, arguments: list[str], address: str, directory: Path) -> TritonServer:
        """As the container's arguments say."""
        stated = dict(argument.removeprefix("--").split("=") for argument in arguments if "=" in argument)
        http, grpc, metrics = (int(stated[f"{service}-port"]) for service in ("http", "grpc", "metrics"))
        listens = Address(address, (http, grpc, metrics))
        return TritonServer(self._repository, directory, models=(stated["load-model"],), address=listens)


class Mount:
    """The ConfigMap that a container mounts, as files in ``directory``; ``path`` is where the container looks."""

    def __init__(self, documents: Documents, spec: Document, container: Document, directory: Path) -> None:
        (mount,) = container["volumeMounts"]
        (volume,) = (volume for volume in spec["volumes"] if volume["name"] == mount["name"])
        self._documents = documents
        self._name = volume["configMap"]["name"]
        self._directory = directory
        self._due = 0.0
        self.path = mount["mountPath"]

    def refresh(self) -> None:
        """Write what there is now, when it is time to, each file at once; a refusal of the API is tried again."""
        if time.monotonic() < self._due:
            return
        with suppress(ApiException, HTTPError):
            for document in self._documents.list("configmaps"):
                if document["metadata"]["name"] == self._name:
                    self._write(document.get("data", {}))
                    self._due = time.monotonic() + REFRESH

    def _write(self, data: dict[str, str]) -> None:
        for key, text in data.items():
            new = self._directory / f".{key}"
            new.write_text(text, encoding="utf-8")
            new.replace(self._directory / key)


def _replaced(argument: str, places: dict[str, str]) -> str:
    """An argument with what it begins with replaced."""
    for place, replacement in places.items():
        if argument.startswith(place):
            return replacement + argument.removeprefix(place)
    return argument
