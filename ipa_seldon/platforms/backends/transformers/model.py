"""Serves networks saved by transformers, as a Triton back end in Python: the parameter ``task`` of a model's
configuration says what they do. The only module here that needs Triton.

Whatever requests Triton gives at once, all their rows go through the network as one padded batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Before transformers is imported: what is served lies in the repository, and nothing is to be asked of anybody else.
os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
import transformers
import triton_python_backend_utils as triton
from speech_task import Speech
from text_tasks import Answering, Classification, Generation

TASKS = {
    "question-answering": Answering,
    "speech-to-text": Speech,
    "summarization": Generation,
    "text-classification": Classification,
    "translation": Generation,
}
TYPES = {"TYPE_STRING": np.object_, "TYPE_FP32": np.float32}

Row = Mapping[str, Any]
"""Tensor name -> the one value of a row."""


class TritonPythonModel:
    """One instance of a stage."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the network and use it once: the first run takes several times as long as the following ones."""
        configuration = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in configuration["parameters"].items()}
        self._types = {output["name"]: TYPES[output["data_type"]] for output in configuration["output"]}
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        torch.set_num_threads(int(parameters.get("intra_op_num_threads", "1")))
        device = f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"
        self._task = open_task(Path(args["model_repository"]) / args["model_version"], parameters, device)
        (row,) = self._run([self._task.example()])
        if missing := self._types.keys() - row.keys():
            raise ValueError(f"output {sorted(missing)[0]!r} is unknown; task {parameters['task']!r} gives {list(row)}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer per request, from one run over every row of every request; a bad request spoils no other."""
        parsed = [self._parse(request) for request in requests]
        rows = iter(self._run([item for items in parsed if isinstance(items, list) for item in items]))
        return [
            self._answer([next(rows) for _ in items])
            if isinstance(items, list)
            else triton.InferenceResponse(error=triton.TritonError(str(items)))
            for items in parsed
        ]

    def _run(self, items: list[Any]) -> list[Row]:
        with torch.inference_mode():
            return self._task.run(items) if items else []

    def _parse(self, request: Any) -> list[Any] | ValueError:
        """The request's rows as the task wants them, or why it cannot have them."""
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        try:
            columns = [[(name, row[0]) for row in values] for name, values in tensors.items()]
            return [self._task.parse(dict(row)) for row in zip(*columns, strict=True)]
        except ValueError as error:
            return error

    def _answer(self, rows: list[Row]) -> Any:
        return triton.InferenceResponse(
            [triton.Tensor(name, np.array([[row[name]] for row in rows], kind)) for name, kind in self._types.items()]
        )


def open_task(folder: Path, parameters: Mapping[str, str], device: str = "cpu") -> Any:
    """What the ``parameters`` name, on the network in ``folder``, on that device of torch. FileNotFoundError names the
    remedy where there is no network, ValueError the accepted tasks.
    """
    task = parameters.get("task", "")
    if task not in TASKS:
        raise ValueError(f"parameter task: {task!r}; accepted: {', '.join(TASKS)}")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} has no weights: run `ipa-seldon models fetch PIPELINE`")
    return TASKS[task](folder, parameters, device)
