"""What could have been other than it was: load, SLO and weights by a tenth, a budget by a core or a GPU, nothing held
back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipa_seldon.algorithms import ALGORITHMS, BY_CAPACITY, BY_DEADLINE, UNDAMPED
from ipa_seldon.config import Config, make_config
from ipa_seldon.schema_decisions import DampingSpec

STEPS = (-0.1, 0.1)
"""By which parts load, SLO and weights are changed."""
_WEIGHTS = {"ipa": "objective", "ipa-sets": "objective", "infadapter": "infadapter", "model-switching": "infadapter"}
"""The part of the spec that has the weights by which an algorithm trades accuracy for cost."""
_WAITING = {
    "infadapter": ("scale_down_after",),
    "vpa+": ("scale_down_after",),
    "model-switching": ("scale_down_after",),
    "sponge": ("shrink_after",),
    "sponge-hv": ("scale_down_after", "shrink_after"),
    "sponge-published": ("shrink_after",),
}
"""The keys that say for how many decisions an algorithm waits before it scales down, see ``waits``."""


@dataclass(frozen=True)
class Change:
    """``name`` says what is other than it was: the load by the factor ``load``; ``edits``, keys of the pipeline file's
    spec (``slo.latency``) with what they are instead. ``lifts``: what then no longer holds a plan back, in a word.
    """

    name: str
    load: float = 1.0
    edits: Mapping[str, Any] = field(default_factory=dict)
    lifts: str = ""


AS_IT_WAS = Change("as it was")


def changes(config: Config) -> Iterator[Change]:
    """Those that mean something to the config's algorithm."""
    yield from (Change(f"load {_per_cent(step)}", load=1 + step) for step in STEPS)
    for name, keys in _scaled(config):
        for step in STEPS:
            edits = {key: value * (1 + step) for key, value in keys.items()}
            yield Change(f"{name} {_per_cent(step)}", edits=edits)
    budgets = _budgets(config)
    for step in (-1, 1) if budgets else ():
        yield Change(f"budget {step:+d} core", edits={key: value + step for key, value in budgets.items()})
    gpus = config.spec.limits.gpus
    if gpus is not None and config.pipeline.on_gpus:
        steps = (step for step in (-1, 1) if gpus + step >= 0)
        yield from (Change(f"budget {step:+d} GPU", edits={"limits.gpus": gpus + step}) for step in steps)
    yield from _lifted(config)


def waits(config: Config) -> Mapping[str, int]:
    """For how many decisions the config's algorithm waits before it scales down, by the keys of the spec."""
    part = "sponge" if config.spec.algorithm in BY_DEADLINE else "infadapter"
    return {
        f"{part}.{key}": getattr(getattr(config.spec, part), key) for key in _WAITING.get(config.spec.algorithm, ())
    }


def edited(config: Config, edits: Mapping[str, Any]) -> Config:
    """The config with other values of keys of its spec; ConfigError as by ``make_config``."""
    spec: Any = config.spec
    for key, value in edits.items():
        spec = _with(spec, key.split("."), value)
    document = config.document.model_copy(update={"spec": spec})
    return make_config(config.path, document, config.profiles, config.capacities)


def _with(part: Any, keys: Sequence[str], value: Any) -> Any:
    """A part of a document with another ``value`` under ``keys``."""
    first, *rest = keys
    if isinstance(part, dict):
        return {**part, first: _with(part[first], rest, value) if rest else value}
    return part.model_copy(update={first: _with(getattr(part, first), rest, value) if rest else value})


def _scaled(config: Config) -> Iterator[tuple[str, Mapping[str, float]]]:
    """What is changed by a part of it, with the keys that make it up and their values."""
    spec, objective, part = config.spec, config.spec.objective, _weights(config)
    stages = {f"stages.{name}.slo": stage.slo for name, stage in spec.stages.items() if stage.slo is not None}
    yield "SLO", {"slo.latency": spec.slo.latency, **stages}
    if part == "objective" and objective.accuracy_at_least is not None:
        yield "least accuracy", {"objective.accuracy_at_least": objective.accuracy_at_least}
    elif part and not (part == "objective" and objective.maximise):
        weights = getattr(spec, part)
        yield "alpha", {f"{part}.alpha": weights.alpha}
        yield "beta", {f"{part}.beta": weights.beta}


def _budgets(config: Config) -> Mapping[str, int]:
    """The keys that bound the cores of the whole pipeline, and by how many; none where nothing does."""
    spec = config.spec
    own = ("infadapter", "budget") if spec.algorithm in BY_CAPACITY else ("objective", "cost_at_most")
    bounds = {".".join(key): getattr(getattr(spec, key[0]), key[1]) for key in (("limits", "cores"), own)}
    return {key: cores for key, cores in bounds.items() if cores is not None and cores == config.budget}


def _lifted(config: Config) -> Iterator[Change]:
    """What holds plans back, without it."""
    spec = config.spec
    if spec.algorithm not in UNDAMPED and spec.damping != DampingSpec():
        yield Change("without damping", edits={"damping": DampingSpec()}, lifts="damping")
    if _weights(config) == "objective" and spec.objective.switching:
        yield Change("without a price on switches", edits={"objective.switching": 0.0}, lifts="switching")
    if any(decisions > 1 for decisions in waits(config).values()):
        yield Change("without waiting to scale down", edits=dict.fromkeys(waits(config), 1), lifts="waiting")


def _weights(config: Config) -> str:
    """The part of the spec with the weights of the config's algorithm (of one from outside: IPA's); empty: none."""
    name = config.spec.algorithm
    return _WEIGHTS.get(name, "" if name in ALGORITHMS else "objective")


def _per_cent(step: float) -> str:
    return f"{step * 100:+.0f} %"
