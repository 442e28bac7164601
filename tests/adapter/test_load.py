"""A pipeline's load out of the gateway that its clients come through, a real process."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import pytest

from ipa_seldon.adapter.load import GatewayLoad
from ipa_seldon.asgi import listen, serving
from ipa_seldon.errors import LoadError, LoadReason
from ipa_seldon.gateway.client import GatewayClient
from ipa_seldon.gateway.process import GatewayProcess
from tests.factories import TOY_PIPELINE
from tests.gateway.test_gateway_graph import Stages, post, request_body
from tests.prometheus.servers import answering

SECONDS = 60


async def test_a_gateway_tells_load_queue_and_missed_slos(tmp_path: Path) -> None:
    """Arrivals as they were, NaN before it began; what is left of the requests that wait, and with what those came; and
    of the requests that arrived, which share has missed the SLO. What it does not answer is told apart.
    """
    stages = Stages(gates={"double": asyncio.Event()})
    (tmp_path / "pipeline.yaml").write_text(TOY_PIPELINE)
    async with serving(stages.app(), listen("127.0.0.1", 0), 5.0) as triton:
        with GatewayProcess(tmp_path / "pipeline.yaml", triton) as gateway:
            load = GatewayLoad(GatewayClient(gateway.url + "/"), SECONDS)
            assert await asyncio.to_thread(load.violations, time.time()) is None
            left = {"Ipa-Remaining-Slo": "5"}
            waiting = [asyncio.create_task(post(gateway.url, request_body(), headers=left)) for _ in range(3)]
            await stages.wait_for(2)
            late = await post(gateway.url, request_body(), headers={"Ipa-Remaining-Slo": "0"})
            assert late[0] == 504
            backlog = await asyncio.to_thread(load.backlog)
            assert len(backlog.remaining_slo) == 2
            assert backlog.budgets[0] <= 0 < max(backlog.remaining_slo) < backlog.budgets[-1] <= 5
            stages.gates["double"].set()
            assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200] * 3
            second = int(time.time())
            while int(time.time()) == second:
                await asyncio.sleep(0.02)
            arrivals, fault = await asyncio.to_thread(load.arrivals, time.time())
            assert fault is None
            assert len(arrivals) == SECONDS
            assert math.isnan(arrivals[0])
            assert sum(count for count in arrivals if not math.isnan(count)) == 4
            assert await asyncio.to_thread(load.violations, time.time()) == 0.25
    for status, body, reason in (
        (500, b"{}", LoadReason.SERVER_ERROR),
        (404, b"{}", LoadReason.CLIENT_ERROR),
        (200, b"<html>", LoadReason.INVALID_ANSWER),
        (200, b"[]", LoadReason.INVALID_ANSWER),
        (200, b'{"end": 0, "counts": ["x"], "missed": []}', LoadReason.INVALID_ANSWER),
    ):
        with answering(status, body) as asked, pytest.raises(LoadError, match=r"^the gateway at .* its arriv") as odd:
            GatewayLoad(GatewayClient(asked.url), SECONDS).arrivals(time.time())
        assert odd.value.reason is reason
    for ask in (lambda: load.arrivals(time.time()), lambda: load.violations(time.time()), load.backlog):
        with pytest.raises(LoadError, match=r"^the gateway at http://127\.0\.0\.1") as gone:
            ask()
        assert gone.value.reason is LoadReason.UNREACHABLE
