"""What a run keeps in its directory, read back: audit logs, records of requests, and run.json, which is about them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ipa_seldon.bootstrap import forecast_settings
from ipa_seldon.config import Config
from ipa_seldon.errors import ConfigError
from ipa_seldon.loadgen import RequestRecord
from ipa_seldon.loadgen.records import read_records
from ipa_seldon.plan import Decision
from ipa_seldon.runs.summary import RunResult
from ipa_seldon.telemetry.audit import read_audit_log

FORMAT = 1
FILE = "run.json"


@dataclass(frozen=True)
class Replay:
    """A load that was replayed against a pipeline, from ``start`` to ``end`` (seconds since the epoch), over a network
    where there is a ``bandwidth`` (bytes/s of each second).
    """

    name: str
    start: float
    end: float
    bandwidth: tuple[float, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """What a report is made of: ``runs``, at least one; ``notes``, where the figures come from (load, machine,
    versions), in words; and ``configuration``, the pipeline file in YAML.
    """

    title: str
    runs: tuple[RunResult, ...]
    notes: Mapping[str, str]
    configuration: str


def audit_path(directory: Path, name: str) -> Path:
    """The audit log of the decisions of a replay of that name."""
    return directory / f"{name}-audit.jsonl"


def records_path(directory: Path, name: str) -> Path:
    """The records of its requests."""
    return directory / f"{name}-requests.jsonl"


def write_run(directory: Path, title: str, notes: Mapping[str, str], replays: Sequence[Replay]) -> None:
    """Keep beside their logs and records what only whoever ran the ``replays`` knows of them."""
    document = {"format": FORMAT, "title": title, "notes": dict(notes), "runs": [asdict(one) for one in replays]}
    (directory / FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def forget_run(directory: Path) -> None:
    """Of logs and records that are to be written anew."""
    (directory / FILE).unlink(missing_ok=True)


def read_run(directory: Path) -> Recorded:
    """A run from its directory; ConfigError naming the file that is not as ``write_run`` and its replays leave it."""
    document = _read(directory / FILE)
    try:
        if document["format"] != FORMAT:
            raise ConfigError(f"{directory / FILE}: format: {document['format']!r}: accepted: {FORMAT}")
        replays = [
            Replay(str(one["name"]), float(one["start"]), float(one["end"]), tuple(map(float, one["bandwidth"])))
            for one in document["runs"]
        ]
        title, notes = str(document["title"]), {str(key): str(note) for key, note in document["notes"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{directory / FILE}: accepted: what a demo writes; not as it is there: {error!r}") from error
    if not replays:
        raise ConfigError(f"{directory / FILE}: runs: accepted: at least one")
    runs, algorithms, configuration = [], [], ""
    for replay in replays:
        config, algorithm, decisions = read_audit_log(audit_path(directory, replay.name))
        records = read_records(records_path(directory, replay.name))
        runs.append(_result(config, replay, decisions, records))
        algorithms.append(f"{replay.name}: {algorithm}")
        configuration = configuration or _yaml(config)
    return Recorded(title, tuple(runs), {"Algorithm": ", ".join(algorithms), **notes}, configuration)


def read_log(path: Path, records: Path | None = None) -> Recorded:
    """What an audit log alone knows of a run, with the ``records`` of its requests where they are given; ConfigError
    naming the file that cannot be used.
    """
    config, algorithm, decisions = read_audit_log(path)
    if not decisions:
        raise ConfigError(f"{path}: no decision; accepted: an audit log with one at least")
    requests = read_records(records) if records else []
    first, last = decisions[0].observation.time, decisions[-1].observation.time + config.spec.interval
    start = min([first, *(record.due for record in requests)])
    end = max([last, *(record.due for record in requests)])
    replay = Replay(algorithm, float(math.floor(start)), end)
    notes = {
        "Audit log": path.name,
        "Algorithm": algorithm,
        "Began": f"{datetime.fromtimestamp(replay.start, UTC):%Y-%m-%d %H:%M:%S} UTC",
        "Machine, seeds": "not in an audit log",
        "Reported by": f"ipa-seldon {version('ipa-seldon')}",
    }
    title = f"{config.name}: decisions of {algorithm}"
    return Recorded(title, (_result(config, replay, decisions, requests),), notes, _yaml(config))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        logs = ", ".join(sorted(log.name for log in path.parent.glob("*.jsonl"))[:5]) or "none is there"
        raise ConfigError(
            f"{path}: missing; accepted: the directory of a demo, or an audit log alone ({logs})"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _result(
    config: Config, replay: Replay, decisions: Sequence[Decision], records: Sequence[RequestRecord]
) -> RunResult:
    return RunResult(
        name=replay.name,
        slo=config.pipeline.slo,
        percentile=config.pipeline.percentile,
        start=replay.start,
        end=replay.end,
        decisions=tuple(decisions),
        records=tuple(records),
        pipeline=config.pipeline,
        bandwidth=replay.bandwidth,
        forecaster=forecast_settings(config),
    )


def _yaml(config: Config) -> str:
    """The pipeline file as it was read, with what it leaves to defaults."""
    document = config.document.model_dump(mode="json", by_alias=True, exclude_none=True)
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
