"""Variant v3-160x64."""

import sys
from functools import partial
from pathlib import Path

sys.path += [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from detector import Detector
from serving import serve

TritonPythonModel = serve(partial(Detector, "v3", (160, 64)))
