"""Do many things at once in processes of this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from headway.core.errors import EngineError

T = TypeVar("T")
R = TypeVar("R")

NUM_AHEAD = 2
"""Tasks handed out per worker, so that none waits for the next while the others are not all sent at once."""


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(do: Callable[[T], R], tasks: Iterable[T], num_workers: int) -> Iterator[tuple[int, R]]:
    """Do every task in one of some processes; yields its place among the tasks and its result, as they come.

    Parameters
    ----------
    do : callable of (task) -> result
        At the top of a module, so that another process finds it.
    tasks : iterable
        Plain data; taken one by one when a process is about to be free for it.
    num_workers : int
        How many processes, >= 1. They end when the caller stops listening, or ends.

    Raises
    ------
    EngineError
        When a process dies, as for want of memory.
    """
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), initializer=_begin)
    finished = False
    try:
        yield from _as_they_come(pool, do, tasks, NUM_AHEAD * num_workers)
        finished = True
    except BrokenProcessPool as error:
        raise EngineError("sweep: a worker process died. Is there enough memory? Try fewer --workers.") from error
    finally:
        if not finished:  # nobody waits for what is under way
            for worker in set(multiprocessing.active_children()) - before:
                worker.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _as_they_come(
    pool: ProcessPoolExecutor, do: Callable[[T], R], tasks: Iterable[T], num_ahead: int
) -> Iterator[tuple[int, R]]:
    todo = iter(enumerate(tasks))
    under_way: dict[Future[R], int] = {}
    while True:
        for place, task in itertools.islice(todo, num_ahead - len(under_way)):
            under_way[pool.submit(do, task)] = place
        if not under_way:
            return
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=under_way.__getitem__):
            yield under_way.pop(future), future.result()


def _begin() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
