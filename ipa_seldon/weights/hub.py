"""Weights from the model hub, by the hub's own client: it resumes, and keeps a cache."""

from __future__ import annotations

import fnmatch
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.weights import EXTRA
from ipa_seldon.weights.catalogue import Target
from ipa_seldon.weights.record import Origin, sha256_of


@dataclass(frozen=True)
class Hub:
    """What the catalogue names: at its revision, else at that of the weights that are there, else at the newest."""

    def origin(self, target: Target, before: Origin | None) -> Origin:
        """See Source."""
        weights = target.weights
        if weights.hub is None:
            raise ConfigError(
                f"{target.key}.hub: missing; accepted: a repository of the model hub; "
                "or fetch with --source random, or from a directory"
            )
        again = before.revision if before and before.hub == weights.hub else None
        revision = weights.revision or again or self._info(target, None).sha
        return Origin(variant=target.variant, source="hub", licence=weights.licence, hub=weights.hub, revision=revision)

    def fill(self, target: Target, origin: Origin, directory: Path) -> None:
        """See Source. PlatformError also where a file is not what the hub's own index says it is."""
        for name, expected in _digests(self._info(target, origin.revision), target).items():
            file = Path(self._ask(target, "hf_hub_download", filename=name, revision=origin.revision))
            if expected is not None and sha256_of(file) != expected:
                file.resolve().unlink()  # or the cache would give it again
                raise PlatformError(
                    f"{target.name}: {name} of {origin.hub} is not what its index says: SHA-256 is not {expected}; "
                    "fetch again"
                )
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, directory / name)

    def _info(self, target: Target, revision: str | None) -> Any:
        return self._ask(target, "model_info", revision=revision, files_metadata=True)

    def _ask(self, target: Target, call: str, **arguments: Any) -> Any:
        """What a function of the hub's client returns; every failure of it in one line."""
        try:
            import huggingface_hub
        except ModuleNotFoundError as error:
            raise PlatformError(
                f"--source hub needs the package 'huggingface-hub': pip install 'ipa-seldon[{EXTRA}]'"
            ) from error
        repository = target.weights.hub
        try:
            return getattr(huggingface_hub, call)(repository, **arguments)
        # Its errors come from several libraries below it, and have no common root.
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise PlatformError(f"{target.name}: cannot fetch {repository} from the model hub: {reason[0]}") from error


def _digests(info: Any, target: Target) -> dict[str, str | None]:
    """The files to take -> the SHA-256 that the hub's index states, which it does for large ones only."""
    names = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings}
    wanted = {
        name: digest
        for name, digest in names.items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in target.weights.files)
    }
    if not wanted:
        raise PlatformError(f"{target.name}: {target.weights.hub} has none of {', '.join(target.weights.files)}")
    return wanted
