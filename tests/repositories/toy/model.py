"""The one model of the toy repository: every version of both stages runs this file."""

import json
import time
from typing import Any

# The module exists only inside Triton's Python back end.
import triton_python_backend_utils as triton


class TritonPythonModel:
    """``number`` -> ``number * factor + term``; ``trace`` gets the version appended as its last decimal digit.

    Version k takes k times the parameter ``seconds`` per batch, whatever the batch holds.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of the model's configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.factor = int(parameters["factor"]["string_value"])
        self.term = int(parameters["term"]["string_value"])
        self.version = int(args["model_version"])
        self.seconds = self.version * float(parameters["seconds"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer one batch."""
        time.sleep(self.seconds)
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """The response to one request."""
        number = triton.get_input_tensor_by_name(request, "number").as_numpy()
        trace = triton.get_input_tensor_by_name(request, "trace").as_numpy()
        if (number < 0).any():
            return triton.InferenceResponse(error=triton.TritonError("number must not be negative"))
        return triton.InferenceResponse(
            [
                triton.Tensor("number", number * self.factor + self.term),
                triton.Tensor("trace", trace * 10 + self.version),
            ]
        )
