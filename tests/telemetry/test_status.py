"""What is said of pipelines, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.plan import Decision, Outcome, plan_to_json
from ipa_seldon.telemetry.history import History
from ipa_seldon.telemetry.status import SHOWN, Shown, Standing, overview, stale, status
from tests.telemetry.rounds import UNKNOWN, Rounds, toy

START = 1_700_000_000.0
DOCUMENTED = Path(__file__).parents[2] / "docs" / "live-page.md"


@dataclass
class Said:
    """A Subject that is what the test says."""

    pipelines: Sequence[Shown]
    role: str = "leader"
    invalid: Mapping[str, str] = field(default_factory=dict)


class Scene:
    """The toy pipeline, its rounds, and what is said of it."""

    def __init__(self, directory: Path, **spec: Any) -> None:
        self.config = toy(directory, **spec)
        self.history = History(self.config, START)
        self.rounds = Rounds(self.config, self.history)
        self.standing = Standing()
        self.said = Said([Shown(self.history, lambda: self.standing)])

    def at(self, now: float) -> dict[str, Any]:
        """The pipeline's status, as it arrives."""
        found = status(self.said, "toy", now)
        assert found is not None
        return dict(json.loads(json.dumps(found, allow_nan=False)))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Before the first round."""
    return Scene(tmp_path)


def test_the_plan_and_what_it_rests_on_are_told(scene: Scene) -> None:
    """Every stage with what runs, load, forecast, the plan's cores, accuracy, expected latency and headroom: those of
    the decision.
    """
    scene.rounds.round(START + 1, [150.0] * 12)
    decision = scene.rounds.round(START + 2, [150.0] * 12)
    proposal = decision.proposal
    assert proposal is not None
    found = scene.at(START + 3)
    assert [stage["name"] for stage in found["stages"]] == ["double", "increment"]
    for stage in found["stages"]:
        assert stage["current"] == stage["desired"] == plan_to_json(proposal.plan)[stage["name"]]
    assert (found["load"], found["forecast"], found["served"]) == (150.0, decision.rate, proposal.served)
    assert found["cores"] == {"current": proposal.cost, "desired": proposal.cost}
    assert found["accuracy"] == {"current": proposal.accuracy, "desired": proposal.accuracy}
    assert found["slo"] == {
        "latency": 1.0,
        "percentile": 99.0,
        "expected": proposal.latency,
        "headroom": pytest.approx(1 - proposal.latency),
    }
    assert (found["state"], found["age"]) == ("ok", pytest.approx(1.0, abs=0.1))
    assert [d["outcome"] for d in found["decisions"]] == ["unchanged", "applied"]
    assert "first plan: double: light" in found["decisions"][1]["what"]
    assert "limit" in found["decisions"][1]["why"]


def test_costs_are_told_where_there_are_prices(tmp_path: Path) -> None:
    """Per hour, of what runs and of what is wanted."""
    scene = Scene(tmp_path, prices={"cpu_hourly_cost": 0.5})
    scene.rounds.round(START + 1, [50.0] * 12)
    scene.rounds.platform.apply_fails = True
    scene.rounds.round(START + 2, [150.0] * 12)
    assert scene.at(START + 2)["hourly_cost"] == {"current": 1.0, "desired": 2.0}


def test_what_is_wanted_is_told_apart_from_what_runs(scene: Scene) -> None:
    """A plan that could not be applied: the old one runs, the new one is wanted, cores and accuracy are those of each,
    and the fault is told.
    """
    first = scene.rounds.round(START + 1, [50.0] * 12).proposal
    scene.rounds.platform.apply_fails = True
    failed = scene.rounds.round(START + 2, [300.0] * 12).proposal
    assert first is not None
    assert failed is not None
    found = scene.at(START + 2)
    assert found["stages"][0]["current"] == plan_to_json(first.plan)["double"]
    assert found["stages"][0]["desired"] == plan_to_json(failed.plan)["double"]
    assert found["cores"] == {"current": first.cost, "desired": failed.cost}
    assert found["accuracy"] == {"current": first.accuracy, "desired": failed.accuracy}
    assert first.cost < failed.cost
    assert (found["state"], found["why"]) == ("failed", "the last round failed; apply: did not follow")


def test_a_round_that_saw_nothing_hides_no_plan(scene: Scene) -> None:
    """While the platform is out of reach, what was last seen to run stays."""
    applied = scene.rounds.round(START + 1, [50.0] * 12).proposal
    assert applied is not None
    scene.rounds.platform.observe_fails = True
    scene.rounds.round(START + 2, [50.0] * 12)
    found = scene.at(START + 2)
    assert found["stages"][0]["current"] == plan_to_json(applied.plan)["double"]
    assert (found["state"], found["forecast"], found["load"]) == ("failed", None, None)


def test_the_state_is_what_matters_most(scene: Scene) -> None:
    """Standing by before stale, stale before refused, refused before what the last round came to, that before what is
    waited for.
    """
    assert scene.at(START + 1)["state"] == "starting"
    scene.rounds.round(START + 1, [50.0] * 12)
    assert scene.at(START + 2)["state"] == "ok"
    scene.standing = Standing("", {"double": "1 of 2 replicas ready"})
    found = scene.at(START + 2)
    assert (found["state"], found["why"]) == ("waiting", "double: 1 of 2 replicas ready")
    assert [stage["waiting"] for stage in found["stages"]] == ["1 of 2 replicas ready", ""]
    scene.rounds.round(START + 3, UNKNOWN)
    assert scene.at(START + 3)["state"] == "no_data"
    scene.rounds.round(START + 4, [1e6] * 12)
    assert scene.at(START + 4)["state"] == "degraded"
    scene.standing = Standing("Paused: night shift")
    assert (scene.at(START + 4)["state"], scene.at(START + 4)["why"]) == ("refused", "Paused: night shift")
    assert (scene.at(START + 60)["state"], scene.at(START + 60)["why"]) == ("stale", "no round for 56 s")
    scene.said.role = "standby"
    assert scene.at(START + 60)["state"] == "standby"


@pytest.mark.parametrize(("interval", "soon", "late"), [(1.0, 14, 17), (20.0, 55, 65)])
def test_a_loop_that_stops_is_stale(tmp_path: Path, interval: float, soon: float, late: float) -> None:
    """After three of its intervals, and no sooner than 15 s: after a round, and when the first never came."""
    scene = Scene(tmp_path, interval=interval)
    for since in (START, START + 100):
        assert stale(scene.said, since + soon) == []
        assert stale(scene.said, since + late) == ["toy"]
        scene.rounds.round(START + 100, [50.0] * 12)


def test_many_pipelines_are_told_in_short(tmp_path: Path) -> None:
    """In the order of their names, with the files that cannot be used; one that is not there has no status."""
    shown = []
    for name in ("web", "audio", "video"):
        config = toy(tmp_path, name)
        history = History(config, START)
        Rounds(config, history).round(START, [50.0] * 5)
        shown.append(Shown(history))
    said = Said(shown, "leader", {"broken": "broken: spec.interval: 'never'"})
    found = overview(said, START + 1)
    assert [row["name"] for row in found["pipelines"]] == ["audio", "video", "web"]
    assert all("double: light" in row["plan"] and row["load"] == 50.0 for row in found["pipelines"])
    assert found["invalid"] == {"broken": "broken: spec.interval: 'never'"}
    assert status(said, "absent", START + 1) is None


def test_answers_are_bounded(scene: Scene) -> None:
    """After twenty minutes of rounds, and errors of any length: 100 kB, and the last decisions first."""
    for step in range(2400):
        scene.rounds.platform.fault = "out of reach " * 10_000
        scene.rounds.platform.observe_fails = step > 2380
        scene.rounds.round(START + 0.5 * step, [123.456789] * 120)
    found = scene.at(START + 1200)
    assert found["decisions"][0]["why"].startswith("observe: out of reach out of")
    assert len(json.dumps(found)) < 100_000
    assert [decision["tick"] for decision in found["decisions"]] == list(range(2399, 2399 - SHOWN, -1))


def test_figures_that_json_has_no_word_for_are_null(scene: Scene) -> None:
    """A latency without bound, as of a plan that carries nothing, breaks no answer."""
    decision = scene.rounds.round(START, [50.0] * 5)
    assert decision.proposal is not None
    endless = replace(decision.proposal, latency=float("inf"), served=float("inf"), accuracy=float("nan"))
    scene.history(Decision(decision.observation, Outcome.HELD, 50.0, endless))
    found = scene.at(START)
    assert found["slo"]["expected"] is found["slo"]["headroom"] is found["served"] is None
    assert found["series"]["forecasts"][-1][2] is None
    assert found["decisions"][0]["latency"] is None


def test_every_field_is_documented(scene: Scene) -> None:
    """docs/live-page.md names each field of both answers."""
    scene.rounds.round(START, [50.0] * 5)
    scene.said.invalid = {"broken": "why"}
    words = DOCUMENTED.read_text("utf-8")
    answers = (overview(scene.said, START), scene.at(START))
    missing = {key for answer in answers for key in keys(answer) if f"`{key}`" not in words}
    assert missing == {"broken"}


def keys(value: object) -> set[str]:
    """All keys of a JSON value."""
    if isinstance(value, dict):
        return set(value) | {key for part in value.values() for key in keys(part)}
    return {key for part in value for key in keys(part)} if isinstance(value, list) else set()
