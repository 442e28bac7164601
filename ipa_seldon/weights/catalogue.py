"""``weights.yaml`` of a model repository: for every variant, what its weights are and where they can be had."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ipa_seldon.config import Config, read_yaml, validated
from ipa_seldon.errors import ConfigError
from ipa_seldon.fields import Document, Name

CATALOGUE = "weights.yaml"


class Weights(Document):
    """The weights of one variant."""

    builder: str
    """What makes such a network with random weights: a name of BUILDERS, or module:attribute."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Of the builder, for the network as it was published."""
    tiny: dict[str, Any] = Field(default_factory=dict)
    """Put over ``options``: the same architecture in a few hundred kilobytes."""
    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """The repository on the model hub that has them, owner/name; none: there is none."""
    files: tuple[str, ...] = ("*",)
    """Patterns of the files to take from there."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """The commit there; none: the newest at the first fetch, which the record then keeps."""
    licence: str
    """Of these weights, as their owners state it."""


class Catalogue(Document):
    """What ``weights.yaml`` holds."""

    stages: dict[Name, dict[Name, Weights]]
    """Stage -> variant -> its weights."""


@dataclass(frozen=True)
class Target:
    """One variant's place in a model repository: ``directory`` is that of its version; ``weights`` go there."""

    stage: str
    variant: str
    weights: Weights
    directory: Path

    @property
    def name(self) -> str:
        """As it is spoken of: stage/variant."""
        return f"{self.stage}/{self.variant}"

    @property
    def key(self) -> str:
        """Where the catalogue states its weights."""
        return f"{self.directory.parents[1] / CATALOGUE}: stages.{self.stage}.{self.variant}"


def read_catalogue(repository: Path) -> Catalogue:
    """The catalogue of the model repository; ConfigError names file, key and what is accepted."""
    path = repository / CATALOGUE
    return validated(path, read_yaml(path), Catalogue)


def targets(config: Config, repository: Path, variants: Collection[str] = ()) -> tuple[Target, ...]:
    """Where the weights of ``variants`` go, or of all that the pipeline has, whose file alone states the versions.

    ConfigError where the catalogue lacks one of them, or the pipeline has none of that name.
    """
    catalogue = read_catalogue(repository)
    known = [variant.name for stage in config.pipeline.stages for variant in stage.variants]
    for name in variants:
        if name not in known:
            raise ConfigError(f"{config.path}: variant {name!r}: accepted: {', '.join(known)}")
    return tuple(_targets(config, catalogue, repository, variants))


def _targets(config: Config, catalogue: Catalogue, repository: Path, variants: Collection[str]) -> Iterator[Target]:
    for stage in config.pipeline.stages:
        of_stage = catalogue.stages.get(stage.name, {})
        for variant in stage.variants:
            if variants and variant.name not in variants:
                continue
            if variant.name not in of_stage:
                where = f"{repository / CATALOGUE}: stages.{stage.name}.{variant.name}"
                raise ConfigError(f"{where}: missing, {config.path} has such a variant")
            directory = repository / stage.name / str(variant.version)
            yield Target(stage.name, variant.name, of_stage[variant.name], directory)
