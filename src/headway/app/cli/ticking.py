"""A clock for bars of work that does not say how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ticking(tell: Callable[[float], None], every_s: float = 0.2) -> Iterator[None]:
    """Tell somebody again and again how many seconds the `with` block has run."""
    ended, start_s = threading.Event(), time.monotonic()

    def tick() -> None:
        while not ended.wait(every_s):
            tell(time.monotonic() - start_s)

    thread = threading.Thread(target=tick, name="ticking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
