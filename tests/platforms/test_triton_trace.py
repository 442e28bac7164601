"""Traces of Triton to batches: by hand, and of a real server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.messages import Message
from ipa_seldon.platforms.triton_server import TRACES, TritonServer
from ipa_seldon.platforms.triton_trace import Execution, executions_of, read_executions, switch_tracing
from ipa_seldon.profiler.clients import Clients

BATCHES, SIZE = 20, 2


def entries(number: int, request: str, moments: dict[str, float], stage: str = "detect") -> list[dict[str, Any]]:
    """The trace of one request: ``moments`` in seconds."""
    named = {"id": number, "model_name": stage, "model_version": 1, "request_id": request}
    times = [{"id": number, "timestamps": [{"name": n, "ns": round(s * 1e9)}]} for n, s in moments.items()]
    return [times[0], named, *times[1:]]


def computed(queued: float, began: float, ended: float) -> dict[str, float]:
    return {"QUEUE_START": queued, "COMPUTE_START": began, "COMPUTE_END": ended}


def test_requests_that_began_together_are_a_batch() -> None:
    """Two requests of one batch and one of another stage that began at the same moment; a request that was refused is
    left out; batches come in the order in which they began.
    """
    traced = [
        *entries(7, "b", computed(2.5, 3.0, 4.0)),
        *entries(5, "a", computed(2.0, 3.0, 4.25)),
        *entries(8, "a", computed(2.9, 3.0, 5.0), "recognise"),
        *entries(9, "c", {"QUEUE_START": 3.0}),
        *entries(3, "z", computed(0.5, 1.0, 2.0)),
    ]
    assert executions_of(traced) == [
        Execution("detect", ("z",), (0.5,), 1.0, 2.0),
        Execution("detect", ("b", "a"), (2.5, 2.0), 3.0, 4.25),
        Execution("recognise", ("a",), (2.9,), 3.0, 5.0),
    ]
    assert [(e.size, e.seconds) for e in executions_of(traced)] == [(1, 1.0), (2, 1.25), (1, 2.0)]


def test_a_request_may_be_spread_over_files(tmp_path: Path) -> None:
    """What Triton wrote to several files, in the middle of a request, is one trace."""
    traced = entries(1, "a", computed(1.0, 2.0, 3.0))
    for part, some in enumerate((traced[:2], traced[2:3], traced[3:])):
        (tmp_path / f"{TRACES}.{part}").write_text(json.dumps(some))
    assert read_executions(tmp_path / TRACES) == [Execution("detect", ("a",), (1.0,), 2.0, 3.0)]


def test_no_server_no_tracing() -> None:
    """The error says what was asked of which server."""
    with pytest.raises(PlatformError, match="cannot trace requests"):
        switch_tracing("http://127.0.0.1:9", on=True)


@pytest.mark.triton
def test_a_server_tells_its_batches_once_it_is_asked(toy_repository: Path, tmp_path: Path) -> None:
    """Nothing is written before; then every request is in a batch, with its id, and a batch takes the 2 ms that the toy
    takes; everything is there as soon as tracing is off.
    """
    tensors = [{"name": n, "shape": [1, 1], "datatype": "INT32", "data": [1]} for n in ("number", "trace")]
    bodies = [Message({"id": f"request-{k}", "inputs": tensors}).body() for k in range(BATCHES * SIZE)]
    with TritonServer(toy_repository, tmp_path, models=("double",)) as server:
        for traced in (False, True):
            if traced:
                switch_tracing(server.http_url, on=True)
            with Clients(server.http_url, "double", bodies, SIZE, time.monotonic() + 30) as clients:
                for _ in range(BATCHES):
                    clients.batch()
            if not traced:
                assert not list(tmp_path.glob(f"{TRACES}*"))
        switch_tracing(server.http_url, on=False)
        executions = read_executions(tmp_path / TRACES)
    assert sorted(id for e in executions for id in e.ids) == sorted(f"request-{k}" for k in range(BATCHES * SIZE))
    assert {e.stage for e in executions} == {"double"}
    assert all(e.seconds >= 0.002 and max(e.queued) <= e.began for e in executions)
