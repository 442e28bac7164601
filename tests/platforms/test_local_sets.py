"""Several variants of a stage at once on a real Triton, behind a real gateway, under an open-loop load."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from ipa_seldon.bootstrap import LocalServing, serve_locally
from ipa_seldon.config import read_config
from ipa_seldon.demo.models import fetch, models_directory
from ipa_seldon.demo.requests import payloads
from ipa_seldon.demo.runner import TEXT_PIPELINE
from ipa_seldon.errors import PlatformError
from ipa_seldon.loadgen import RequestOutcome, RequestRecord
from ipa_seldon.plan import Allocation, Backlog, Plan
from ipa_seldon.platforms.local import LocalPlatform
from ipa_seldon.platforms.triton_models import TritonModels
from tests.conftest import write_toy_repository
from tests.platforms.load import OpenLoop
from tests.platforms.test_local import toy_pipeline
from tests.waiting import wait_for

pytestmark = pytest.mark.triton
SLO = 10.0
NAMES = ("light", "middle", "heavy")
PIPELINE = {
    "apiVersion": "ipa.seldon.io/v1alpha1",
    "kind": "Pipeline",
    "metadata": {"name": "toy"},
    "spec": {
        "slo": {"latency": SLO},
        "graph": {"name": "double", "children": [{"name": "increment"}]},
        "stages": {
            stage: {"variants": {name: {"accuracy": 0.5, "version": v} for v, name in enumerate(NAMES, start=1)}}
            for stage in ("double", "increment")
        },
        "profile": "profile.csv",
        "repository": "models",
    },
}


def allocation(variant: str, share: float = 1.0, replicas: int = 1, batch: int = 1) -> Allocation:
    """One core a replica."""
    return Allocation(variant, replicas, 1, batch, share)


LIGHT = (allocation("light"),)


@contextmanager
def served(directory: Path, plan: Plan, break_version: int | None = None) -> Iterator[LocalServing]:
    """The toy pipeline as ``ipa-seldon run`` serves it; a version that is broken does not load."""
    (directory / "pipeline.yaml").write_text(json.dumps(PIPELINE))
    rows = [
        f"{stage},{name},{n},{b},0.01,{100 * b}"
        for stage in ("double", "increment")
        for name in NAMES
        for n in (1, 2)
        for b in (1, 4)
    ]
    (directory / "profile.csv").write_text("\n".join(["stage,variant,cores,batch,latency,throughput", *rows]))
    write_toy_repository(directory / "models")
    if break_version is not None:
        (directory / "models" / "double" / str(break_version) / "model.py").write_text("raise RuntimeError('broken')")
    with serve_locally(read_config(directory / "pipeline.yaml"), plan) as serving:
        yield serving


def check_shares(records: Sequence[RequestRecord], plan: Plan) -> None:
    """Each variant's count lies within four standard deviations of what independent draws by the shares would give."""
    for stage, allocations in plan.items():
        counts = Counter(record.variants[stage] for record in records)
        assert counts.keys() <= {a.variant for a in allocations}
        for a in allocations:
            deviation = math.sqrt(len(records) * a.share * (1 - a.share))
            assert abs(counts[a.variant] - len(records) * a.share) <= 4 * deviation, (stage, counts)


def ready(platform: LocalPlatform) -> set[str]:
    """The models that its Triton has."""
    with TritonModels(platform.server.grpc_url) as models:
        return set(models.ready_versions())


def test_variants_share_the_load_and_change_without_losing_a_request(tmp_path: Path) -> None:
    """Two and three variants at once, in one stage and in both; created, resized, deleted, given other shares, and back
    to one: every request is answered, by those variants only that the plan has then, by their shares.
    """
    set_of_two = (allocation("light", 0.3), allocation("heavy", 0.7))
    three = (allocation("light", 0.2), allocation("middle", 0.3), allocation("heavy", 0.5, 2, 4))
    steps: list[tuple[Plan, int]] = [
        ({"double": set_of_two, "increment": LIGHT}, 2),  # from one to a set
        ({"double": (allocation("light", 0.6), allocation("heavy", 0.4)), "increment": LIGHT}, 0),  # shares alone
        ({"double": three, "increment": (allocation("middle", 0.5), allocation("light", 0.5))}, 4),  # created, resized
        ({"double": (allocation("light", 0.9), allocation("heavy", 0.1)), "increment": three}, 2),  # deleted, shrunk
        ({"double": (allocation("heavy"),), "increment": (allocation("middle"),)}, 0),  # back to one
        ({"double": (allocation("light"),), "increment": (allocation("middle", replicas=2),)}, 2),  # sets of one
    ]
    with served(tmp_path, {"double": LIGHT, "increment": LIGHT}) as serving, OpenLoop(serving.gateway.url, SLO) as load:
        assert ready(serving.platform) == {"double", "increment"}
        for plan, loads in steps:
            before = serving.platform.loads
            serving.platform.apply(plan)
            assert serving.platform.loads == before + loads
            assert serving.platform.observe(0.0).plan == plan
            changed = time.time()
            load.await_answers(150)
            check_shares(load.since(changed), plan)
        assert ready(serving.platform) == {"double.1", "increment.2"}
    assert load.outcomes.keys() == {RequestOutcome.COMPLETED}


def test_a_first_plan_may_be_a_set(tmp_path: Path) -> None:
    """What runs from the start is shared from the first request on."""
    plan = {"double": (allocation("middle", 0.5), allocation("light", 0.5)), "increment": LIGHT}
    with served(tmp_path, plan) as serving, OpenLoop(serving.gateway.url, SLO) as load:
        load.await_answers(100)
        assert serving.platform.observe(0.0).plan == plan
    check_shares(load.records, plan)
    assert load.outcomes.keys() == {RequestOutcome.COMPLETED}


@pytest.mark.parametrize("running", [LIGHT, (allocation("light", 0.4), allocation("middle", 0.6))], ids=["one", "set"])
def test_a_variant_that_cannot_load_changes_nothing(tmp_path: Path, running: tuple[Allocation, ...]) -> None:
    """The error has the model's own reason; neither what was loaded beside it nor what was resized stays."""
    plan = {"double": running, "increment": LIGHT}
    wanted = (allocation("light", 0.1, 2, 4), allocation("middle", 0.4), allocation("heavy", 0.5))
    with served(tmp_path, plan, break_version=3) as serving, OpenLoop(serving.gateway.url, SLO) as load:
        models = ready(serving.platform)
        with pytest.raises(PlatformError, match=r"'double\.3'.*broken"):
            serving.platform.apply({"double": wanted})
        assert serving.platform.observe(0.0).plan == plan
        assert ready(serving.platform) == models
        failed = time.time()
        load.await_answers(100)
        check_shares(load.since(failed), plan)
    assert load.outcomes.keys() == {RequestOutcome.COMPLETED}


def test_a_killed_server_comes_back_with_its_set(tmp_path: Path) -> None:
    """Variants, sizes and shares are those that were active; requests that come once it serves again are answered."""
    plan = {"double": (allocation("light", 0.25, 2, 4), allocation("heavy", 0.75)), "increment": LIGHT}
    with served(tmp_path, {"double": LIGHT, "increment": LIGHT}) as serving:
        serving.platform.apply(plan)
        pid = serving.platform.server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        def recovered() -> bool:
            told = serving.gateway.dispatched()
            healthy = all(version["healthy"] for stage in told.values() for version in stage.values())
            return healthy and serving.platform.restarts == 1 and serving.platform.server.pid != pid

        wait_for(recovered)
        assert serving.platform.observe(0.0).plan == plan
        with OpenLoop(serving.gateway.url, SLO) as load:
            load.await_answers(100)
        check_shares(load.records, plan)
        assert load.outcomes.keys() == {RequestOutcome.COMPLETED}


@pytest.mark.alone
def test_a_dead_variant_leaves_its_requests_to_the_others(tmp_path: Path) -> None:
    """The process of one variant is killed under load: all requests are answered, from then on by the other variant."""
    plan = {"double": (allocation("light", 0.5), allocation("middle", 0.5)), "increment": LIGHT}
    with served(tmp_path, plan) as serving, OpenLoop(serving.gateway.url, SLO) as load:
        (victim,) = (
            process
            for process in psutil.Process(serving.platform.server.pid).children()
            if any("double.2" in argument for argument in process.cmdline())
        )
        victim.kill()
        killed = time.time()
        load.await_answers(100)
        late = load.since(killed + 1.0)
    assert load.outcomes.keys() == {RequestOutcome.COMPLETED}
    assert {record.variants["double"] for record in late} <= {"light"}


@dataclass
class Reporter:
    """Dispatches nothing, and says so; ``busy`` times it says that a request is under way to version 1 of ``double``.

    ``seen`` has the models that Triton had each time it was asked. It can refuse tables.
    """

    models: Callable[[], set[str]]
    busy: float = 0
    refuses: bool = False
    tables: list[Mapping[str, Mapping[str, float]]] = field(default_factory=list)
    seen: list[set[str]] = field(default_factory=list)

    def dispatch(self, table: Mapping[str, Mapping[str, float]]) -> None:
        """Take a table, or not."""
        if self.refuses and table:
            raise PlatformError("refused")
        self.tables.append(table)

    def backlog(self) -> Backlog:
        """Nothing is known."""
        return Backlog()

    def dispatched(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """The last table's versions, and version 1 while it is busy."""
        self.seen.append(self.models())
        under_way = {"1": {"in_flight": 1}} if len(self.seen) <= self.busy else {}
        return {
            stage: {**{version: {} for version in weights}, **under_way} for stage, weights in self.tables[-1].items()
        }


@pytest.fixture
def local(toy_repository: Path) -> Iterator[tuple[LocalPlatform, Reporter]]:
    """A platform that runs one variant a stage, and what stands in for its gateway."""
    with LocalPlatform(toy_pipeline(), toy_repository, lambda now: ()) as platform:
        platform.start({"double": LIGHT, "increment": LIGHT})
        reporter = Reporter(lambda: ready(platform))
        platform.connect(reporter)
        yield platform, reporter


SET_OF_TWO = (allocation("light", 0.5), allocation("heavy", 0.5))


def test_a_variant_goes_once_nothing_is_under_way_to_it(local: tuple[LocalPlatform, Reporter]) -> None:
    """Requests move only when the new variant is ready, and the old one is there as long as any request is with it."""
    platform, reporter = local
    platform.apply({"double": SET_OF_TWO})
    assert reporter.tables == [{}, {"double": {"1": 0.5, "3": 0.5}}]
    assert reporter.seen == [{"double", "double.1", "double.3", "increment"}]
    reporter.seen, reporter.busy = [], 3
    platform.apply({"double": (allocation("middle", 0.4), allocation("heavy", 0.6))})
    assert reporter.tables[2:] == [{"double": {"2": 0.4, "3": 0.6}}]
    assert reporter.seen == [{"double.1", "double.2", "double.3", "increment"}] * 4
    assert ready(platform) == {"double.2", "double.3", "increment"}


def test_a_drain_is_bounded_by_the_deadlines(local: tuple[LocalPlatform, Reporter]) -> None:
    """What is under way for longer than any request can be does not keep a variant for ever."""
    platform, reporter = local
    platform.apply({"double": SET_OF_TWO})
    reporter.busy = math.inf
    platform.apply({"double": (allocation("heavy"),)})
    assert ready(platform) == {"double.3", "increment"}


def test_a_dispatcher_that_refuses_changes_nothing(local: tuple[LocalPlatform, Reporter]) -> None:
    """Requests stay where they are, so the models stay, and the new ones go; the next attempt is a new one."""
    platform, reporter = local
    reporter.refuses = True
    with pytest.raises(PlatformError, match="refused"):
        platform.apply({"double": SET_OF_TWO})
    assert ready(platform) == {"double", "increment"}
    assert platform.observe(0.0).plan == {"double": LIGHT, "increment": LIGHT}
    reporter.refuses = False
    platform.apply({"double": SET_OF_TWO})
    assert platform.observe(0.0).plan["double"] == SET_OF_TWO


def test_the_text_pipelines_models_serve_as_sets(tmp_path: Path) -> None:
    """Models that import what lies beside them in their repository work as variants of a set: both stages run two, each
    answers its share of requests with real images, and text is read.
    """
    fetch(models_directory())
    plan = {
        "detect": (allocation("v3-160x64", 0.5), allocation("v3-192x96", 0.5)),
        "recognise": (allocation("v6-160", 0.25), allocation("v6-224", 0.75)),
    }
    answered, read = Counter[str](), 0
    with serve_locally(read_config(TEXT_PIPELINE), plan, log_directory=tmp_path) as serving:
        connection = HTTPConnection(urlsplit(serving.gateway.url).netloc, timeout=60)
        for payload in payloads("image", seed=11, count=16):
            headers = {**payload.body.headers, "Ipa-Remaining-Slo": "60"}
            connection.request("POST", "/v2/models/infer", payload.body.content, headers)
            answer = connection.getresponse()
            read += payload.matched(answer.read())
            answered.update(answer.headers["Ipa-Variants"].split(";"))
        connection.close()
    assert answered == {
        **{"detect=v3-160x64": 8, "detect=v3-192x96": 8},
        **{"recognise=v6-160": 4, "recognise=v6-224": 12},
    }
    assert read > 0
