"""The dashboards show what a real short run has measured."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from ipa_seldon.bootstrap import build_algorithm, build_controller, first_plan, serve_locally
from ipa_seldon.config import read_config
from ipa_seldon.driver import drive
from ipa_seldon.gateway.metrics import OF_GATEWAY
from ipa_seldon.sidecar.metrics import OF_SIDECAR
from ipa_seldon.telemetry.catalogue import OF_ADAPTER, OF_PIPELINE
from ipa_seldon.telemetry.live import LiveTelemetry, live_page
from tests.adapter.files import write_toy
from tests.manifests.documents import MONITORING
from tests.pages import get_json
from tests.platforms.load import OpenLoop
from tests.prometheus_server import PrometheusServer
from tests.waiting import wait_for

DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
VARIABLES = {"$namespace": ".*", "$pipeline": "toy", "$__rate_interval": "5m"}
FOREIGN = {"nv_inference_count", "nv_inference_exec_count", "seldon_api_executor_server_requests_seconds"}
PRICES = {"cpu_hourly_cost": 0.04}
FORECASTER = {"name": "last", "window": "4s", "aggregate": "1s", "horizon": "1s", "quantile": 0.9}


def read(path: Path) -> dict[str, Any]:
    """A dashboard."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def queries(dashboard: dict[str, Any]) -> list[str]:
    """Every PromQL of its panels and annotations, as it is written."""
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return asked + [annotation["expr"] for annotation in dashboard["annotations"]["list"]]


def lookups(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    """(Series, label) of every variable that is looked up."""
    asked = [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    found = [re.fullmatch(r"label_values\((.+), (\w+)\)", query["query"]) for query in asked]
    return [(match[1], match[2]) for match in found if match]


def filled(query: str) -> str:
    """With a value for each variable."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


@pytest.fixture(scope="module")
def prometheus(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one that scrapes a loop, its gateway and its Triton, under a load."""
    directory = tmp_path_factory.mktemp("run")
    spec: dict[str, Any] = {"repository": str(toy_repository), "prices": PRICES, "forecaster": FORECASTER}
    config, ended = read_config(write_toy(directory, **spec)), threading.Event()
    decider, telemetry = build_algorithm(config), LiveTelemetry()
    with live_page(telemetry, 0) as page, serve_locally(config, first_plan(decider)) as serving:
        gateway, triton = serving.gateway, serving.platform.server
        urls = (page, gateway.url, triton.metrics_url)
        targets = [urlsplit(url).netloc for url in urls]
        with (
            telemetry.watching(config, gateway.violations) as told,
            PrometheusServer(targets, 0.5, directory / "prometheus") as server,
            OpenLoop(gateway.url, config.pipeline.slo),
        ):
            # What is counted before the first scrape is no growth.
            wait_for(lambda: answered(server.url, f"sum(up) == {len(targets)}"))
            controller = build_controller(config, serving.platform, decider, [told])
            loop = threading.Thread(target=drive, args=(controller, config.spec.interval, ended.wait))
            loop.start()
            yield server.url
            ended.set()
            loop.join()


@pytest.mark.triton
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_returns_data(path: Path, prometheus: str) -> None:
    """Of each panel, each mark and each variable, within a minute of a run that changes its plan."""
    dashboard = read(path)
    asked = [filled(query) for query in queries(dashboard)]
    looked = [(filled(series), label) for series, label in lookups(dashboard)]
    assert asked
    assert looked

    def empty() -> list[str]:
        without = [query for query in asked if not answered(prometheus, query)]
        return without + [f"{series}: {label}" for series, label in looked if not values(prometheus, series, label)]

    try:
        wait_for(lambda: not empty(), 60, period=1)
    except AssertionError:
        pytest.fail("\n".join(["no data:", *empty()]))


def answered(url: str, query: str) -> bool:
    """Whether there is a number now."""
    found = get_json(url, f"/api/v1/query?query={quote(query)}")["data"]["result"]
    return any(series["value"][1] != "NaN" for series in found)


def values(url: str, series: str, label: str) -> list[str]:
    """Of a label, as Grafana looks them up; an empty one is one."""
    found = get_json(url, f"/api/v1/series?match[]={quote(series)}")["data"]
    return sorted({labels.get(label, "") for labels in found})


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_names_are_those_of_the_catalogues(path: Path) -> None:
    """No query asks for a metric that nobody has."""
    ours = {metric.name for metric in (*OF_PIPELINE, *OF_ADAPTER, *OF_GATEWAY, *OF_SIDECAR)}
    named = {
        name.removesuffix("_bucket")
        for query in queries(read(path))
        for name in re.findall(r"\b(?:ipa|nv|seldon)_[a-z0-9_]+", query)
    }
    assert named
    assert named <= ours | FOREIGN


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_lie_beside_one_another(path: Path) -> None:
    """Within the 24 columns, none over another, each with a title."""
    taken: set[tuple[int, int]] = set()
    for panel in read(path)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["title"]


def test_every_dashboard_can_be_told_apart() -> None:
    """By its uid, which links between them go by; all have the tag by which each finds the others."""
    found = [read(path) for path in DASHBOARDS]
    assert {dashboard["uid"] for dashboard in found} == {path.stem for path in DASHBOARDS}
    assert all(dashboard["tags"] == ["ipa-seldon"] for dashboard in found)
