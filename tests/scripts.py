"""Scripts under profiling/, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

PROFILING = Path(__file__).resolve().parents[1] / "profiling"


def load_script(name: str) -> Any:
    """A profiling script as a module."""
    spec = importlib.util.spec_from_file_location(name, PROFILING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the names in their annotations
    spec.loader.exec_module(module)
    return module
