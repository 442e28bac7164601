"""Opens an ONNX file for a machine whose cores are shared by several model instances."""

from __future__ import annotations

from pathlib import Path

import cv2
import onnxruntime

QUIET = 3
"""ONNX Runtime's severity "error": exported models warn about harmless shape annotations."""


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session on ``threads`` cores; FileNotFoundError that names the remedy when the weights were never fetched."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `ipa-seldon models fetch`, or set weights_dir")
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    # A spinning pool burns the cores that the other instances were promised.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
