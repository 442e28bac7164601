"""Variant v6-384."""

import sys
from functools import partial
from pathlib import Path

sys.path += [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from recogniser import Recogniser
from serving import serve

TritonPythonModel = serve(partial(Recogniser, "v6", 384))
