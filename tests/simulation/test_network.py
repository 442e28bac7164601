"""The network before the server: transfer times, sizes, patterns, and what the server sees of the requests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipa_seldon.errors import ConfigError
from ipa_seldon.pipeline import Stage
from ipa_seldon.simulation.network import (
    DEVIATION,
    LEAST,
    MEAN,
    MOST,
    PATTERNS,
    Network,
    pattern_bandwidth,
    sizes_of,
    transfer_times,
)
from ipa_seldon.simulation.physics import Drop, Physics
from ipa_seldon.simulation.pipeline import SimulatedPipeline
from tests.simulation.stages import one, pipeline, variant

Floats = NDArray[np.float64]


def transfer(bandwidth: list[float], sent: float, size: float) -> float:
    """Seconds that one request takes."""
    return float(transfer_times(np.array(bandwidth), np.array([sent]), np.array([size]))[0])


@pytest.mark.parametrize(
    ("bandwidth", "sent", "size", "seconds"),
    [
        ([100.0], 0.0, 50.0, 0.5),  # within the first second
        ([100.0, 50.0], 0.5, 50.0, 0.5),  # up to the very end of it
        ([100.0, 50.0], 0.5, 75.0, 1.0),  # 50 bytes at 100 bytes/s, then 25 at 50
        ([100.0, 0.0, 0.0, 10.0], 0.9, 15.0, 2.6),  # 10 bytes, two seconds of nothing, 5 bytes
        ([100.0, 0.0, 0.0, 10.0], 0.9, 10.0, 0.1),  # over before the silence, not after it
        ([100.0, 0.0, 0.0, 10.0], 1.25, 1.0, 1.85),  # sent into the silence
        ([0.0, 0.0, 20.0], 0.0, 10.0, 2.5),  # silence at the start
        ([100.0, 50.0], 1.5, 45.0, 0.7),  # from the end to the start
        ([100.0, 50.0], 7.5, 45.0, 0.7),  # three times through before
        ([100.0, 50.0], 0.0, 150.0, 2.0),  # a whole time through
        ([100.0, 50.0], 0.0, 350.0, 4.5),  # more than twice through
        ([10.0, 0.0], 0.0, 10.0, 1.0),  # a whole time through, over before the silence at its end
        ([10.0, 0.0], 1.0, 10.0, 2.0),
    ],
)
def test_transfers_worked_by_hand(bandwidth: list[float], sent: float, size: float, seconds: float) -> None:
    """A request takes until as many bytes as it has could pass from its sending on, second by second, over again."""
    assert transfer(bandwidth, sent, size) == pytest.approx(seconds, abs=1e-12)


@settings(deadline=None)
@given(
    bandwidth=st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any),
    sent=st.integers(0, 2000),
    size=st.integers(1, 500),
)
def test_transfers_equal_what_passes_step_by_step(bandwidth: list[int], sent: int, size: int) -> None:
    """Counted a hundredth of a second at a time: at the end of a transfer all of its bytes have passed, and until a
    hundredth before they have not.
    """
    seconds = transfer([float(rate) for rate in bandwidth], sent / 100, float(size))
    passed, step = 0, sent  # hundredths of bytes, hundredths of seconds
    while passed < 100 * size:
        passed += bandwidth[step // 100 % len(bandwidth)]
        step += 1
    assert seconds <= (step - sent) / 100 + 1e-9
    assert seconds > (step - 1 - sent) / 100 - 1e-9


def test_transfers_of_many_requests_are_those_of_each() -> None:
    """Requests do not share the bandwidth: all at once each takes as long as alone."""
    bandwidth = pattern_bandwidth("4g-bus", 60, seed=1)
    rng = np.random.default_rng(0)
    times, sizes = rng.uniform(0, 200, 50), rng.uniform(1e5, 5e5, 50)
    alone = [transfer(bandwidth.tolist(), *one) for one in zip(times, sizes, strict=True)]
    assert transfer_times(bandwidth, times, sizes) == pytest.approx(np.array(alone))


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("200KB", [(200e3, 200e3, 1.0)]),
        ("1.5MB, 64 KiB", [(1.5e6, 1.5e6, 1.0), (65536.0, 65536.0, 1.0)]),
        ("100KB-500KB", [(100e3, 500e3, 1.0)]),
        ("500B-1MiB:2,7B:0.5", [(500.0, 1048576.0, 2.0), (7.0, 7.0, 0.5)]),
    ],
)
def test_sizes_are_read(text: str, ranges: list[tuple[float, float, float]]) -> None:
    """Fixed sizes, ranges and choices with weights, in units of 1000 and 1024."""
    assert [(size.least, size.most, size.weight) for size in sizes_of(text)] == ranges


@pytest.mark.parametrize(
    "text",
    ["", "big", "200", "0KB", "-5KB", "5GB", "2KB,", "500KB-100KB", "200-500KB", "2KB:0", "2KB:x", "9" * 400 + "B"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """One line with the part that is wrong and what is accepted."""
    with pytest.raises(ConfigError, match=r"size: .*: accepted: bytes above 0 such as 200KB") as refused:
        sizes_of(text)
    assert "\n" not in str(refused.value)


def sizes_sent(text: str, count: int, seed: int) -> Floats:
    """The sizes of requests: over a network of 1 MB/s all along, megabytes are seconds."""
    return 1e6 * Network(np.array([1e6]), sizes_of(text)).transfers(np.zeros(count), seed)


def test_sizes_are_drawn_by_weight() -> None:
    """A weight of 3 beside 1 is three quarters; a range is drawn evenly; another seed draws others."""
    drawn = sizes_sent("200KB:3,500KB-900KB", 20_000, seed=1).round(6)
    small = drawn == 200e3
    assert small.mean() == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 20_000) ** 0.5)
    assert 500e3 <= drawn[~small].min() < 510e3
    assert 890e3 < drawn[~small].max() <= 900e3
    assert drawn[~small].mean() == pytest.approx(700e3, rel=0.01)
    assert np.array_equal(drawn, sizes_sent("200KB:3,500KB-900KB", 20_000, seed=1).round(6))
    assert not np.array_equal(drawn, sizes_sent("200KB:3,500KB-900KB", 20_000, seed=2).round(6))


def test_requests_come_later_with_less() -> None:
    """By hand: requests come by their time on the network later, and what is left of 2 s is 2 s less that time: to the
    moment 2 s after they were sent.
    """
    network = Network(np.array([10.0, 20.0, 1000.0]), sizes_of("20B"))
    sent = np.array([0.0, 1.9, 2.0])
    requests = network.requests(sent, slo=2.0, seed=0)
    assert requests.arrivals == pytest.approx(np.array([1.5, 1.9 + 0.118, 2.02]))
    assert requests.budgets == pytest.approx(np.array([0.5, 2 - 0.118, 1.98]))
    assert requests.arrivals + requests.budgets == pytest.approx(sent + 2.0)


def test_a_small_request_overtakes_a_large_one() -> None:
    """Arrivals ascend though the network turns the order, each with its own budget."""
    network = Network(np.array([100e3]), sizes_of("1KB,90KB"))
    sent = np.linspace(0.0, 1.0, 200)
    requests = network.requests(sent, slo=0.5, seed=3)
    assert np.all(np.diff(requests.arrivals) >= 0)
    assert set(requests.budgets.round(6)) == {0.49, -0.4}  # a budget that is gone is kept as it is
    deadlines = requests.arrivals + requests.budgets
    assert np.any(np.diff(deadlines) < 0)
    assert np.sort(deadlines) == pytest.approx(sent + 0.5)


def test_the_server_serves_by_deadline() -> None:
    """Requests of two sizes before one replica that takes 0.1 s for each: of those that have come, whoever was sent
    first is served first, though others overtook it. Recomputed request by request.
    """
    network = Network(np.array([100e3]), sizes_of("1KB,90KB"))
    requests = network.requests(np.linspace(0.0, 3.0, 60), slo=5.0, seed=3)
    made = pipeline([Stage("s", (variant("light", 0.1),))])
    served = SimulatedPipeline(made, requests, Physics(Drop.NONE), seed=0)
    served.apply({"s": one("light")})
    served.finish()
    left = sorted(zip(requests.arrivals + requests.budgets, requests.arrivals, strict=True))
    clock, ends = 0.0, {}
    while left:
        clock = max(clock, min(arrival for _, arrival in left))
        first = next(request for request in left if request[1] <= clock)
        left.remove(first)
        clock += 0.1
        ends[first] = clock
    assert list(ends) != sorted(ends, key=lambda request: request[1])  # not the order of coming
    assert served.answers().finished == pytest.approx(np.array([ends[request] for request in sorted(ends)]))


@pytest.mark.parametrize("bandwidth", [[0.0, 0.0], [1e-9], [1.7e308, 1.7e308]])
def test_a_network_that_brings_nothing_over_is_refused(bandwidth: list[float]) -> None:
    """Silence for ever, requests that take years, and what is no bandwidth are one line."""
    with pytest.raises(ConfigError, match=r"network: .* accepted: what brings them over within a day"):
        Network(np.array(bandwidth), sizes_of("200KB"))


@pytest.mark.parametrize(("name", "deviation"), [("4g-bus", 1.0), ("4g-foot", 1.0), ("4g-static", 0.22**0.5)])
def test_patterns_have_the_stated_statistics(name: str, deviation: float) -> None:
    """Over 100,000 s: mean, deviation, range and autocorrelation are those of the docstring."""
    bandwidth = pattern_bandwidth(name, 100_000, seed=1)
    assert bandwidth.mean() == pytest.approx(MEAN, rel=0.01)
    assert bandwidth.std() == pytest.approx(deviation * DEVIATION, rel=0.03)
    assert LEAST <= bandwidth.min() < bandwidth.max() <= MOST
    movement, spread = PATTERNS[name], bandwidth - MEAN
    for lag in (1, 2, 5, 10):
        found = float(np.mean(spread[:-lag] * spread[lag:]) / np.mean(spread**2))
        stated = movement.slow * movement.memory**lag / (movement.slow + 0.22)
        assert found == pytest.approx(stated, abs=0.04)


def test_a_pattern_starts_anywhere() -> None:
    """The first second is as spread as any other: over seeds, not near the mean."""
    first = [pattern_bandwidth("4g-foot", 1, seed)[0] for seed in range(500)]
    assert np.std(first) == pytest.approx(DEVIATION, rel=0.15)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_seed_decides_a_pattern(name: str) -> None:
    """The same seed gives the same seconds, another one others."""
    once = pattern_bandwidth(name, 300, seed=1)
    assert once.shape == (300,)
    assert np.array_equal(once, pattern_bandwidth(name, 300, seed=1))
    assert not np.array_equal(once, pattern_bandwidth(name, 300, seed=2))


def test_an_unknown_pattern_is_refused() -> None:
    """One line that says what is accepted."""
    with pytest.raises(ConfigError, match=r"'5g': accepted: a CSV file .*, or one of 4g-bus, 4g-foot, 4g-static"):
        pattern_bandwidth("5g", 10, seed=0)
