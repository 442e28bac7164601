"""The Triton models of a pipeline's stages: which are loaded, and loading and unloading them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.transition import Models
from ipa_seldon.platforms.triton_models import TritonModels, stage_configurations
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.specs.desired import pod_plan_of
from ipa_seldon.specs.triton import allocation_of, model_configuration, set_model


class StageModels:
    """On ``server``, which serves ``repository``: a stage is the model of that name there, a variant one of its
    versions. A variant of a set is a model of its own, laid out in the server's own repository when it is first loaded:
    the version's folder alone, as a link, so that its code finds what lies beside it.

    ``loads`` counts what was sent to Triton to be loaded.
    """

    def __init__(self, pipeline: Pipeline, repository: Path, server: TritonServer) -> None:
        self._pipeline = pipeline
        self._repository = repository.resolve()
        self._server = server
        self._configurations = stage_configurations(pipeline, repository)
        self._variants = {s.name: {v.version: v.name for v in s.variants} for s in pipeline.stages}
        self.loads = 0

    def loaded(self, *stages: str) -> dict[str, dict[str, Allocation]]:
        """Stage, of these or of all -> every model of it that answers requests, and what that runs, read back from
        Triton in one look.
        """
        with TritonModels(self._server.grpc_url) as models:
            ready = models.ready_versions()
            return {
                stage: {
                    name: allocation_of(models.configuration(name), variants)
                    for name in (stage, *(set_model(stage, version) for version in variants))
                    if name in ready
                }
                for stage, variants in self._variants.items()
                if not stages or stage in stages
            }

    def load(self, stage: str, models: Models) -> None:
        """Load models of a stage, or change them, side by side; return when all serve so. PlatformError if one cannot,
        once all have come to an end.
        """
        in_parallel(self._load, [(stage, model, allocation) for model, allocation in models.items()])

    def unload(self, models: Iterable[str]) -> None:
        """Take models away; requests that are with them already are answered."""
        with TritonModels(self._server.grpc_url) as triton:
            for model in models:
                triton.unload(model)

    def _load(self, stage: str, model: str, allocation: Allocation) -> None:
        """Load one model and verify that Triton really runs it that way."""
        task = pod_plan_of(self._pipeline, stage, allocation)
        base = self._configurations[stage] | {"name": model}
        # Without an SLO: here a gateway puts requests in order.
        configuration = model_configuration(base, task.version, allocation, task.delay)
        if model != stage:
            self._lay_out(stage, model, task.version)
        with TritonModels(self._server.grpc_url) as triton:
            self.loads += 1
            triton.load(model, configuration)
            ready = triton.ready_versions().get(model, frozenset())
            running = allocation_of(triton.configuration(model), self._variants[stage])
        if running != allocation or task.version not in ready:
            raise PlatformError(f"stage {stage!r}: Triton runs {running} instead of {allocation}")

    def _lay_out(self, stage: str, model: str, version: int) -> None:
        folder = self._server.more_models / model
        folder.mkdir(exist_ok=True)
        link = folder / str(version)
        if not link.is_symlink():
            link.symlink_to(self._repository / stage / str(version))


def in_parallel(function: Callable[..., None], calls: Iterable[tuple[object, ...]]) -> None:
    """Make all calls side by side; once all have ended, raise the first one's failure, in their order."""
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(function, *arguments) for arguments in calls]
    for future in futures:
        future.result()
