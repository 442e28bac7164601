"""The queue of a stage: capacity, order, patience, and nothing lost when somebody gives up."""

from __future__ import annotations

import asyncio

import pytest

from ipa_seldon.gateway.protocol import FaultError
from ipa_seldon.gateway.queues import StageQueue

PATIENT = 60.0


async def test_the_earliest_deadline_is_next() -> None:
    """However they arrived, waiting requests enter by deadline; equal ones in order of arrival."""
    order = [("late", 9.0), ("first", 1.0), ("tie-a", 5.0), ("tie-b", 5.0)]
    assert await entered([(name, deadline, None) for name, deadline in order]) == ["first", "tie-a", "tie-b", "late"]


async def test_a_rank_takes_the_place_of_the_deadline() -> None:
    """Where it is stated, requests enter by it, whatever their deadlines."""
    assert await entered([("c", 1.0, 3.0), ("a", 9.0, 1.0), ("b", 2.0, 2.0)]) == ["a", "b", "c"]


async def entered(arrivals: list[tuple[str, float, float | None]]) -> list[str]:
    """In which order requests (name, deadline, rank) enter that have all waited for the one before them."""
    queue, names = StageQueue(1), []
    first = await queue.enter(0.0, PATIENT)

    async def wait(name: str, deadline: float, rank: float | None) -> None:
        place = await queue.enter(deadline, PATIENT, rank)
        names.append(name)
        queue.leave(place)

    async with asyncio.TaskGroup() as tasks:
        for arrival in arrivals:
            tasks.create_task(wait(*arrival))
        await asyncio.sleep(0)
        queue.leave(first)
    return names


async def test_never_more_inside_than_the_capacity() -> None:
    """200 requests through a queue of 3: at most 3 inside at once, all served; a larger capacity takes effect."""
    queue, inside, most = StageQueue(3), 0, 0

    async def pass_through() -> None:
        nonlocal inside, most
        place = await queue.enter(1.0, PATIENT)
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        queue.leave(place)

    await asyncio.gather(*(pass_through() for _ in range(200)))
    assert most == 3
    queue.capacity, most = 5, 0
    await asyncio.gather(*(pass_through() for _ in range(50)))
    assert most == 5


async def test_who_gives_up_leaves_no_hole() -> None:
    """Time-outs and cancellations neither block a turn nor use one up."""
    queue = StageQueue(1)
    first = await queue.enter(0.0, PATIENT)
    with pytest.raises(TimeoutError):
        await queue.enter(1.0, 0.001)
    with pytest.raises(TimeoutError):
        await queue.enter(1.0, -1.0)
    cancelled = asyncio.create_task(queue.enter(1.0, PATIENT))
    cancelled_as_it_enters = asyncio.create_task(queue.enter(2.0, PATIENT))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    queue.leave(first)
    cancelled_as_it_enters.cancel()
    await asyncio.wait([cancelled_as_it_enters])
    queue.leave(await asyncio.wait_for(queue.enter(3.0, PATIENT), 5))
    assert queue.size == 0


async def test_what_comes_before_a_deadline_is_ahead_of_it() -> None:
    """Those inside, and those that wait with an earlier or the same deadline; who gave up is not counted any more."""
    queue = StageQueue(1)
    await queue.enter(9.0, PATIENT)
    waiting = [asyncio.create_task(queue.enter(deadline, PATIENT)) for deadline in (8.0, 5.0)]
    await asyncio.sleep(0)
    assert [queue.ahead(deadline) for deadline in (4.0, 5.0, 7.0, 8.0)] == [1, 2, 2, 3]
    assert queue.size == 3
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert queue.size == queue.ahead(9.0) == 1


async def test_who_waits_for_a_batch_is_known_by_its_deadline() -> None:
    """All but as many as are computed at once: of those inside, the ones that have been there for longest."""
    queue = StageQueue(3)
    places = [await queue.enter(deadline, PATIENT) for deadline in (9.0, 1.0, 8.0)]
    waiting = asyncio.create_task(queue.enter(5.0, PATIENT))
    await asyncio.sleep(0)
    assert queue.deadlines(2) == [8.0, 5.0]
    assert queue.deadlines(0) == [9.0, 1.0, 8.0, 5.0]
    queue.leave(places[0])
    assert queue.deadlines(2) == [5.0]
    places.append(await waiting)
    for place in places[1:]:
        queue.leave(place)
    assert queue.deadlines(0) == []


async def test_who_waits_can_be_sent_away() -> None:
    """Those that wait get the fault in place of their turn, those inside stay, and the queue works on."""
    queue = StageQueue(1)
    first = await queue.enter(1.0, PATIENT)
    waiting = [asyncio.create_task(queue.enter(2.0, PATIENT)) for _ in range(3)]
    given_up = asyncio.create_task(queue.enter(2.0, PATIENT))
    await asyncio.sleep(0)
    given_up.cancel()
    queue.expel("the server is gone")
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(end) for end in ends] == ["the server is gone"] * 3
    assert all(isinstance(end, FaultError) for end in ends)
    assert queue.size == 1
    queue.leave(first)
    await asyncio.wait_for(queue.enter(3.0, PATIENT), 5)
