"""Requests that are made up from a seed, for the stages of the pipelines that come with the project."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from ipa_seldon.errors import ConfigError
from ipa_seldon.gateway.messages import Message, read_message
from ipa_seldon.loadgen import Payload

Maker = Callable[[int, int], Payload]
"""(seed, index) -> payload, always the same."""

GENERATED = {
    "image": "text_requests",
    "lines": "text_requests",
    "frame": "video_requests",
    "crop": "video_requests",
    "text": "language_requests",
    "audio": "language_requests",
}
"""Tensor -> the module here whose function of that name is its maker; they need different packages."""
ENOUGH = 16_000_000
"""Bytes of different requests, beyond which no more are made: a load of frames repeats a dozen of them."""


def payloads(tensor: str, seed: int, count: int) -> list[Payload]:
    """``count`` different requests of ``seed``, or as many as make ENOUGH, ready to send; ``tensor`` is one of
    GENERATED.
    """
    made: list[Payload] = []
    size, make = 0, _maker(tensor)
    while len(made) < count and size < ENOUGH:
        made.append(make(seed, len(made)))
        size += made[-1].body.size
    return made


def requests(tensor: str, seed: int) -> Callable[[int], Message]:
    """The ``index``-th request of ``seed``, for the profiler; ``tensor`` is one of GENERATED."""
    make = _maker(tensor)
    return lambda index: read_message(make(seed, index).body, "inputs")


def generated_for(repository: Path, stage: str) -> str:
    """The tensor of GENERATED that is all that ``stage`` must have; ConfigError that names what it takes."""
    from ipa_seldon.platforms.triton_models import read_configuration

    tensors = read_configuration(repository, stage)["input"]
    names = [tensor["name"] for tensor in tensors if not tensor.get("optional")]
    if len(names) != 1 or names[0] not in GENERATED:
        raise ConfigError(
            f"no requests can be made up for {stage!r}, which takes {', '.join(names)}; accepted: a stage that takes "
            f"{' or '.join(GENERATED)}"
        )
    return str(names[0])


def _maker(tensor: str) -> Maker:
    maker: Maker = getattr(import_module(f"{__package__}.{GENERATED[tensor]}"), tensor)
    return maker
