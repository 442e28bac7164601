"""Which model of a set a request is sent to, by turn, health and queue."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from ipa_seldon.gateway.dispatch import Table
from ipa_seldon.gateway.dispatcher import Dispatcher
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.models import Model
from ipa_seldon.gateway.protocol import RefusedError
from ipa_seldon.gateway.queues import Place

GRAPH = Graph("one", ("a", "b"), (("a", "b"),), 1.0, {"a": {"1": "light", "2": "heavy"}})
DEADLINE = 100.0


def set_of(table: Table) -> tuple[Dispatcher, dict[str, Model]]:
    """A dispatcher by ``table``, and the models of stage a by version."""
    dispatcher = Dispatcher(GRAPH)
    dispatcher.replace(table)
    return dispatcher, {model.version: model for model in dispatcher.models() if model.name.startswith("a")}


def chosen(dispatcher: Dispatcher, count: int, wait: float = math.inf, deadline: float = DEADLINE) -> Counter[str]:
    """The models that ``count`` requests are sent to, each of which can wait so long, by name."""
    return Counter(dispatcher.choose("a", deadline, lambda model: wait).name for _ in range(count))


async def filled(model: Model, requests: int, deadline: float = DEADLINE) -> list[Place]:
    """Fill a model's queue with requests of a deadline, as far as they fit into it without waiting."""
    return [await model.queue.enter(deadline, 1.0) for _ in range(requests)]


def test_a_stage_without_a_table_is_a_model_of_its_name() -> None:
    """As it is with every stage at first, and again when its table goes."""
    dispatcher, _ = set_of({})
    assert chosen(dispatcher, 3) == {"a": 3}
    dispatcher.replace({"a": {"1": 1.0}})
    assert chosen(dispatcher, 3) == {"a.1": 3}
    dispatcher.replace({})
    assert chosen(dispatcher, 3) == {"a": 3}


def test_weights_change_from_one_request_to_the_next() -> None:
    """After a new table not a single request goes by the old one."""
    dispatcher, _ = set_of({"a": {"1": 1, "2": 1}})
    assert chosen(dispatcher, 10) == {"a.1": 5, "a.2": 5}
    dispatcher.replace({"a": {"2": 1}})
    assert chosen(dispatcher, 10) == {"a.2": 10}
    dispatcher.replace({"a": {"1": 9, "2": 1}})
    assert chosen(dispatcher, 10) == {"a.1": 9, "a.2": 1}


async def test_a_queue_that_is_too_long_is_passed_by() -> None:
    """Requests that would wait too long go where the wait is shortest; without that need every turn stands."""
    dispatcher, models = set_of({"a": {"1": 1, "2": 1}})
    for model in models.values():
        model.seconds = 0.1
    models["1"].resize(4)
    models["2"].resize(2)
    await filled(models["1"], 8)
    assert models["1"].expected_wait(DEADLINE) == pytest.approx(0.2)
    assert chosen(dispatcher, 10, wait=0.15) == {"a.2": 10}
    assert chosen(dispatcher, 10, wait=0.25) == {"a.1": 5, "a.2": 5}
    await filled(models["2"], 4)
    assert chosen(dispatcher, 10, wait=0.15) == {"a.1": 5, "a.2": 5}, "none can serve it in time: the turns stand"


async def test_zero_weights_and_the_unhealthy_are_no_way_out() -> None:
    """A request goes by a long queue only to those that share the load, and are healthy."""
    dispatcher, models = set_of({"a": {"1": 1, "2": 0}})
    models["1"].seconds = 1.0
    await filled(models["1"], 2)
    assert chosen(dispatcher, 3, wait=0.5) == {"a.1": 3}
    dispatcher.replace({"a": {"1": 1, "2": 1}})
    models["2"].healthy = False
    assert chosen(dispatcher, 3, wait=0.5) == {"a.1": 3}
    models["2"].healthy = True
    assert chosen(dispatcher, 3, wait=0.5) == {"a.2": 3}


async def test_a_failed_model_is_tried_one_request_at_a_time() -> None:
    """Once it is ready again it gets one request, and its share when it has answered it; failing, it is asked ever more
    seldom whether it is ready.
    """
    dispatcher, models = set_of({"a": {"1": 1, "2": 1}})
    model = models["1"]
    looks = []
    for _ in range(8):
        model.failed()
        assert chosen(dispatcher, 4) == {"a.2": 4}
        looks.append(next(look for look in itertools.count(1) if model.due()))
        model.healthy = True
    assert looks == [1, 2, 4, 8, 16, 32, 32, 32]
    assert set(chosen(dispatcher, 4)) == {"a.1", "a.2"}
    await filled(model, 1)
    assert chosen(dispatcher, 4) == {"a.2": 4}
    model.answered()
    assert set(chosen(dispatcher, 4)) == {"a.1", "a.2"}


async def test_what_is_under_way_is_told_until_it_is_done() -> None:
    """A version that left the table is in the report as long as a request is with it."""
    dispatcher, models = set_of({"a": {"1": 0.5, "2": 0.5}})
    (place,) = await filled(models["1"], 1)
    dispatcher.replace({"a": {"2": 1.0}})
    told = dispatcher.report()
    assert told["a"]["1"] == {"weight": 0.0, "in_flight": 1, "healthy": True}
    assert told["a"]["2"] == {"weight": 1.0, "in_flight": 0, "healthy": True}
    assert told["b"] == {"*": {"weight": 1.0, "in_flight": 0, "healthy": True}}
    models["1"].queue.leave(place)
    assert set(dispatcher.report()["a"]) == {"2"}


async def test_deadlines_of_all_models_are_known() -> None:
    """Of those that share the requests now and of those that did before, as many left out as each computes at once."""
    dispatcher, models = set_of({"a": {"1": 0.5, "2": 0.5}})
    await filled(models["1"], 2, 5.0)
    await filled(models["2"], 2, 7.0)
    dispatcher.replace({"a": {"2": 1.0}})
    assert sorted(dispatcher.deadlines()) == [5.0, 7.0]
    models["2"].resize(2)
    assert sorted(dispatcher.deadlines()) == [5.0]


def test_a_version_can_be_asked_for() -> None:
    """The client's choice goes to that version's model; one that the set lacks is refused with those it has."""
    dispatcher, models = set_of({"a": {"1": 1, "2": 0}})
    assert dispatcher.named("a", "2") is models["2"]
    assert dispatcher.named("b", "7").path("7") == "/v2/models/b/versions/7"
    with pytest.raises(RefusedError, match="version 3 is not served; accepted: 1, 2"):
        dispatcher.named("a", "3")
