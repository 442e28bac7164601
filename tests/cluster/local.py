"""A whole cluster in one process, with the pods' processes beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.controllers import Kubelet, Operator
from tests.cluster.emulator import Emulator
from tests.cluster.processes import ProcessPods
from tests.cluster.router import Router

PERIOD = 0.2
"""Seconds between two passes of each controller."""


@dataclass(frozen=True)
class LocalCluster:
    """How to reach it, and what runs in it."""

    kubeconfig: Path
    router: Router
    pods: ProcessPods
    kubelet: Kubelet


@contextmanager
def local_cluster(
    repository: Path, kubeconfig: Path, directory: Path, say: Callable[[str], None] = lambda _: None
) -> Iterator[LocalCluster]:
    """One whose pods serve ``repository``: writes ``kubeconfig``, and logs to ``directory``; see ProcessPods."""
    with Emulator() as emulator:
        emulator.kubeconfig(kubeconfig)
        with ProcessPods(repository, kubeconfig, directory, say) as pods:
            kubelet = Kubelet(kubeconfig, runner=pods)
            with Operator(kubeconfig).run(PERIOD), kubelet.run(PERIOD), Router(emulator.url) as router:
                yield LocalCluster(kubeconfig, router, pods, kubelet)
