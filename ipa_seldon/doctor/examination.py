"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ipa_seldon.adapter.load import prometheus_of
from ipa_seldon.adapter.sources import Source, config_maps
from ipa_seldon.bootstrap import seldon_spec
from ipa_seldon.cluster.api import Cluster
from ipa_seldon.config import Config, read_config
from ipa_seldon.doctor import load, machine, server, solvers
from ipa_seldon.doctor.findings import Finding, Status, attempt, failed, ok, warn
from ipa_seldon.doctor.pipelines import RENDER, Subject, alone, attached, changeable, deployed, planned
from ipa_seldon.doctor.pods import pods
from ipa_seldon.errors import ConfigError
from ipa_seldon.prometheus import Prometheus
from ipa_seldon.prometheus.access import resolve

OF_CLUSTER = {"seldon": server.definition, "permissions": server.permissions}
OF_PIPELINE: dict[str, Callable[[Subject], Finding]] = {
    "attached": attached,
    "changeable": changeable,
    "autoscaler": alone,
    "plan": planned,
    "pods": pods,
}
OF_LOAD = {"load": load.load, "triton": load.triton}
OF_MACHINE = {"quota": machine.cores, "solver": solvers.auto, "highs": solvers.highs, "gurobi": solvers.gurobi}


@dataclass(frozen=True)
class _Reached:
    """What answers. ``prometheus`` None: the one that all are to ask does not; ``own``: each file names its own.
    ``namespace`` is the one that is looked into, None: not known.
    """

    cluster: Cluster | None
    prometheus: Prometheus | None
    own: bool
    namespace: str | None


def examine(paths: Sequence[Path], namespace: str | None, prometheus: str | None) -> Iterator[Finding]:
    """The findings, as they come. Without ``paths`` of pipeline files those of the namespace's ConfigMaps are looked
    at; ``namespace`` is by default the context's; ``prometheus`` is a URL, by default the environment's or each file's.
    """
    cluster, finding = server.reach(namespace)
    yield finding
    if cluster is not None:
        yield from (attempt(check, partial(find, cluster)) for check, find in OF_CLUSTER.items())
    measured, finding = _prometheus(prometheus)
    yield finding
    own = finding.status is Status.WARN
    yield from _pipelines(_Reached(cluster, measured, own, cluster.namespace if cluster else namespace), paths)
    yield from (attempt(check, find) for check, find in OF_MACHINE.items())


def _prometheus(url: str | None) -> tuple[Prometheus | None, Finding]:
    """As of server.reach."""
    try:
        named = resolve(url)
    except ConfigError as error:
        return None, failed("prometheus", error)
    if named is None:
        return None, warn(
            "prometheus", "not looked at: no URL was given", "give --prometheus the URL that the adapter is given"
        )
    prometheus = Prometheus(named[0], access=named[1])
    finding = attempt("prometheus", lambda: load.reachable(prometheus))
    return (None if finding.status is Status.FAIL else prometheus), finding


def _pipelines(reached: _Reached, paths: Sequence[Path]) -> Iterator[Finding]:
    sources: list[Source] = []
    try:
        if paths:
            sources = [Source(str(path), "", partial(read_config, path)) for path in paths]
        elif reached.cluster is not None:
            sources = config_maps(reached.cluster)()
    except Exception as error:
        yield failed("pipeline", error)
        return
    if not sources and reached.cluster is not None:
        yield warn("pipeline", f"no ConfigMap of a pipeline in namespace {reached.namespace!r}", RENDER)
    for source in sources:
        yield from _pipeline(reached, source)


def _pipeline(reached: _Reached, source: Source) -> Iterator[Finding]:
    try:
        config = source.read()
        seldon_spec(config)
    except Exception as error:
        yield failed("pipeline", error)
        return
    yield ok("pipeline", f"{config.name}: {source.name} can be read")
    on_gpus = [machine.gpus(config)] if config.pipeline.on_gpus else []
    for finding in (*on_gpus, *_on_cluster(reached.cluster, config), *_measured(reached, config)):
        yield replace(finding, message=f"{config.name}: {finding.message}")


def _on_cluster(cluster: Cluster | None, config: Config) -> Iterator[Finding]:
    if cluster is None:
        return
    subject, finding = deployed(cluster, config)
    yield finding
    if subject is not None:
        yield from (attempt(check, partial(find, subject)) for check, find in OF_PIPELINE.items())


def _measured(reached: _Reached, config: Config) -> Iterator[Finding]:
    prometheus = prometheus_of(config, None) if reached.own else reached.prometheus
    if prometheus is not None:
        for check, find in OF_LOAD.items():
            yield attempt(check, partial(find, prometheus, config, reached.namespace))
