"""Hooks of pytest and of pytest-xdist by which workers share the tests. Those that need the machine for themselves are
marked ``alone``: they come last, one after the other, when all others have ended.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

MARK = "alone"
NAMED = f"@{MARK}"
"""In the name of a test that is alone: all that a scheduler sees of a test is its name."""
FIRST = frozenset({"triton", "prometheus", "browser"})
"""Marks of tests that take long. They come first: what is short comes to its end in all workers at the same time."""


@pytest.hookimpl(trylast=True)  # at the end of the name, after parameters of the test's own
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Name tests that are alone."""
    if metafunc.definition.get_closest_marker(MARK):
        metafunc.fixturenames.append(MARK)
        metafunc.parametrize(MARK, [True], ids=[NAMED])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: tests that take long first, those that are alone last."""

    def rank(item: pytest.Item) -> int:
        marks = {mark.name for mark in item.iter_markers()}
        return 2 if MARK in marks else 0 if marks & FIRST else 1

    if hasattr(config, "workerinput"):
        items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)  # there is none without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> AloneLast | None:
    """Ours, unless another one is asked for."""
    return AloneLast(config, log) if config.getoption("dist") == "loadfile" else None


class AloneLast(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist states no types
    """Gives workers whole files, since the tests of a file share servers. Those that are alone are left to one worker,
    once the others have ended, and with them whatever they had started.
    """

    def _split_scope(self, nodeid: str) -> str:
        return NAMED if nodeid.endswith(f"{NAMED}]") else str(super()._split_scope(nodeid))

    def _assign_work_unit(self, node: WorkerController) -> None:
        others = [other for other in self.nodes if other is not node]
        if not others or next(iter(self.workqueue)) != NAMED:
            super()._assign_work_unit(node)
        elif not all(other.shutting_down for other in others):
            node.shutdown()
        # Else it is the last one, and its turn comes when the others have ended.

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker has ended, for which another one may be waiting. Returns the test that it crashed in, if it did."""
        crashed: str | None = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed
