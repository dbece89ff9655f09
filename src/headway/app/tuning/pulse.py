"""A pulse: whoever waits for it wakes when it beats."""

from __future__ import annotations

import asyncio


class Pulse:
    """Wakes all who wait; who looks at `next` before it reads what it waits for misses nothing.

    Examples
    --------
    ::

        beat = pulse.next
        look_at_everything()
        await beat.wait()
    """

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def beat(self) -> None:
        """Wake all who wait."""
        before, self.next = self.next, asyncio.Event()
        before.set()
