"""Asking a server: bursts one after the other, greedily decoded to full length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from headway.app.bench.answer import Answer
from headway.app.bench.client import Client
from headway.app.bench.load import Planned
from headway.app.bench.openloop import OpenLoop
from headway.app.bench.probe import Probe
from headway.app.bench.prompts import Prompts
from headway.app.bench.target import Target
from headway.core.errors import EngineError
from headway.core.nouns import Seconds

WARM_UPS = 3


class Asker:
    """A client of one server.

    Parameters
    ----------
    client : Client
        Its connections.
    prompts : Prompts
        What requests say.
    """

    def __init__(self, client: Client, prompts: Prompts) -> None:
        self._client = client
        self._prompts = prompts

    @staticmethod
    async def of(url: str) -> Asker:
        """Get to know a server, and let it warm up."""
        target = Target(base_url=url, ignore_eos=True, sampling={"temperature": 0})
        probe = Probe(target)
        served = await probe.look()
        asker = Asker(Client(replace(target, model=served.model)), await probe.prompts(served, "tokens"))
        for number in range(WARM_UPS):
            await asker.ask([Planned(id=f"warm-{number}", at_s=0.0, input_tokens=16 << number, output_tokens=4)])
        return asker

    async def ask(self, plan: Sequence[Planned]) -> list[Answer]:
        """Send requests on time and return what came of them, in order.

        Raises
        ------
        EngineError
            When one of them is not answered.
        """
        run = await OpenLoop(self._client, self._prompts).run(plan)
        failed = next((answer for answer in run.answers if answer.error), None)
        if failed is not None:
            raise EngineError(f"calibrate: every request must be answered, got: {failed.error}.")
        return run.answers

    async def ask_for(
        self, bursts: Iterable[Sequence[Planned]], limit_s: Seconds, on_progress: Callable[[Seconds], None]
    ) -> list[Answer]:
        """Send bursts one after the other until `limit_s` seconds have passed or none is left."""
        answers: list[Answer] = []
        start_s = time.perf_counter()
        for burst in bursts:
            answers += await self.ask(burst)
            passed_s = time.perf_counter() - start_s
            on_progress(passed_s)
            if passed_s >= limit_s:
                break
        return answers

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()
