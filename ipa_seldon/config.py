"""The pipeline file and its profile to a frozen Config. Bad input is one line: file, key, value, what is accepted."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ipa_seldon.algorithms import BY_CAPACITY, BY_DEADLINE
from ipa_seldon.csv_rows import number, open_text, rows
from ipa_seldon.errors import ConfigError
from ipa_seldon.fields import Document
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.profiles import Capacity, Measurement, Profile, slowed, slowed_capacities, throughput_of
from ipa_seldon.schema import Mode, PipelineFile, PipelineSpec, edges_of, topological

DocumentType = TypeVar("DocumentType", bound=Document)
PROFILE_COLUMNS = ("stage", "variant", "cores", "batch", "latency", "throughput")
CAPACITY_COLUMNS = ("variant", "cores", "slo", "capacity", "load_time")
Profiles = Mapping[tuple[str, str], Profile]
"""By (stage, variant)."""
Capacities = Mapping[tuple[str, float], Capacity]
"""By (variant, SLO in seconds)."""


@dataclass(frozen=True)
class Config:
    """A pipeline file that was read: ``document`` as the operator wrote it, ``pipeline`` as the core uses it, the
    ``profiles`` and ``capacities`` that it names, ``repository`` (the Triton model repository) as a path, where given;
    ``local_mode`` where it has no part for Seldon Core, which states one.
    """

    path: Path
    document: PipelineFile
    profiles: Profiles
    pipeline: Pipeline
    capacities: Capacities = field(default_factory=dict)
    local_mode: Mode = "active"

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.document.metadata.name

    @property
    def spec(self) -> PipelineSpec:
        """What the operator decided."""
        return self.document.spec

    @property
    def mode(self) -> Mode:
        """Whether plans are applied, only recommended, or not made."""
        return self.spec.seldon.mode if self.spec.seldon else self.local_mode

    @property
    def budget(self) -> int | None:
        """The most cores of the whole pipeline, by its limits and what its algorithm goes by; None: no bound."""
        by_capacity = self.spec.algorithm in BY_CAPACITY
        own = self.spec.infadapter.budget if by_capacity else self.spec.objective.cost_at_most
        return min((cores for cores in (self.spec.limits.cores, own) if cores is not None), default=None)

    @property
    def repository(self) -> Path | None:
        """The Triton model repository; None where the file names none."""
        return (self.path.parent / self.spec.repository).resolve() if self.spec.repository else None

    def need_profile(self) -> None:
        """ConfigError where the file names no profile of batches."""
        if self.spec.profile is None:
            raise ConfigError(f"{self.path}: spec.profile: missing; accepted: a CSV file, relative to this file")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; an operator would rather know."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # no key, but `<<`, another mapping's keys to be had as well
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in keys:
                    raise yaml.MarkedYAMLError(problem=f"key {key!r} appears twice", problem_mark=key_node.start_mark)
                keys.add(key)
        return super().construct_mapping(node, deep)


def read_config(path: Path | str, profile: bool = True) -> Config:
    """The Config in the file at ``path``; ConfigError names file, key, value and what is accepted.

    ``profile=False`` leaves out profile and capacities (to make them): variants then cannot be planned.
    """
    path = Path(path)
    document = parse_document(path, read_yaml(path))
    if not profile:
        return make_config(path, document, {})
    spec = document.spec
    config = make_config(
        path,
        document,
        read_profiles(path.parent / spec.profile) if spec.profile else {},
        read_capacities(path.parent / spec.capacity) if spec.capacity else {},
    )
    if not spec.capacity:
        config.need_profile()
    return config


def parse_document(path: Path, loaded: object) -> PipelineFile:
    """The validated pipeline document of YAML that was loaded; ``path`` is what errors name."""
    try:
        return validated(path, loaded, PipelineFile)
    except RecursionError as error:
        raise ConfigError(f"{path}: spec.graph: nested too deeply") from error


def validated(path: Path | str, loaded: object, kind: type[DocumentType]) -> DocumentType:
    """The document of that ``kind`` in YAML that was loaded; ConfigError names ``path``, key and what is accepted."""
    if not isinstance(loaded, Mapping):
        *keys, last = (entry.alias or name for name, entry in kind.model_fields.items())
        raise ConfigError(f"{path}: accepted: a mapping with {', '.join(keys)}{' and ' if keys else ''}{last}")
    try:
        return kind.model_validate(loaded)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_one_line(error.errors()[0], kind)}") from error


def make_config(path: Path, document: PipelineFile, profiles: Profiles, capacities: Capacities | None = None) -> Config:
    """A Config from its parts; ConfigError when profiles or capacities are given and lack a variant."""
    spec = document.spec
    capacities = capacities or {}
    if profiles:
        for stage, stage_spec in spec.stages.items():
            for variant in stage_spec.variants:
                if (stage, variant) not in profiles:
                    raise ConfigError(
                        f"{path}: spec.stages.{stage}.variants.{variant}: the profile {spec.profile} has no row for it"
                    )
    at_slo = _at_slo(path, spec, capacities) if capacities else {}
    stages = tuple(_stage(name, spec, profiles, at_slo) for name in topological(spec.graph))
    by_deadline = spec.algorithm in BY_DEADLINE
    pipeline = Pipeline(
        name=document.metadata.name,
        stages=stages,
        edges=edges_of(spec.graph),
        slo=spec.slo.latency,
        percentile=spec.slo.percentile,
        max_batch=spec.limits.batch,
        cores=spec.limits.cores,
        by_deadline=by_deadline,
        triton_orders=by_deadline and spec.seldon is not None and spec.seldon.gateway is None,
        gpus=spec.limits.gpus,
        gpu_cores=spec.gpu_cores,
    )
    if profiles and spec.limits.cores is not None:
        least = sum(min(variant.cores[0] for variant in stage.variants) for stage in stages)
        if spec.limits.cores < least:
            raise ConfigError(
                f"{path}: spec.limits.cores: {spec.limits.cores}: accepted: at least {least}, one replica per stage"
            )
    return Config(path, document, profiles, pipeline, capacities)


def slowed_config(config: Config, factor: float) -> Config:
    """The same config on a machine that takes ``factor`` times as long, and so takes that much less load."""
    profiles, capacities = slowed(config.profiles, factor), slowed_capacities(config.capacities, factor)
    return make_config(config.path, config.document, profiles, capacities)


def with_algorithm(config: Config, algorithm: str) -> Config:
    """The same config with another algorithm."""
    return with_spec(config, algorithm=algorithm)


def with_spec(config: Config, **changes: object) -> Config:
    """The same config with other values in its spec, which are not validated again."""
    spec = config.spec.model_copy(update=changes)
    document = config.document.model_copy(update={"spec": spec})
    return make_config(config.path, document, config.profiles, config.capacities)


def with_mode(config: Config, mode: Mode) -> Config:
    """The same config in another mode."""
    if config.spec.seldon is None:
        return replace(config, local_mode=mode)
    seldon = config.spec.seldon.model_copy(update={"mode": mode})
    spec = config.spec.model_copy(update={"seldon": seldon})
    return replace(config, document=config.document.model_copy(update={"spec": spec}))


def _at_slo(path: Path, spec: PipelineSpec, capacities: Capacities) -> dict[str, Capacity]:
    """The capacities of the pipeline's variants at its SLO; ConfigError where one has none."""
    slo = spec.slo.latency
    found = {name: capacity for (name, at), capacity in capacities.items() if math.isclose(at, slo)}
    for stage, stage_spec in spec.stages.items():
        for variant in stage_spec.variants:
            if variant not in found:
                raise ConfigError(
                    f"{path}: spec.stages.{stage}.variants.{variant}: the capacities {spec.capacity} have no row for "
                    f"it at an SLO of {slo:g} s"
                )
    return found


def _stage(name: str, spec: PipelineSpec, profiles: Profiles, capacities: Mapping[str, Capacity]) -> Stage:
    stage = spec.stages[name]
    variants = []
    for variant_name, variant in stage.variants.items():
        profile, capacity = profiles.get((name, variant_name), Profile({})), capacities.get(variant_name)
        measured = capacity.load_time if capacity else 0.0
        variants.append(
            Variant(
                variant_name,
                variant.accuracy,
                variant.version,
                profile.cores,
                profile.latency,
                throughput_of(profile, capacity),
                measured if variant.load_time is None else variant.load_time,
                capacity.usable if capacity else None,
                capacity.core_rate if capacity else 0.0,
                profile.latencies,
                variant.held_gpus,
            )
        )
    return Stage(name, tuple(variants), spec.limits.replicas, stage.threshold, stage.slo, stage.rate)


def read_profiles(path: Path) -> dict[tuple[str, str], Profile]:
    """Profiles by (stage, variant) from a CSV with at least the columns of PROFILE_COLUMNS, in any order."""
    points: dict[tuple[str, str], dict[tuple[int, int], Measurement]] = {}
    for where, row in rows(path, PROFILE_COLUMNS):
        key = (row["stage"], row["variant"])
        cores, batch = (int(number(where, column, row[column], whole=True)) for column in ("cores", "batch"))
        latency, throughput = (number(where, column, row[column]) for column in ("latency", "throughput"))
        of_variant = points.setdefault(key, {})
        if (cores, batch) in of_variant:
            raise ConfigError(f"{where}: {key[0]}, {key[1]}, cores {cores}, batch {batch} appears twice")
        of_variant[cores, batch] = Measurement(latency, throughput)
    return {key: Profile(of_variant) for key, of_variant in points.items()}


def read_capacities(path: Path) -> dict[tuple[str, float], Capacity]:
    """Capacities by (variant, SLO) from a CSV with at least the columns of CAPACITY_COLUMNS, in any order; a variant's
    load time is the longest of its rows.
    """
    points: dict[tuple[str, float], dict[int, float]] = {}
    load_times: dict[tuple[str, float], float] = {}
    for where, row in rows(path, CAPACITY_COLUMNS):
        cores = int(number(where, "cores", row["cores"], whole=True))
        slo = number(where, "slo", row["slo"])
        capacity, load_time = (number(where, column, row[column], zero=True) for column in ("capacity", "load_time"))
        key = (row["variant"], slo)
        of_variant = points.setdefault(key, {})
        if cores in of_variant:
            raise ConfigError(f"{where}: {key[0]}, cores {cores}, slo {slo:g} appears twice")
        of_variant[cores] = capacity
        load_times[key] = max(load_time, load_times.get(key, 0.0))
    return {key: Capacity(of_variant, load_times[key]) for key, of_variant in points.items()}


def read_yaml(path: Path) -> object:
    """What a YAML file holds; ConfigError names file and line, also for a key that appears twice."""
    with open_text(path) as stream:
        try:
            return yaml.load(stream, _UniqueKeyLoader)  # noqa: S506  # a SafeLoader with one more check
        except yaml.MarkedYAMLError as error:
            line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
            raise ConfigError(f"{path}:{line} not YAML: {error.problem}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error


def _one_line(error: ErrorDetails, kind: type[Document]) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "the document"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; accepted: {', '.join(_accepted_keys(error['loc'][:-1], kind))}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "accepted:")
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error" and not message.startswith("accepted"):
        return f"{key}.{message}"  # a check of several keys names the one at fault itself
    return f"{key}: {error['input']!r}: {message}"


def _accepted_keys(location: Sequence[int | str], kind: type[Document]) -> list[str]:
    """The keys of the document's part at ``location``, read off the JSON Schema."""
    schema: dict[str, Any] = kind.model_json_schema()
    definitions = schema.get("$defs", {})
    for part in location:
        if isinstance(part, int):
            schema = schema["items"]
        elif part in schema.get("properties", {}):
            schema = schema["properties"][part]
        else:  # a name that the operator chose
            schema = schema["additionalProperties"]
        schema = schema.get("anyOf", [schema])[0]  # an optional part: that, or null
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
    return list(schema["properties"])
