"""Sends a run to a server as its users would, and writes down what they felt."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence

from headway.app.bench.answer import Answer
from headway.app.bench.client import Client
from headway.app.bench.target import Target
from vllm_race.bounds import Bounds
from vllm_race.server import Server
from vllm_race.workload import Row

PATIENCE_S = 20.0
"""So long after the last planned request the run is over, and what has not ended is given up."""


def play(server: Server, rows: Sequence[Row], bounds: Mapping[str, Bounds]) -> list[Answer]:
    """Send all requests of a run on time, calls of agents after those before them; return one account for each."""
    answers = asyncio.run(_Playing(server, rows, bounds).run())
    server.wait_until_idle()
    return answers


class _Playing:
    """One run under way."""

    def __init__(self, server: Server, rows: Sequence[Row], bounds: Mapping[str, Bounds]) -> None:
        by_priority = server.contender.by_priority
        self._rows = rows
        self._bodies = [row.body(_asks(row, bounds), by_priority=by_priority) for row in rows]
        self._answers = [Answer(id=f"{row.number}", slo_class=row.slo_class, planned_s=row.at_s) for row in rows]
        self._followers: dict[int, list[Row]] = {}
        for row in rows:
            if row.after >= 0:
                self._followers.setdefault(row.after, []).append(row)
        self._url = server.url

    async def run(self) -> list[Answer]:
        self._client = Client(Target(base_url=self._url))
        gc.collect()
        gc.freeze()
        self._start_s = time.perf_counter()
        chains = [asyncio.create_task(self._chain(row)) for row in self._rows if row.after < 0]
        _, late = await asyncio.wait(chains, timeout=max(row.at_s for row in self._rows) + PATIENCE_S)
        for task in late:
            task.cancel()
        found = await asyncio.gather(*chains, return_exceptions=True)
        gc.unfreeze()
        await self._client.close()
        for one in found:
            if isinstance(one, Exception):
                raise one
        return self._answers

    async def _chain(self, row: Row) -> None:
        """Send a request on time, then those that wait for its end; whoever gets no answer cannot go on."""
        await asyncio.sleep(max(0.0, self._start_s + row.at_s - time.perf_counter()))
        answer = await self._send(row)
        followers = self._followers.get(row.number, ())
        if followers and is_whole(row, answer):
            await asyncio.gather(*(self._follow(follower) for follower in followers))

    async def _follow(self, row: Row) -> None:
        await asyncio.sleep(row.gap_s)
        answer = await self._send(row)
        if is_whole(row, answer):
            await asyncio.gather(*(self._follow(follower) for follower in self._followers.get(row.number, ())))

    async def _send(self, row: Row) -> Answer:
        answer = self._answers[row.number]
        await self._client.send(self._bodies[row.number], answer, self._start_s)
        return answer


def is_whole(row: Row, answer: Answer) -> bool:
    """Tell whether a request was given all of its tokens."""
    return answer.completed and answer.output_tokens == row.output_tokens


def _asks(row: Row, bounds: Mapping[str, Bounds]) -> dict[str, str | float]:
    """Return what a request asks of Headway's scheduler; vLLM's own does not look."""
    asks: dict[str, str | float] = {"headway_slo_class": row.slo_class}
    if row.session:
        asks["headway_session"] = row.session
    promised = bounds.get(row.slo_class)
    if promised is not None:
        asks |= {"headway_ttft_s": promised.ttft_s, "headway_tpot_s": promised.tpot_s}
    return asks
