"""Every source of a load, as a real Prometheus scrapes it: a gateway and the Triton behind it, under one load."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.adapter.load import build_load
from ipa_seldon.config import read_config
from ipa_seldon.gateway.process import GatewayProcess
from ipa_seldon.platforms.seldon.options import Load
from ipa_seldon.platforms.triton_server import TritonServer
from tests.adapter.files import write_toy
from tests.platforms.load import RATE, OpenLoop
from tests.prometheus_server import PrometheusServer
from tests.waiting import wait_for

NAMESPACE = "models"


def source(directory: Path, url: str, **load: Any) -> Load:
    """What the adapter would make of a pipeline file of the toy pipeline."""
    seldon = {"model_uri": "pvc://models/toy", "load": {"window": "3s", "prometheus": {"url": url}, **load}}
    return build_load(read_config(write_toy(directory, seldon=seldon)), NAMESPACE, None)


def await_rate(load: Load, rate: float) -> None:
    """Until each of the last five seconds had about so many requests."""

    def seen() -> bool:
        newest = load.arrivals(time.time()).arrivals[-5:]
        return list(newest) == pytest.approx([rate] * 5, rel=0.5)

    wait_for(seen, 30)


@pytest.mark.prometheus
@pytest.mark.triton
def test_a_gateway_and_its_triton(toy_server: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway counts what arrives and what misses the SLO, Triton what its first stage answers: both tell the load
    that is sent, and none once none is.
    """
    monkeypatch.delenv("PROMETHEUS_URL", raising=False)
    labels = {"namespace": NAMESPACE, "pipeline": "toy"}
    triton = toy_server.metrics_url.removeprefix("http://").removesuffix("/metrics")
    with GatewayProcess(write_toy(tmp_path), toy_server.http_url) as gateway:
        targets = [gateway.url.removeprefix("http://"), triton]
        with PrometheusServer(targets, 1, tmp_path / "prometheus", labels) as server:
            loads = {name: source(tmp_path, server.url, source=name) for name in ("gateway", "triton")}
            with OpenLoop(gateway.url, 1.0):
                for load in loads.values():
                    await_rate(load, RATE)
                assert loads["gateway"].violations(time.time()) == pytest.approx(0.0, abs=0.05)
                assert loads["triton"].violations(time.time()) is None  # no executor is scraped that would know
            for load in loads.values():
                await_rate(load, 0.0)
