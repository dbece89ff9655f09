"""The open loop: every request leaves at its planned time, however the server is doing."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from msgspec import Struct

from headway.app.bench.answer import Answer
from headway.app.bench.client import Client
from headway.app.bench.load import Planned
from headway.app.bench.prompts import Prompts


class Run(Struct, frozen=True, kw_only=True):
    """What one run gave.

    Parameters
    ----------
    answers : list of Answer
        One account per request that was sent, in the order of the plan.
    duration_s : float
        From the start to the last end.
    num_sent : int
        How many requests were sent.
    interrupted : bool
        Whether it was stopped before its end.
    """

    answers: list[Answer]
    duration_s: float
    num_sent: int
    interrupted: bool = False


class OpenLoop:
    """Sends a plan to a client.

    Parameters
    ----------
    client : Client
        Sends and reads.
    prompts : Prompts
        What the requests say.
    max_concurrency : int or None
        The most requests in flight, >= 1; None for no limit. With a limit the loop is no longer open.
    on_end : callable of (Answer) or None
        Told about every account as it is completed.
    """

    def __init__(
        self,
        client: Client,
        prompts: Prompts,
        max_concurrency: int | None = None,
        on_end: Callable[[Answer], None] | None = None,
    ) -> None:
        self._client = client
        self._prompts = prompts
        self._places = asyncio.Semaphore(max_concurrency) if max_concurrency else None
        self._on_end = on_end

    async def run(self, plan: Sequence[Planned]) -> Run:
        """Send all of `plan` and wait for all answers; being cancelled ends it early, with the answers so far."""
        self._start_s = time.perf_counter()
        answers: list[Answer] = []
        tasks: list[asyncio.Task[None]] = []
        interrupted = False
        with _no_pauses():
            try:
                await self._send_all(plan, answers, tasks)
                await asyncio.gather(*tasks)
            except asyncio.CancelledError:
                interrupted = True
                await _stop(tasks)
        duration_s = time.perf_counter() - self._start_s
        return Run(answers=answers, duration_s=duration_s, num_sent=len(tasks), interrupted=interrupted)

    async def _send_all(self, plan: Sequence[Planned], answers: list[Answer], tasks: list[asyncio.Task[None]]) -> None:
        for planned in plan:
            wait_s = self._start_s + planned.at_s - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif len(tasks) % 16 == 15:
                await asyncio.sleep(0)  # a burst must not keep the answers of its own first requests waiting
            answer = Answer(
                id=planned.id, slo_class=planned.slo_class, planned_s=planned.at_s, input_tokens=planned.input_tokens
            )
            answers.append(answer)
            tasks.append(asyncio.create_task(self._one(planned, answer)))

    async def _one(self, planned: Planned, answer: Answer) -> None:
        body = self._client.target.body(planned, self._prompts)
        must_wait = self._places is not None and self._places.locked()
        async with self._places or nullcontext():
            due_s = time.perf_counter() - self._start_s if must_wait else planned.at_s
            try:
                await self._client.send(body, answer, self._start_s)
            finally:
                answer.lag_s = max(0.0, answer.sent_s - due_s) if answer.sent_s else 0.0
                if self._on_end is not None:
                    self._on_end(answer)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _no_pauses() -> Iterator[None]:
    """Keep what is there already out of garbage collections: their pauses would be measured as the server's."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
