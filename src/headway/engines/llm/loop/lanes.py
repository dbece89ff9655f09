"""Steps side by side: forward passes in threads of their own, over one model and one KV memory.

A step's share is that of the threads it computes with, at least one. Shares that add up to more than the whole have
more threads than there are cores, and the operating system shares these out. Everything but the forward pass (books,
sampling, news) stays in the engine's own thread, so that nothing has to be locked. On a GPU the passes follow each
other, for there are no streams of their own here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from headway.core.clock import Clock
from headway.core.nouns import Id, Seconds
from headway.engines.llm.loop.lineup import Lineup
from headway.engines.llm.loop.stepping import Stepper
from headway.engines.llm.messages import Cancel
from headway.policies.serving.lanes import MAX_LANES
from headway.policies.serving.nouns import Step

if TYPE_CHECKING:
    from torch import Tensor


class Flight:
    """A step under way in a lane.

    Attributes
    ----------
    step : Step
        The step.
    start_s : float
        When it began.
    num_runs : int
        How often it has been run.
    lineup : Lineup
        Of the present run.
    cut : bool
        Whether it ends with the present run.
    cancels : list of Cancel
        What has come for requests that it computes; to be heard once it is over.
    logits : Tensor or None
        What the present run came to.
    error : Exception or None
        Why it came to nothing.
    """

    __slots__ = ("cancels", "cut", "error", "lineup", "logits", "names", "num_runs", "start_s", "step")

    def __init__(self, step: Step, start_s: Seconds, lineup: Lineup) -> None:
        self.step = step
        self.start_s = start_s
        self.num_runs = 0
        self.lineup = lineup
        self.names = frozenset([piece.request for piece in step.pieces])
        self.cut = False
        self.cancels: list[Cancel] = []
        self.logits: Tensor | None = None
        self.error: Exception | None = None


class Lanes:
    """Runs steps in threads, and tells when a run is over.

    Parameters
    ----------
    stepper : Stepper
        Lines steps up, and says what came of them.
    clock : Clock
        Real time.
    """

    def __init__(self, stepper: Stepper, clock: Clock) -> None:
        self._stepper = stepper
        self._clock = clock
        self._flights: list[Flight] = []
        self._landed: deque[Flight] = deque()
        self._bell = asyncio.Event()
        self._workers: ThreadPoolExecutor | None = None
        self._num_threads = 1

    def begin(self, step: Step) -> None:
        """Run a step that the board has accepted."""
        flight = Flight(step, self._clock.now_s(), self._stepper.prepare(step))
        self._flights.append(flight)
        self._send_off(flight)

    def again(self, flight: Flight) -> None:
        """Run a step once more; the board has given it memory."""
        flight.lineup = self._stepper.prepare(flight.step, flight.lineup)
        self._send_off(flight)

    def end(self, flight: Flight) -> None:
        """Note that a step is over; what another repeats ends with its present run, for it may have waited for this."""
        self._flights.remove(flight)
        for other in self._flights:
            other.cut = True

    def of(self, request: Id) -> Flight | None:
        """Return the step under way that computes a request."""
        return next((flight for flight in self._flights if request in flight.names), None)

    def landed(self) -> Flight | None:
        """Take out a step of which a run is over; None when there is none."""
        return self._landed.popleft() if self._landed else None

    async def rung(self) -> None:
        """Wait until a run is over."""
        self._bell.clear()
        if not self._landed:
            await self._bell.wait()

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        if self._workers is not None:
            self._workers.shutdown()

    def _send_off(self, flight: Flight) -> None:
        if self._workers is None:
            import torch

            self._workers = ThreadPoolExecutor(MAX_LANES, thread_name_prefix="lane")
            self._num_threads = torch.get_num_threads()
        num_threads = max(1, round(flight.step.share * self._num_threads))
        ring = asyncio.get_running_loop().call_soon_threadsafe
        self._workers.submit(self._compute, flight, num_threads, ring)

    def _compute(self, flight: Flight, num_threads: int, ring: Callable[[Callable[[], None]], object]) -> None:
        """Run the model, in a worker's thread."""
        import torch

        try:
            if torch.get_num_threads() != num_threads:  # each thread has a number of its own
                torch.set_num_threads(num_threads)
            flight.logits, flight.error = self._stepper.compute(flight.lineup), None
        except Exception as error:
            flight.logits, flight.error = None, error
        self._landed.append(flight)
        ring(self._bell.set)
