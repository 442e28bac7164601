"""Work in parallel processes that share nothing, so that any number of them gives the same results."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import active_children, get_context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ipa_seldon.errors import IpaSeldonError

PERIOD = 0.2
"""Seconds between two looks at how far the work is."""
Item = TypeVar("Item")
Result = TypeVar("Result")
Note = Callable[[float], None]
"""Hears how far an item is, from 0 to 1."""
_shared: dict[str, Any] = {}


def in_processes(
    work: Callable[[Item, Note], Result],
    items: Sequence[Item],
    jobs: int,
    tell: Callable[[Sequence[float]], None] | None = None,
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """``work`` on each of ``items``, ``jobs`` at a time; each as it ends, well or not. When the caller stops, so do the
    processes. ``tell`` hears now and then how far each item is.
    """
    if not items:
        return
    before = active_children()
    # Spawned rather than forked: the parent has threads (progress, the pool's own), and forks of those can deadlock.
    context = get_context("spawn")
    progress = context.Array("d", len(items))
    pool = ProcessPoolExecutor(min(jobs, len(items)), context, _share, (progress,))
    try:
        # Not wait(): interrupted, it may keep the locks of futures, and the pool would wait for them for ever.
        ended: SimpleQueue[Future[Result]] = SimpleQueue()
        with _interrupts_ignored():
            futures = {pool.submit(_run, work, item, place): item for place, item in enumerate(items)}
            for future in futures:
                future.add_done_callback(ended.put)
        while futures:
            one = None
            with suppress(Empty):
                one = ended.get(timeout=PERIOD if tell else None)
            if tell:
                tell(progress[:])
            if one is not None:
                yield futures.pop(one), one
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children():
            if process not in before:
                process.terminate()
        raise


def words_of(error: BaseException) -> str:
    """What ended an item, in one line."""
    words = (str(error).splitlines() or [""])[0]
    return words if isinstance(error, IpaSeldonError) else f"{type(error).__name__}: {words}"


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that start here ignore Ctrl-C from their first moment on: it reaches all of a terminal's processes, and
    the parent decides for them.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _share(progress: Any) -> None:
    """In a process of the pool, before its first item."""
    _shared["progress"] = progress


def _run(work: Callable[[Item, Note], Result], item: Item, place: int) -> Result:
    return work(item, partial(_shared["progress"].__setitem__, place))
