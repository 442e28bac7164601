"""What serves a demo: one Triton of this machine, or the pods of a cluster whose controllers are emulated."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from ipa_seldon.adapter.load import GatewayLoad
from ipa_seldon.bootstrap import history_seconds, local_repository, seldon_documents, seldon_platform, serve_locally
from ipa_seldon.cluster.api import CONFIG_MAPS, SELDON_DEPLOYMENTS, Cluster
from ipa_seldon.cluster.connection import connect
from ipa_seldon.config import Config
from ipa_seldon.errors import IpaSeldonError, PlatformError
from ipa_seldon.gateway.process import GatewayProcess, Order
from ipa_seldon.plan import Plan
from ipa_seldon.platforms import Platform
from ipa_seldon.platforms.seldon.platform import SeldonPlatform

CHECKOUT = Path(__file__).parents[2]
START = 180.0
"""Seconds that the first pods may take."""
STEP = 1.0
"""Seconds between two steps of a plan that is under way."""
STOP = 30.0
"""Seconds that the cluster's process may take to end its pods."""
KINDS = {"ConfigMap": CONFIG_MAPS, "SeldonDeployment": SELDON_DEPLOYMENTS}


def _nothing() -> None:
    """Nothing is to be done between two decisions."""


@dataclass(frozen=True)
class Serving:
    """A served pipeline: the ``platform`` that makes plans run, and the ``gateway`` that requests are sent to.

    ``tend()`` is to be called between two decisions, about twice a second: it takes a plan under way on.
    """

    platform: Platform
    gateway: GatewayProcess
    tend: Callable[[], None] = _nothing


Serve = Callable[[Config, Plan, Order, Path], AbstractContextManager[Serving]]
"""Serves a plan until the context ends, requests in that order; servers' logs go to the directory."""


@contextmanager
def on_triton(config: Config, plan: Plan, order: Order, directory: Path) -> Iterator[Serving]:
    """Every stage in one Triton; see Serve."""
    with serve_locally(config, plan, log_directory=directory, order=order) as serving:
        yield Serving(serving.platform, serving.gateway)


@contextmanager
def on_cluster(config: Config, plan: Plan, order: Order, directory: Path) -> Iterator[Serving]:
    """Pods of a cluster that lasts as long, each a Triton and a sidecar; see Serve."""
    with emulated_cluster(local_repository(config), directory) as (cluster, services):
        for document in seldon_documents(config, plan):
            cluster.create(KINDS[document["kind"]], document)
        with GatewayProcess(config.path, services, order=order) as gateway:
            platform = seldon_platform(config, cluster, UnjudgedLoad(gateway, history_seconds(config)), lambda _: None)
            _bring_about(platform, plan, directory)
            yield Serving(platform, gateway, _tender(platform))


SERVED_BY: Mapping[str, Serve] = {"local": on_triton, "seldon": on_cluster}


class UnjudgedLoad(GatewayLoad):
    """A pipeline's load as its gateway counts it. Missed SLOs are not told: no plan is judged by them."""

    def violations(self, _: float) -> None:
        """Not known."""


def check_platform(name: str) -> None:
    """PlatformError where the platform of that name cannot be had here, before anything is started for it."""
    if name != "seldon":
        return
    if not (CHECKOUT / "tests" / "cluster" / "__main__.py").exists():
        raise PlatformError("--platform seldon needs a checkout of the repository: its cluster is in tests/cluster")
    if find_spec("kubernetes") is None:
        raise PlatformError("--platform seldon needs the package 'kubernetes': pip install 'ipa-seldon[kubernetes]'")


@contextmanager
def emulated_cluster(repository: Path, directory: Path) -> Iterator[tuple[Cluster, str]]:
    """A cluster whose pods serve ``repository``, and the URL of their Services; logs go to ``directory``, emptied."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with TemporaryDirectory(prefix="ipa-seldon-") as temporary, (directory / "cluster.log").open("w") as log:
        kubeconfig = Path(temporary) / "kubeconfig"
        command = [
            *(sys.executable, "-m", "tests.cluster", "--kubeconfig", str(kubeconfig), "--parent-pid", str(os.getpid())),
            *("--repository", str(repository.resolve()), "--directory", str(directory.resolve())),
        ]
        # A session of its own: Ctrl-C reaches this process alone, which then stops its cluster in order.
        process = subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        try:
            assert process.stdout is not None  # noqa: S101  # stdout=PIPE
            line = process.stdout.readline()
            if not line:
                raise PlatformError(f"the cluster did not start (exit code {process.wait()}): see {log.name}")
            yield connect(kubeconfig=kubeconfig), json.loads(line)["services"]
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP)
            process.kill()
            process.communicate()


def _bring_about(platform: SeldonPlatform, plan: Plan, directory: Path) -> None:
    """Return when ``plan`` runs; PlatformError when that takes too long."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        platform.advance(time.time())
        if platform.refusal is None:
            platform.apply(plan)  # which does nothing once it is under way
            if not platform.waiting:
                return
        time.sleep(STEP)
    reasons = "; ".join(f"{stage}: {why}" for stage, why in platform.waiting.items()) or platform.refusal
    raise PlatformError(f"no first plan after {START:g} s: {reasons}; see the logs in {directory}")


def _tender(platform: SeldonPlatform) -> Callable[[], None]:
    """Takes a plan under way on, every STEP seconds."""
    due = 0.0

    def tend() -> None:
        nonlocal due
        if platform.waiting and time.monotonic() >= due:
            with suppress(IpaSeldonError):  # a fault that lasts is in the next decision
                platform.advance(time.time())
            due = time.monotonic() + STEP

    return tend
