"""The one model of the mirror repository: each text back to front, also bytes that are no text."""

import time
from pathlib import Path
from typing import Any

import numpy as np

# The module exists only inside Triton's Python back end.
import triton_python_backend_utils as triton

SECONDS = 0.5
"""What a text takes that is the path of a file, which is made when it begins."""


class TritonPythonModel:
    """``mirrored`` has the characters of each text in ``seen`` in the opposite order."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer one batch."""
        return [self.answer(triton.get_input_tensor_by_name(request, "seen").as_numpy()) for request in requests]

    def answer(self, seen: Any) -> Any:
        """The response to one request."""
        texts = [text.decode(errors="surrogateescape") for text in seen.ravel()]
        for text in texts:
            if text.startswith("/"):
                Path(text).touch()
                time.sleep(SECONDS)
        mirrored = np.array([text[::-1].encode(errors="surrogateescape") for text in texts], object)
        return triton.InferenceResponse([triton.Tensor("mirrored", mirrored.reshape(seen.shape))])
