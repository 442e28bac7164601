"""A run made up from a seed: bursts of load, a two-stage pipeline, and requests that queue."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ipa_seldon.config import Config, make_config, parse_document
from ipa_seldon.loadgen import RequestOutcome, RequestRecord
from ipa_seldon.loadgen.records import line_of
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Decision, Observation, Outcome, Plan, Proposal, Status
from ipa_seldon.profiles import Measurement, Profile
from ipa_seldon.runs.recorded import Replay, audit_path, records_path, write_run
from ipa_seldon.runs.summary import RunResult
from ipa_seldon.telemetry.audit import AuditLog

SLO, EPOCH, INTERVAL = 1.0, 1_700_000_000.0, 5.0
# variant -> accuracy, requests/s of one replica
DETECT = {"v3-160x64": (0.43, 60.0), "v3-256x96": (0.78, 34.0), "v6-256x96": (0.99, 15.0)}
RECOGNISE = {"v6-160": (0.44, 38.0), "v6-224": (0.82, 27.0), "v6-320": (0.92, 19.0)}
LEVELS = (("v3-160x64", "v6-160"), ("v3-256x96", "v6-224"), ("v6-256x96", "v6-320"))


def burst(second: float) -> float:
    """Requests/s at a second of the run."""
    return 24.0 if 50 <= second < 85 or 130 <= second < 150 else 7.0


@dataclass(frozen=True)
class MadeUp:
    """What to make: ``level`` fixes a pair of variants, None adapts it to the load."""

    name: str = "adaptive"
    level: int | None = None
    seconds: float = 180.0
    seed: int = 1
    renamed: Mapping[str, str] = field(default_factory=dict)


def _latency(rate: float, cores: int, batch: int) -> float:
    return batch / (rate * cores)


def _throughput(rate: float, cores: int, batch: int) -> float:
    return rate * cores


def _stage(name: str, variants: Mapping[str, tuple[float, float]]) -> Stage:
    made = [
        Variant(key, accuracy, version, (1,), partial(_latency, rate), partial(_throughput, rate))
        for version, (key, (accuracy, rate)) in enumerate(variants.items(), start=1)
    ]
    return Stage(name, tuple(made))


def _pipeline(made: MadeUp) -> Pipeline:
    detect, recognise = made.renamed.get("detect", "detect"), made.renamed.get("recognise", "recognise")
    stages = (_stage(detect, DETECT), _stage(recognise, RECOGNISE))
    return Pipeline("text", stages, ((detect, recognise),), SLO)


def _plan(pipeline: Pipeline, level: int, rate: float) -> Plan:
    plan: dict[str, tuple[Allocation, ...]] = {}
    for stage, name in zip(pipeline.stages, LEVELS[level], strict=True):
        per_replica = stage.variant(name).throughput(1, 1)
        replicas = 1 if rate <= per_replica else 2
        plan[stage.name] = (Allocation(name, replicas, 1, 1 + level),)
    return plan


def _decisions(made: MadeUp, pipeline: Pipeline) -> list[Decision]:
    decisions: list[Decision] = []
    running: Plan = {}
    for tick in range(int(made.seconds / INTERVAL)):
        second = tick * INTERVAL
        rate = 1.25 * burst(second + 1) + (tick % 3)
        level = made.level if made.level is not None else (0 if rate > 31 else 1 if rate > 15 else 2)
        plan = _plan(pipeline, level, rate if made.level is None else 10.0)
        accuracy = DETECT[LEVELS[level][0]][0] * RECOGNISE[LEVELS[level][1]][0]
        why = {"binding": "slo", "runner_up": None}
        cost = sum(a.replicas for (a,) in plan.values())
        proposal = Proposal(plan, Status.OPTIMAL, accuracy, accuracy, cost, 0.4, 20.0, "auto", why)
        changed = plan != running
        outcome = Outcome.APPLIED if changed else Outcome.UNCHANGED
        arrivals = tuple(burst(max(second - back, 0)) for back in range(20, 0, -1))
        observation = Observation(EPOCH + second, arrivals, running)
        decisions.append(Decision(observation, outcome, rate, proposal, "", 0.012, 0.4 if changed else 0.0))
        running = plan
    return decisions


def _records(made: MadeUp, pipeline: Pipeline, decisions: list[Decision]) -> list[RequestRecord]:
    chance = random.Random(made.seed)
    records: list[RequestRecord] = []
    second, free = chance.expovariate(burst(0)), 0.0
    while second < made.seconds:
        proposal = decisions[int(second / INTERVAL)].proposal
        assert proposal is not None
        allocations = [(pipeline.stage(stage), a) for stage, (a,) in proposal.plan.items()]
        speed = min(s.variant(a.variant).throughput(1, 1) * a.replicas for s, a in allocations)
        begin = max(second, free)
        work = sum(1 / s.variant(a.variant).throughput(1, 1) for s, a in allocations) * chance.uniform(0.9, 1.6)
        wait = begin - second
        outcome = RequestOutcome.COMPLETED
        if wait + work > SLO:
            outcome = RequestOutcome.LATE if wait + work < 1.15 * SLO else RequestOutcome.DROPPED
        if outcome is RequestOutcome.DROPPED:
            wait, work = SLO, 0.0
        else:
            free = begin + 1 / speed
        due, expected = EPOCH + second, chance.choice((1, 2))
        matched = sum(chance.random() < proposal.accuracy for _ in range(expected))
        answered = outcome is not RequestOutcome.DROPPED
        variants = {s.name: a.variant for s, a in allocations} if answered else {}
        status, read = (200, matched) if answered else (504, 0)
        done = due + wait + work
        records.append(RequestRecord(len(records), due, due + 0.001, done, outcome, status, variants, expected, read))
        second += chance.expovariate(burst(second))
    return records


def made_up(**fields: Any) -> RunResult:
    """A run of MadeUp with those ``fields``."""
    made = MadeUp(**fields)
    pipeline = _pipeline(made)
    decisions = _decisions(made, pipeline)
    records = _records(made, pipeline, decisions)
    end = EPOCH + made.seconds
    return RunResult(made.name, SLO, 99, EPOCH, end, tuple(decisions), tuple(records), pipeline)


def made_up_set() -> RunResult:
    """A run in which two variants of ``recognise`` share every plan, 3 to 1; every fourth answer is the lighter's."""
    run = made_up(seconds=60, level=1)

    def shared(plan: Plan) -> Plan:
        both = (Allocation("v6-224", 1, 2, 1, 0.75), Allocation("v6-160", 1, 1, 1, 0.25))
        return {stage: both if stage == "recognise" else allocations for stage, allocations in plan.items()}

    decisions = []
    for one in run.decisions:
        assert one.proposal is not None
        observation = replace(one.observation, plan=shared(one.observation.plan))
        decisions.append(
            replace(one, observation=observation, proposal=replace(one.proposal, plan=shared(one.proposal.plan)))
        )
    records = [
        replace(record, variants={**record.variants, "recognise": "v6-160" if record.index % 4 == 0 else "v6-224"})
        if record.variants
        else record
        for record in run.records
    ]
    return replace(run, decisions=tuple(decisions), records=tuple(records))


def made_up_config() -> Config:
    """A pipeline file, and its profile, of the stages and variants that runs are made up of."""
    stages = {
        name: {
            "variants": {key: {"accuracy": accuracy, "version": version} for version, (key, (accuracy, _)) in numbered}
        }
        for name, variants in (("detect", DETECT), ("recognise", RECOGNISE))
        for numbered in (list(enumerate(variants.items(), start=1)),)
    }
    document = {
        "apiVersion": "ipa.seldon.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "text"},
        "spec": {
            "slo": {"latency": f"{SLO:g}s"},
            "profile": "profile.csv",
            "interval": f"{INTERVAL:g}s",
            "objective": {"accuracy": "product", "alpha": 10, "beta": 1},
            "graph": {"name": "detect", "children": [{"name": "recognise"}]},
            "stages": stages,
            "forecaster": {"name": "max", "horizon": "10s", "window": "20s"},
        },
    }
    profiles = {
        (stage, name): Profile({(1, batch): Measurement(batch / rate, rate) for batch in (1, 2, 3)})
        for stage, variants in (("detect", DETECT), ("recognise", RECOGNISE))
        for name, (_, rate) in variants.items()
    }
    path = Path("pipeline.yaml")
    return make_config(path, parse_document(path, document), profiles)


NOTES = {"Load": "bursty, seed 1", "Machine": "made up, 2 cores", "Versions": "ipa-seldon 9.9"}


def keep(directory: Path, *runs: RunResult) -> Path:
    """What a demo of those runs leaves in ``directory``, which is returned."""
    for run in runs:
        log_decisions(audit_path(directory, run.name), run)
        lines = [line_of(record) + "\n" for record in run.records]
        records_path(directory, run.name).write_text("".join(lines), encoding="utf-8")
    write_run(directory, "text: made up", NOTES, [Replay(run.name, run.start, run.end) for run in runs])
    return directory


def log_decisions(path: Path, run: RunResult, algorithm: str = "ipa") -> Path:
    """The audit log of a run, at ``path``, which is returned."""
    with AuditLog(path, made_up_config(), algorithm) as log:
        for decision in run.decisions:
            log(decision)
    return path
