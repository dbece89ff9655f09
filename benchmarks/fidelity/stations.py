"""The serving world arranged as textbook stations: prices and policies under which its times have a closed form.

Time is made of tokens: a step costs so much per token of a prompt, and for each request that decodes, and nothing else.
A request whose output is one token is served in one step, as long as its prompt; one of many tokens is served in as
many small steps, which it shares with all that run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from headway.core.actions import Action, Move, Start
from headway.core.drivers import simulate
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.core.policy import Policy
from headway.core.session import Session, arrival_stream, truth_stream
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import UNTIL_NEWS, Piece, Request, Step
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.sim.serving.log import RequestLog
from headway.sim.serving.price import BatchShape
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.table import RequestTable

Floats = npt.NDArray[np.float64]
ROOM = 1 << 30
"""Tokens per block: one block is room enough for any request."""


class TokenPrice(Struct, frozen=True):
    """A step costs the same for every token that it computes, whoever's it is."""

    token_s: Seconds

    def step_s(self, shape: BatchShape) -> Seconds:
        """Return the time of one run, in seconds."""
        return self.token_s * shape.num_tokens

    def decode_line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return (base_s, per_token_s) of a step of decodes alone; the context costs nothing."""
        return self.token_s * num_decodes, 0.0


class OneQueue:
    """One request at a time on each instance, whole; who finds all in use waits in one queue for the first to be free.

    This is the station with c servers of the textbook, which no router that decides at arrival can be.
    """

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:  # noqa: ARG002
        """Give every free instance the first in line."""
        waiting = iter(view.unrouted.values())
        for instance in view.instances.values():
            is_free = not instance.busy and not instance.num_requests
            state = next(waiting, None) if is_free else None
            if state is not None:
                tokens = state.known_tokens
                yield Move(state.id, instance.id)
                yield Start(state.id, {instance.id: {"kv_tokens": tokens}})
                yield Step(instance=instance.id, pieces=(Piece(state.id, tokens),))


class AllAtOnce:
    """Every request runs from its arrival on, a token of each in every step: sharing, in small shares."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def decide(self, event: Event, view: ServingView) -> Iterator[Action]:  # noqa: ARG002
        """Start whoever is new, and run everybody."""
        instance = next(iter(view.instances.values()))
        for state in view.unrouted.values():
            yield Move(state.id, instance.id)
        fresh = [*instance.waiting.values(), *view.unrouted.values()]
        if instance.busy or not (fresh or instance.num_running):
            return
        for state in fresh:
            yield Start(state.id, {instance.id: {"kv_tokens": state.known_tokens}})
        prompts = tuple([Piece(state.id, state.known_tokens) for state in fresh])
        pieces = instance.decodes.pieces + prompts
        yield Step(instance=instance.id, pieces=pieces, repeat=1 if prompts else UNTIL_NEWS)


@dataclass(frozen=True)
class Arrangement:
    """A station to be played.

    Parameters
    ----------
    arrivals_per_s : float
        Of a Poisson process.
    service_s : float
        Mean.
    law : str
        ``"exponential"``, ``"steady"``, or ``"gamma"`` with shape 1/4 (squared coefficient of variation 4).
    num_servers : int
        Instances.
    shared : bool
        Whether all present share one instance.
    grain : int
        Tokens of a mean service: what is rounded is one token.
    """

    arrivals_per_s: float
    service_s: Seconds = 1.0
    law: str = "exponential"
    num_servers: int = 1
    shared: bool = False
    grain: int = 10_000

    @property
    def token_s(self) -> Seconds:
        """What a token costs, in seconds."""
        return self.service_s / self.grain

    def play(self, table: RequestTable, seed: int = 0) -> dict[str, Floats]:
        """Play one run; returns ``wait_s`` and ``response_s`` by arrival."""
        states = [InstanceState(f"server-{n}", BlockPool(self._num_blocks, ROOM), 1) for n in range(self.num_servers)]
        world, log = ServingWorld(_requests(table), states, TokenPrice(self.token_s)), RequestLog()
        policy: Policy[ServingView] = AllAtOnce() if self.shared else OneQueue()
        simulate(world, policy, session=Session(policy, world.view, seed=seed, instruments=[log], strict=True))
        works = log.works(table, [])
        order = np.argsort(works["row"])
        return {"wait_s": _floats(works["queue_s"])[order], "response_s": _floats(works["e2e_s"])[order]}

    @property
    def _num_blocks(self) -> int:
        return 10_000 if self.shared else 2

    def draw(self, num_requests: int, seed: int) -> RequestTable:
        """Draw the requests of one run."""
        arrivals, truth = arrival_stream(seed), truth_stream(seed)
        at_s = np.cumsum(arrivals.exponential(1 / self.arrivals_per_s, num_requests))
        tokens = np.maximum(np.rint(self._services(truth, num_requests) * self.grain), 1).astype(np.int64)
        ones = np.ones(num_requests, np.int64)
        prompt, output = (ones, tokens) if self.shared else (tokens, ones)
        return RequestTable(at_s, prompt, output, source="a textbook")

    def _services(self, truth: np.random.Generator, num_requests: int) -> Floats:
        """Draw services, in means."""
        if self.law == "exponential":
            return truth.exponential(1.0, num_requests)
        return np.ones(num_requests) if self.law == "steady" else truth.gamma(0.25, 4.0, num_requests)


def waits_s(table: RequestTable, token_s: Seconds, num_servers: int) -> Floats:
    """Return what every request waits, first come first served, by the recursion of Kiefer and Wolfowitz."""
    free_s = [0.0] * num_servers  # a heap: when each server is free
    found = []
    for at_s, tokens in zip(table.arrival_s.tolist(), table.prompt_tokens.tolist(), strict=True):
        start_s = max(at_s, free_s[0])
        heapreplace(free_s, start_s + tokens * token_s)
        found.append(start_s - at_s)
    return np.array(found)


def _requests(table: RequestTable) -> Sequence[TrueRequest]:
    columns = zip(table.arrival_s.tolist(), table.prompt_tokens.tolist(), table.output_tokens.tolist(), strict=True)
    return [
        TrueRequest(request=_request(str(row), at_s, prompt), output_tokens=output)
        for row, (at_s, prompt, output) in enumerate(columns)
    ]


def _request(id_: Id, at_s: Seconds, prompt_tokens: int) -> Request:
    return Request(id=id_, arrival_s=at_s, prompt_tokens=prompt_tokens, max_tokens=sys.maxsize)


def _floats(column: npt.NDArray[np.generic]) -> Floats:
    return column.astype(np.float64)
