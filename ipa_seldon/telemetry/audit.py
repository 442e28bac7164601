"""The audit log: JSON lines, the first describes the configuration, every other one is one decision.

A log is complete: the configuration, its profile and every observation are in it, so it can be decided again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from ipa_seldon.config import Config, make_config, parse_document
from ipa_seldon.errors import ConfigError, LoadReason
from ipa_seldon.plan import (
    Decision,
    LoadFault,
    LoadHealth,
    Observation,
    Outcome,
    Proposal,
    Status,
    allocated_cores,
    plan_from_json,
    plan_to_json,
)
from ipa_seldon.profiles import Capacity, Measurement, Profile

FORMAT = 1


class AuditLog:
    """Writes one line per decision; a context manager and a listener of the controller."""

    def __init__(self, path: Path, config: Config, algorithm: str | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: TextIO = path.open("w", encoding="utf-8")
        self._tick = 0
        self._write(describe(config, algorithm or config.spec.algorithm))

    def __call__(self, decision: Decision) -> None:
        """Append the decision."""
        self._write({"tick": self._tick, **decision_to_json(decision)})
        self._tick += 1

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(record, allow_nan=False) + "\n")
        self._stream.flush()


def describe(config: Config, algorithm: str) -> dict[str, Any]:
    """The first line of a log: the pipeline file, what was measured and the algorithm it was decided with."""
    rows = [
        {"stage": s, "variant": v, "cores": c, "batch": b, "latency": m.latency, "throughput": m.throughput}
        for (s, v), profile in config.profiles.items()
        for (c, b), m in profile.points.items()
    ]
    return {
        "format": FORMAT,
        "algorithm": algorithm,
        "pipeline": config.document.model_dump(mode="json", by_alias=True),
        "profile": rows,
        "capacity": [
            {"variant": v, "slo": slo, "cores": cores, "capacity": measured, "load_time": capacity.load_time}
            for (v, slo), capacity in config.capacities.items()
            for cores, measured in capacity.points.items()
        ],
    }


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """A decision as JSON types; an arrival count nobody measured is null."""
    observation, proposal = decision.observation, decision.proposal
    record: dict[str, Any] = {
        "time": observation.time,
        "outcome": str(decision.outcome),
        "arrivals": [count if math.isfinite(count) else None for count in observation.arrivals],
        "remaining_slo": list(observation.remaining_slo),
        "budgets": list(observation.budgets),
        "ready": dict(observation.ready),
        "load_fault": observation.fault and observation.fault._asdict(),
        "load": asdict(decision.load),
        "plan_before": plan_to_json(observation.plan),
        "cost_before": allocated_cores(observation.plan),
        "forecast_rate": decision.rate,
        "forecast_why": dict(decision.forecast_why),
        "decision_seconds": decision.seconds,
        "apply_seconds": decision.apply_seconds,
        "solver_seconds": decision.solver_seconds,
        "error": decision.error,
    }
    if proposal is not None:
        record["proposal"] = {
            "plan": plan_to_json(proposal.plan),
            "status": str(proposal.status),
            "objective": proposal.objective,
            "accuracy": proposal.accuracy,
            "cost": proposal.cost,
            "latency": proposal.latency,
            "served": proposal.served,
            "solver": proposal.solver,
            "why": dict(proposal.why),
            "reason": proposal.reason,
            "held": proposal.held,
            "gap": proposal.gap if math.isfinite(proposal.gap) else None,
        }
    return record


def decision_from_json(record: Mapping[str, Any]) -> Decision:
    """The inverse of ``decision_to_json``."""
    observation = Observation(
        time=record["time"],
        arrivals=tuple(math.nan if count is None else float(count) for count in record["arrivals"]),
        plan=plan_from_json(record["plan_before"]),
        remaining_slo=tuple(record["remaining_slo"]),
        budgets=tuple(record.get("budgets", ())),  # older logs have none
        ready=record.get("ready", {}),
        fault=_fault(record.get("load_fault")),
    )
    proposal = None
    if "proposal" in record:
        fields = dict(record["proposal"])
        fields["plan"] = plan_from_json(fields["plan"])
        fields["status"] = Status(fields["status"])
        if "gap" in fields and fields["gap"] is None:
            fields["gap"] = math.inf
        proposal = Proposal(**fields)
    return Decision(
        observation,
        Outcome(record["outcome"]),
        record["forecast_rate"],
        proposal,
        record["error"],
        record["decision_seconds"],
        record["apply_seconds"],
        record.get("solver_seconds", 0.0),  # older logs have none
        _health(record.get("load") or {}),
        record.get("forecast_why", {}),
    )


def _fault(record: Mapping[str, Any] | None) -> LoadFault | None:
    return LoadFault(LoadReason(record["reason"]), record["words"]) if record else None


def _health(record: Mapping[str, Any]) -> LoadHealth:
    reason = record.get("reason")
    return LoadHealth(**{**record, "reason": reason and LoadReason(reason)})


@dataclass(frozen=True)
class Log:
    """What a log holds: the configuration, the algorithm's name, the decisions, and the number of each."""

    config: Config
    algorithm: str
    decisions: tuple[Decision, ...]
    ticks: tuple[int, ...]


def read_audit_log(path: Path) -> tuple[Config, str, list[Decision]]:
    """Configuration, algorithm's name and decisions; ConfigError names the file and the line that is no record."""
    log = read_log(path)
    return log.config, log.algorithm, list(log.decisions)


def read_log(path: Path) -> Log:
    """The log in a file; ConfigError as by ``parse_log``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_log(path, text)


def parse_log(path: Path, text: str) -> Log:
    """The log in the text of one; ConfigError names ``path`` and the line that is no record."""
    lines = _lines(path, text)
    _, first = next(lines, (1, None))
    if not isinstance(first, dict) or first.get("format") != FORMAT:
        raise ConfigError(f"{path}: line 1: accepted: the head of an audit log of format {FORMAT}")
    decisions: list[Decision] = []
    ticks: list[int] = []
    for number, record in lines:
        try:
            decisions.append(decision_from_json(record))
            ticks.append(int(record.get("tick", len(ticks))))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: line {number}: not a decision: {error!r}") from error
    return Log(_config(path, first), str(first["algorithm"]), tuple(decisions), tuple(ticks))


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            # A process that was killed leaves half a last line; everything before it is still good.
            if number == len(lines) > 1:
                return
            raise ConfigError(f"{path}: line {number}: not JSON: {error.msg}") from error


def _as_it_is_now(pipeline: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pipeline file of a log. In an older one stages have GPUs, which counted in the cost per hour alone."""
    spec = pipeline["spec"]
    stages = {name: {key: value for key, value in s.items() if key != "gpus"} for name, s in spec["stages"].items()}
    return {**pipeline, "spec": {**spec, "stages": stages}}


def _config(path: Path, head: Mapping[str, Any]) -> Config:
    points: dict[tuple[str, str], dict[tuple[int, int], Measurement]] = {}
    capacities: dict[tuple[str, float], Capacity] = {}
    try:
        for row in head["profile"]:
            of_variant = points.setdefault((row["stage"], row["variant"]), {})
            of_variant[row["cores"], row["batch"]] = Measurement(row["latency"], row["throughput"])
        for row in head.get("capacity", ()):
            key = (row["variant"], row["slo"])
            before = capacities[key].points if key in capacities else {}
            capacities[key] = Capacity({**before, row["cores"]: row["capacity"]}, row["load_time"])
        document = parse_document(path, _as_it_is_now(head["pipeline"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: line 1: not the head of an audit log: {error!r}") from error
    profiles = {key: Profile(of_variant) for key, of_variant in points.items()}
    return make_config(path, document, profiles, capacities)
