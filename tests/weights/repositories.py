"""Model repositories of the pipelines in manifests/, filled with tiny random weights of the true architectures."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from ipa_seldon.bootstrap import repository_of
from ipa_seldon.config import Config, read_config, with_spec
from ipa_seldon.weights.catalogue import targets
from ipa_seldon.weights.fetch import fetch
from ipa_seldon.weights.sources import Random

ROOT = Path(__file__).resolve().parents[2]


def published(pipeline: str) -> Config:
    """The pipeline of that name, as its file has it."""
    return read_config(ROOT / "manifests" / "pipelines" / pipeline / "pipeline.yaml")


def tiny_pipeline(pipeline: str, directory: Path, variants: Collection[str] = ()) -> Config:
    """The pipeline with a repository of its own, new in ``directory``; ``variants`` have weights, by default all."""
    config = published(pipeline)
    repository = shutil.copytree(
        repository_of(config), directory / pipeline, ignore=lambda _, names: [name for name in names if name.isdigit()]
    )
    fetch(targets(config, repository, variants), Random(seed=1, tiny=True))
    return with_spec(config, repository=str(repository))
