"""The model repository API of one Triton over gRPC: what is loaded, and loading it differently."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict, ParseDict
from tritonclient.grpc import InferenceServerClient, model_config_pb2
from tritonclient.utils import InferenceServerException

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline

READ_DEADLINE = 10.0
LOAD_DEADLINE = 120.0
POLL = 0.02
CONFIGURATION = "config.pbtxt"
GONE = ("", "UNAVAILABLE")
"""States of a version that holds nothing."""


def read_configuration(repository: Path, model: str) -> dict[str, Any]:
    """The model's ``config.pbtxt`` as JSON types. PlatformError when it is missing or malformed."""
    path = repository / model / CONFIGURATION
    try:
        message = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except OSError as error:
        raise PlatformError(f"{path}: cannot be read: {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise PlatformError(f"{path}: not a Triton model configuration: {error}") from error
    return as_json(message)


def as_text(configuration: Mapping[str, Any]) -> str:
    """A configuration as the text of a ``config.pbtxt``, from JSON types with field names as in the .proto."""
    text: str = text_format.MessageToString(ParseDict(configuration, model_config_pb2.ModelConfig()))
    return text


def stage_configurations(pipeline: Pipeline, repository: Path) -> dict[str, dict[str, Any]]:
    """Stage -> its model's ``config.pbtxt`` as JSON types. PlatformError when one is missing or malformed, or has no
    folder for the version of a variant.
    """
    configurations = {stage.name: read_configuration(repository, stage.name) for stage in pipeline.stages}
    for stage in pipeline.stages:
        for variant in stage.variants:
            version = repository / stage.name / str(variant.version)
            if not version.is_dir():
                raise PlatformError(
                    f"{version}: no such directory, of {variant.name}: run `ipa-seldon models fetch {pipeline.name}`, "
                    "or put the model there"
                )
    return configurations


def as_json(message: Any) -> dict[str, Any]:
    """A protobuf message as JSON types, field names as in the .proto."""
    document: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return document


class TritonModels:
    """A connection to the gRPC API at ``url`` (host:port). Every call raises PlatformError when Triton refuses it."""

    def __init__(self, url: str) -> None:
        # Cached channels would outlive a server: a later one on the same port would look dead for a while.
        self._client = InferenceServerClient(url, channel_args=[("grpc.use_local_subchannel_pool", 1)])

    def load(self, model: str, configuration: Mapping[str, Any] | None, deadline: float = LOAD_DEADLINE) -> None:
        """Load, or change a loaded model; returns when it serves. The old version answers until the new one does.

        None loads what the repository states. PlatformError when it takes more than ``deadline`` seconds.
        """
        self._call(
            f"cannot load model {model!r}",
            "load_model",
            model,
            config=None if configuration is None else json.dumps(configuration),
            client_timeout=deadline,
        )

    def unload(self, model: str) -> None:
        """Take a model away; requests that are with it already are answered."""
        self._call(f"cannot unload model {model!r}", "unload_model", model, client_timeout=READ_DEADLINE)

    def configuration(self, model: str) -> dict[str, Any]:
        """The configuration the loaded model runs with."""
        answer = self._call(f"cannot read model {model!r}", "get_model_config", model, client_timeout=READ_DEADLINE)
        return as_json(answer.config)

    def ready_versions(self) -> dict[str, frozenset[int]]:
        """Model -> versions that answer requests; models without any are left out."""
        ready: dict[str, frozenset[int]] = {}
        for model in self._index():
            if model.state == "READY":
                ready[model.name] = ready.get(model.name, frozenset()) | {int(model.version)}
        return ready

    def wait_until_gone(self, model: str, deadline: float = LOAD_DEADLINE) -> None:
        """Return when nothing is left of a model that is being unloaded. PlatformError after ``deadline`` seconds."""
        end = time.monotonic() + deadline
        while any(one.name == model and one.state not in GONE for one in self._index()):
            if time.monotonic() > end:
                raise PlatformError(f"cannot unload model {model!r}: not gone within {deadline:g} s")
            time.sleep(POLL)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> TritonModels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _index(self) -> Sequence[Any]:
        """Every version that Triton knows of, with its state, which is empty before the first load."""
        index = self._call("cannot list models", "get_model_repository_index", client_timeout=READ_DEADLINE)
        models: Sequence[Any] = index.models
        return models

    def _call(self, failure: str, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._client, method)(*arguments, **options)
        except InferenceServerException as error:
            reason = (str(error.message()).splitlines() or ["no reason given"])[0]
            raise PlatformError(f"{failure}: {reason}") from error
