"""What the worth of a plan is made of: terms that sum to it, by which the runner-up is behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipa_seldon.algorithms import Algorithm, Settings, terms
from ipa_seldon.algorithms.damping import CoolDown, MinimumGain, Stabilised
from ipa_seldon.algorithms.goals import AccuracyAtLeast, CostAtMost
from ipa_seldon.algorithms.infadapter import InfAdapter
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.algorithms.sponge import Sponge
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.options import Weights
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Observation, Plan, Status, plan_from_json
from tests.factories import random_pipeline, random_service, random_set

SETTINGS = Settings(build_solver("auto"))
DEAR_SWITCHES = replace(SETTINGS, weights=Weights(alpha=5.0, beta=0.1, switching=0.05))


def loading(pipeline: Pipeline) -> Pipeline:
    """The pipeline with load times, so that switches cost something."""
    stages = (
        replace(stage, variants=tuple(replace(v, load_time=4.0 + m) for m, v in enumerate(stage.variants)))
        for stage in pipeline.stages
    )
    return replace(pipeline, stages=tuple(stages))


def algorithms(seed: int) -> list[Algorithm]:
    """One of each kind, with damping round the first."""
    ipa = Ipa(loading(random_pipeline(seed)), DEAR_SWITCHES)
    return [
        CoolDown(MinimumGain(Stabilised(ipa, 0.0, 0.0), 0.0), 0.0),
        InfAdapter(random_set(seed), SETTINGS),
        Sponge(random_service(seed), SETTINGS),
    ]


@pytest.mark.parametrize("seed", range(12))
def test_terms_sum_to_the_worth_and_the_runner_up_has_less(seed: int) -> None:
    """Of any plan where it runs already; and where another one runs, with what the switch costs, nothing is worth more
    than what was chosen.
    """
    for algorithm in algorithms(seed):
        running: Plan = algorithm.decide(12.0, Observation(0.0, (), {})).plan
        kept = algorithm.evaluate(running, 12.0)
        of_kept = terms(algorithm, running, running)
        assert kept is not None
        assert of_kept is not None
        assert sum(of_kept.values()) == pytest.approx(kept.objective)
        proposal = algorithm.decide(5.0, Observation(10.0, (), running))
        if proposal.status is Status.DEGRADED or proposal.why["runner_up"] is None:
            continue
        best, second = (
            terms(algorithm, plan, running) for plan in (proposal.plan, plan_from_json(proposal.why["runner_up"]))
        )
        assert best is not None
        assert second is not None
        assert sum(best.values()) >= sum(second.values()) - 1e-6


def test_a_switch_costs_what_has_to_start() -> None:
    """The price for every second that a core starts up, nothing where everything runs or nothing does."""
    algorithm = Ipa(loading(random_pipeline(11, stages=1)), DEAR_SWITCHES)
    plan = algorithm.decide(5.0, Observation(0.0, (), {})).plan
    (stage,) = algorithm.pipeline.stages
    (allocation,) = plan[stage.name]
    elsewhere = {stage.name: (replace(allocation, replicas=1, cores=allocation.cores + 1),)}
    seconds = allocation.replicas * allocation.cores * stage.variant(allocation.variant).load_time
    costs = [algorithm.terms(plan, running) for running in (elsewhere, plan, {})]
    assert [cost and cost["switching"] for cost in costs] == pytest.approx([-0.05 * seconds, 0, 0])
    assert algorithm.terms({}, plan) is None


def test_with_a_limit_what_counts_first_comes_first() -> None:
    """Accuracy before cost where that is at most so much, cost before accuracy where this is at least so much."""
    pipeline = replace(random_pipeline(11, stages=2, chain=True), cores=None)
    for constraint, order in ((CostAtMost(60), ["accuracy", "cost"]), (AccuracyAtLeast(0.01), ["cost", "accuracy"])):
        algorithm = Ipa(pipeline, replace(SETTINGS, constraint=constraint))
        proposal = algorithm.decide(5.0, Observation(0.0, (), {}))
        found = algorithm.terms(proposal.plan, {})
        assert found is not None
        assert list(found) == order
        assert found == pytest.approx({"accuracy": proposal.accuracy, "cost": -proposal.cost})
