"""A plan as a Triton model repository, which every Triton serves as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ipa_seldon.errors import ConfigError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.transition import models_of
from ipa_seldon.platforms.triton_models import CONFIGURATION, as_text, read_configuration
from ipa_seldon.specs.desired import pod_plan_of
from ipa_seldon.specs.triton import model_configuration


def export_repository(pipeline: Pipeline, plan: Plan, repository: Path, target: Path) -> None:
    """Lay out ``plan`` at ``target``: a model for every stage, or for every variant where a stage runs a set, each with
    its complete configuration and links to all else that ``repository`` has of the stage. Every replica has GPUs of its
    own, counted from 0 on over all models.

    All or nothing: ConfigError where ``target`` is not new or an empty directory; PlatformError where the repository
    lacks a configuration.
    """
    target, repository = target.absolute(), repository.resolve()
    try:
        # Beside the target, so that the rename stays on one file system and is atomic.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as work:
            draft = Path(work) / target.name
            draft.mkdir()
            # What several models import lies beside them.
            _link((entry for entry in repository.iterdir() if entry.is_file()), draft)
            gpus = 0
            for stage, allocations in plan.items():
                _lay_out(pipeline, allocations, repository / stage, draft, gpus)
                gpus += sum(allocation.replicas * allocation.gpus for allocation in allocations)
            draft.replace(target)
    except OSError as error:
        raise ConfigError(
            f"{target}: cannot be written: {error.strerror}; accepted: a new or empty directory"
        ) from error


def _lay_out(pipeline: Pipeline, allocations: Sequence[Allocation], source: Path, draft: Path, first_gpu: int) -> None:
    """The models of the stage that ``source`` is named after, on GPUs from the first one on."""
    stage, base = source.name, read_configuration(source.parent, source.name)
    for model, allocation in models_of(pipeline.stage(stage), allocations, len(allocations) > 1).items():
        task = pod_plan_of(pipeline, stage, allocation)
        named = {**base, "name": model}
        configuration = model_configuration(named, task.version, allocation, task.delay, task.slo, first_gpu)
        first_gpu += allocation.replicas * allocation.gpus
        (draft / model).mkdir()
        (draft / model / CONFIGURATION).write_text(as_text(configuration), encoding="utf-8")
        _link((entry for entry in source.iterdir() if entry.name != CONFIGURATION), draft / model)


def _link(entries: Iterable[Path], folder: Path) -> None:
    for entry in entries:
        (folder / entry.name).symlink_to(entry)
