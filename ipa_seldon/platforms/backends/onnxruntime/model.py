"""Triton's back end ``onnxruntime`` for servers without the compiled one: serves ``<version>/model.onnx``.

A back end written in Python: this one file serves every model whose configuration says ``backend: "onnxruntime"``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]
"""By name, with the batch dimension first."""
QUIET = 4
"""ONNX Runtime's severity "fatal": what it says of a request is told to its sender."""


class TritonPythonModel:
    """What Triton calls, for each instance of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the network on as many threads as the model's parameter ``intra_op_num_threads`` says."""
        configuration = json.loads(args["model_config"])
        threads = configuration.get("parameters", {}).get("intra_op_num_threads", {}).get("string_value", "1")
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: run `ipa-seldon models fetch`, or put it there")
        self._session = _open(path, int(threads))
        self._inputs = [tensor["name"] for tensor in configuration["input"]]
        self._outputs = [tensor["name"] for tensor in configuration["output"]]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, from one run over the rows of all that have the same shapes."""
        read = [{name: _tensor(request, name) for name in self._inputs} for request in requests]
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, tensors in enumerate(read):
            alike.setdefault(tuple(tensor.shape[1:] for tensor in tensors.values()), []).append(index)
        responses: list[Any] = [None] * len(read)
        for indices in alike.values():
            for index, response in zip(indices, self._respond([read[index] for index in indices]), strict=True):
                responses[index] = response
        return responses

    def _respond(self, batch: Sequence[Tensors]) -> list[Any]:
        """One response for each; where the run fails, each is run alone, so that a bad one spoils no other."""
        try:
            answers = self._run(batch)
        # Whatever ONNX Runtime says of an input is for its sender to read.
        except Exception as error:
            if len(batch) > 1:
                return [response for tensors in batch for response in self._respond([tensors])]
            return [triton.InferenceResponse(error=triton.TritonError(str(error)))]
        return [triton.InferenceResponse([triton.Tensor(*item) for item in answer.items()]) for answer in answers]

    def _run(self, batch: Sequence[Tensors]) -> list[Tensors]:
        """The outputs for each, all computed as one batch."""
        merged = {name: np.concatenate([tensors[name] for tensors in batch]) for name in self._inputs}
        outputs = self._session.run(self._outputs, merged)
        ends = np.cumsum([len(tensors[self._inputs[0]]) for tensors in batch])[:-1]
        parts = [np.split(output, ends) for output in outputs]
        return [dict(zip(self._outputs, rows, strict=True)) for rows in zip(*parts, strict=True)]


def _tensor(request: Any, name: str) -> NDArray[Any]:
    tensor: NDArray[Any] = triton.get_input_tensor_by_name(request, name).as_numpy()
    return tensor


def _open(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    # A spinning pool burns the cores that the other instances were promised.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
