"""Where weights come from: a builder with random numbers, a local folder, or the model hub."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ipa_seldon import plugins
from ipa_seldon.errors import ConfigError
from ipa_seldon.weights import BUILDERS, EXTRA
from ipa_seldon.weights.catalogue import Target
from ipa_seldon.weights.record import Origin, digest


class Source(Protocol):
    """What fills a version's directory."""

    def origin(self, target: Target, before: Origin | None) -> Origin:
        """Where ``fill`` would take the weights from; ``before`` is the origin of those that are there."""
        ...

    def fill(self, target: Target, origin: Origin, directory: Path) -> None:
        """Write the weights of that origin into the empty ``directory``. PlatformError where they cannot be had."""
        ...


@dataclass(frozen=True)
class Random:
    """Seeded random weights: of the published architecture and size, or ``tiny`` ones of the same architecture."""

    seed: int = 0
    tiny: bool = False

    def origin(self, target: Target, before: Origin | None) -> Origin:
        """See Source."""
        weights = target.weights
        options: Mapping[str, Any] = weights.options | (weights.tiny if self.tiny else {})
        return Origin(
            variant=target.variant,
            source="random",
            tiny=self.tiny,
            seed=self.seed,
            options=dict(options),
        )

    def fill(self, target: Target, origin: Origin, directory: Path) -> None:
        """See Source."""
        build = plugins.load("builder", target.weights.builder, BUILDERS, EXTRA)
        build(origin.options or {}, self.seed, directory)


@dataclass(frozen=True)
class Folder:
    """Files of one's own: whatever lies in ``path``/<stage>/<variant>/."""

    path: Path

    def origin(self, target: Target, before: Origin | None) -> Origin:
        """See Source. ConfigError where there is no folder for it."""
        folder = self.path / target.stage / target.variant
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such directory; accepted: one folder for every stage/variant")
        return Origin(
            variant=target.variant,
            source="folder",
            licence=target.weights.licence,
            folder=str(folder.resolve()),
            revision=digest(folder),
        )

    def fill(self, target: Target, origin: Origin, directory: Path) -> None:
        """See Source."""
        shutil.copytree(self.path / target.stage / target.variant, directory, dirs_exist_ok=True)
