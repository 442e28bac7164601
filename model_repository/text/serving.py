"""What Triton's Python back end calls, the same for every stage. The only module here that needs Triton."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as triton

Row = list[bytes]
"""One request's tensor of strings, without the batch dimension."""


class Stage(Protocol):
    """What one variant computes, on strings and without Triton."""

    input_name: str
    output_name: str

    def warm_up(self) -> None:
        """Compute something once: the first run of a network takes several times as long as the following ones."""

    def parse(self, row: Row) -> Any:
        """One row as the stage wants it; ValueError with the reason that its sender shall read."""

    def run(self, items: list[Any]) -> list[Row]:
        """One row for every parsed one, worked on as one batch."""


def serve(make: Callable[[Path, int], Stage]) -> type:
    """The class Triton looks for, around ``make(weights, threads)``."""

    class TritonPythonModel:
        make_stage = staticmethod(make)

        def initialize(self, args: dict[str, str]) -> None:
            parameters = json.loads(args["model_config"]).get("parameters", {})
            values = {key: value["string_value"] for key, value in parameters.items()}
            self.stage = self.make_stage(weights_directory(values), int(values.get("intra_op_num_threads", "1")))
            # Before Triton calls the instance ready, so that no request pays for it.
            self.stage.warm_up()

        def execute(self, requests: list[Any]) -> list[Any]:
            return execute(self.stage, requests)

    return TritonPythonModel


def weights_directory(parameters: dict[str, str]) -> Path:
    """The parameter ``weights_dir``, else the variable IPA_SELDON_MODELS, else where ``models fetch`` puts them."""
    named = parameters.get("weights_dir") or os.environ.get("IPA_SELDON_MODELS")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ipa-seldon" / "models"


def execute(stage: Stage, requests: list[Any]) -> list[Any]:
    """One answer per request, from one run over every row of every request; a bad request spoils no other."""
    parsed = [_parse(stage, request) for request in requests]
    rows = iter(stage.run([item for items in parsed if isinstance(items, list) for item in items]))
    return [
        _answer(stage, [next(rows) for _ in items])
        if isinstance(items, list)
        else triton.InferenceResponse(error=triton.TritonError(str(items)))
        for items in parsed
    ]


def _parse(stage: Stage, request: Any) -> list[Any] | ValueError:
    tensor = triton.get_input_tensor_by_name(request, stage.input_name).as_numpy()
    try:
        return [stage.parse(list(row)) for row in tensor]
    except ValueError as error:
        return error


def _answer(stage: Stage, rows: list[Row]) -> Any:
    return triton.InferenceResponse([triton.Tensor(stage.output_name, np.array(rows, dtype=np.object_))])
