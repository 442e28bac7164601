"""Where an adapter's pipeline files come from: named files, or the ConfigMaps of its namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ipa_seldon.bootstrap import seldon_spec
from ipa_seldon.cluster.api import CONFIG_MAPS, Cluster, Document
from ipa_seldon.config import Config, read_config
from ipa_seldon.errors import ConfigError
from ipa_seldon.specs.seldon import KIND_LABEL, PIPELINE_FILE, PIPELINE_KIND


@dataclass(frozen=True)
class Source:
    """A pipeline file as it is in ``version``; ``read`` gives its Config, or ConfigError."""

    name: str
    version: str
    read: Callable[[], Config]


def files(paths: Iterable[Path]) -> Callable[[], list[Source]]:
    """Files, read once and now; ConfigError when one cannot be used."""
    found = [_file(path) for path in paths]
    return lambda: found


def _file(path: Path) -> Source:
    config = read_config(path)
    seldon_spec(config)
    return Source(str(path), "", lambda: config)


def config_maps(cluster: Cluster) -> Callable[[], list[Source]]:
    """The ConfigMaps that ``ipa-seldon render`` makes of pipeline files, as they are now."""

    def found() -> list[Source]:
        return [_source(document) for document in cluster.list(CONFIG_MAPS, {KIND_LABEL: PIPELINE_KIND})]

    return found


def _source(document: Document) -> Source:
    name, data = document["metadata"]["name"], document.get("data") or {}
    return Source(name, document["metadata"]["resourceVersion"], lambda: _read(name, data))


def _read(name: str, data: Mapping[str, str]) -> Config:
    """The Config of files that a ConfigMap holds; errors name it instead of where they lay for a moment."""
    with TemporaryDirectory() as directory:
        for key, text in data.items():
            (Path(directory) / key).write_text(text, encoding="utf-8")
        try:
            return read_config(Path(directory) / PIPELINE_FILE)
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{directory}/", f"ConfigMap {name}: ")) from error
