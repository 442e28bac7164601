"""The weights of model repositories: what fills them, from where, and the record of it that lies beside them."""

from __future__ import annotations

from collections.abc import Mapping

BUILDERS: Mapping[str, str] = {
    "yolov5": "ipa_seldon.weights.yolov5:build",
    "resnet": "ipa_seldon.weights.resnet:build",
    "transformers": "ipa_seldon.weights.transformer:build",
}
"""``build(options, seed, target)`` writes a network with seeded random weights into the directory ``target``, bit for
bit the same for the same seed."""
CONVERTERS: Mapping[str, str] = {
    "yolov5": "ipa_seldon.weights.yolov5:convert",
    "resnet": "ipa_seldon.weights.resnet:convert",
}
"""By builder, where not all that can be fetched can be served: ``convert(options, directory)`` writes SERVED into the
directory that has STORED, with its weights."""
SERVED, STORED = "model.onnx", "model.safetensors"
EXTRA = "models"
"""The extra of this package with what builders and the model hub need."""
