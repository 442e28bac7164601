"""Leader election: one acts, another takes over, and whoever cannot renew stops in time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ipa_seldon.cluster.api import CONFIG_MAPS, ApiError
from ipa_seldon.cluster.lease import DURATION, TRUSTED, Lease
from tests.cluster.emulator import Emulator
from tests.cluster.world import door


class Clock:
    """Turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lease(kubeconfig: Path, identity: str, clock: Clock) -> Lease:
    """A candidate's."""
    return Lease(door(kubeconfig), "adapter", identity, clock)


def test_one_holds_it_and_keeps_it(emulator: Emulator, kubeconfig: Path) -> None:
    """The first takes the lease, renews it for as long as it likes, and the second stands by all the while."""
    clock = Clock()
    first, second = lease(kubeconfig, "a", clock), lease(kubeconfig, "b", clock)
    for _ in range(30):
        first.round()
        second.round()
        assert (first.held, second.held) == (True, False)
        clock.now += 2
    spec = emulator.object("leases", "adapter")["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", DURATION, 0)
    assert spec["renewTime"] >= spec["acquireTime"]


def test_a_dead_holders_lease_is_taken_after_it_has_run_out(emulator: Emulator, kubeconfig: Path) -> None:
    """Not a moment earlier than its duration after the last renewal seen, and long after the dead one would have
    stopped acting by itself.
    """
    clock = Clock()
    first, second = lease(kubeconfig, "a", clock), lease(kubeconfig, "b", clock)
    first.round()
    second.round()
    begin = clock.now
    while not second.held:
        clock.now += 0.5
        second.round()
        assert not (first.held and second.held)
    assert DURATION < clock.now - begin <= DURATION + 1
    assert TRUSTED < DURATION
    assert emulator.object("leases", "adapter")["spec"]["leaseTransitions"] == 1
    first.round()
    assert not first.held


def test_a_released_lease_is_free_at_once(kubeconfig: Path) -> None:
    """The next candidate need not wait; releasing what one does not hold changes nothing."""
    clock = Clock()
    first, second = lease(kubeconfig, "a", clock), lease(kubeconfig, "b", clock)
    first.round()
    second.release()
    second.round()
    assert not second.held
    first.release()
    assert not first.held
    second.round()
    assert second.held


def test_without_an_answer_the_holder_stops_by_itself(emulator: Emulator, kubeconfig: Path) -> None:
    """The API server is away: no renewal, and TRUSTED seconds after the last one the holder may not act any more."""
    clock = Clock()
    held = lease(kubeconfig, "a", clock)
    held.round()
    emulator.fail(100, resource="leases", cut=True)
    with pytest.raises(ApiError, match="no answer"):
        held.round()
    assert held.held
    clock.now += TRUSTED
    assert not held.held


def test_a_race_has_one_winner(kubeconfig: Path) -> None:
    """Eight candidates at once for no lease, then for one that has run out: one of them holds it each time."""
    clock = Clock()
    candidates = [lease(kubeconfig, str(index), clock) for index in range(8)]
    for _ in range(3):
        threads = [threading.Thread(target=candidate.round) for candidate in candidates]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(candidate.held for candidate in candidates) == 1
        clock.now += DURATION + 1
        assert not any(candidate.held for candidate in candidates)


def test_who_does_not_hold_it_cannot_write(emulator: Emulator, kubeconfig: Path) -> None:
    """The door itself stops a write that is still under way when the lease is lost: nothing is sent."""
    clock = Clock()
    held = lease(kubeconfig, "a", clock)
    guarded = door(kubeconfig, may_write=lambda: held.held)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}}
    with pytest.raises(ApiError, match="not sent: another adapter holds the lease"):
        guarded.create(CONFIG_MAPS, body)
    held.round()
    guarded.create(CONFIG_MAPS, body)
    clock.now += TRUSTED
    emulator.clear_calls()
    with pytest.raises(ApiError, match="not sent"):
        guarded.patch(CONFIG_MAPS, "x", {"data": {"a": "2"}})
    assert guarded.get(CONFIG_MAPS, "x") is not None
    assert [call.verb for call in emulator.calls] == ["get"]
