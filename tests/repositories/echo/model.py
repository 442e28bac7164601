"""A model that answers every tensor as it was asked."""

from typing import Any

# The module exists only inside Triton's Python back end.
import triton_python_backend_utils as triton


class TritonPythonModel:
    """Outputs are the inputs of the same names."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer one batch."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """The response to one request."""
        return triton.InferenceResponse([triton.Tensor(x.name(), x.as_numpy()) for x in request.inputs()])
