"""AIBrix's routing by promises: who is predicted to keep them, and who waits at the gateway until somebody is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from headway.core.actions import Action, Move, Reject, Wake
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.aibrix_gateway import mean
from headway.policies.serving.aibrix_route import Desk, Instances
from headway.policies.serving.nouns import RequestArrived
from headway.policies.serving.pace import Shape, pairs
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState

CHUNK_TOKENS = 512
"""Prompts are taken to be computed in chunks of so many tokens, beside all decodes."""
LOOK_AGAIN_S: Seconds = 0.1
"""How often the gateway looks at those it holds back while nothing happens."""


Having = Callable[[RequestState, Instances], Instances]


class ByPromise:
    """Requests go where their promises are predicted to hold.

    Parameters
    ----------
    desk : Desk
        What strategies share.
    strategy : str
        ``"slo-pack-load"``: the most loaded that holds them, else the least loaded; ``"slo-least-load"``: the least
        loaded of the slowest pool that holds them, else of all; ``"slo-least-load-pulling"``: the same, but where
        nobody holds them a request waits at the gateway, least slack first, and is turned away when it is too late.
    having : callable
        Who of some instances has the adapter of a request.
    """

    def __init__(self, desk: Desk, strategy: str, having: Having) -> None:
        self._desk = desk
        self._having = having
        self._packs = strategy == "slo-pack-load"
        self._pulls = strategy == "slo-least-load-pulling"
        self._look_s = -math.inf  # when those held back are looked at next, whatever happens

    def pick(self, state: RequestState, instances: Instances, view: ServingView) -> Id:
        """Return who gets a request; an empty name holds it back."""
        holding = [i for i in instances if self._holds(i, state, view.now_s)]
        if holding:
            return self._one_of(holding).id
        if self._pulls and all(instance.num_requests for instance in instances):
            return ""
        return min(instances, key=_load).id

    def hear(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Let those go that are held back, as soon as somebody can keep what they were promised."""
        if not self._pulls or not view.unrouted:
            return
        new = event.work.id if isinstance(event, RequestArrived) else ""
        held = sorted((s for s in view.unrouted.values() if s.id != new), key=_due_s)
        yield from self._let_go(held, view)
        if held and view.now_s >= self._look_s:
            self._look_s = view.now_s + LOOK_AGAIN_S
            yield Wake(self._look_s, "aibrix-held")

    def _let_go(self, held: list[RequestState], view: ServingView) -> Iterable[Action]:
        """Yield where to send the first of those that can go; the others see it there when they are looked at next."""
        for state in held:
            if _due_s(state) < view.now_s:
                yield Reject(state.id, "it has waited longer than its first token was to take")
                continue
            instances = takers(state, view.instances.values())
            name = self.pick(state, self._having(state, instances) or instances, view) if instances else ""
            if name:
                self._desk.gateway.note(state, name)
                yield Move(state.id, name)
                yield Wake(view.now_s, "aibrix-held")
                return

    def _one_of(self, holding: list[InstanceState]) -> InstanceState:
        if self._packs:
            return max(holding, key=_load)
        pace = self._desk.pace
        probe = Shape(16, 8192, CHUNK_TOKENS, CHUNK_TOKENS**2 / 2)
        slowest = max(pace.step_s(instance, probe) for instance in holding)
        return min((i for i in holding if pace.step_s(i, probe) == slowest), key=_load)

    def _holds(self, instance: InstanceState, state: RequestState, now_s: Seconds) -> bool:
        promise = state.promise
        if promise.is_none:
            return True
        ahead = sum([other.left_tokens for other in instance.waiting.values()])
        ahead += sum([other.left_tokens for other in instance.prefills.values()])
        tokens = ahead + state.known_tokens
        if self._pulls and instance.num_requests and tokens > instance.kv.num_free * instance.kv.block_size:
            return False
        ttft_s, tpot_s = self._predict(instance, tokens, now_s)
        return now_s - state.request.arrival_s + ttft_s <= promise.ttft_s and tpot_s <= promise.tpot_s

    def _predict(self, instance: InstanceState, tokens: int, now_s: Seconds) -> tuple[Seconds, Seconds]:
        """Return the time until so many tokens of prompts are computed, and between two tokens after that."""
        pace, num, context = self._desk.pace, len(instance.decodes), instance.decodes.context_tokens
        chunk = min(tokens, CHUNK_TOKENS)
        chunk_s = pace.step_s(instance, Shape(num, context, chunk, pairs(chunk, tokens // 2)))
        num_then = instance.num_requests + 1
        decode_s = pace.step_s(instance, Shape(num_then, context + tokens))
        return math.ceil(tokens / CHUNK_TOKENS) * chunk_s, decode_s + self._prompt_s(instance, num_then, now_s)

    def _prompt_s(self, instance: InstanceState, num: int, now_s: Seconds) -> Seconds:
        """Return how much prompts of others add to the time between two tokens, if all are as they were of late.

        While one request decodes, each of the others ends, and the prompt of another takes its place.
        """
        ended = list(self._desk.gateway.ended(instance.id, now_s))
        if not ended:
            return 0.0
        prompt, output = mean(one.prompt_tokens for one in ended), mean(one.output_tokens for one in ended)
        alone = Shape(num, num * round(prompt))
        both = Shape(num, num * round(prompt), round(prompt), pairs(round(prompt), 0))
        return num * (self._desk.pace.step_s(instance, both) - self._desk.pace.step_s(instance, alone)) / output


def _due_s(state: RequestState) -> Seconds:
    """Return when the first token of a request is due."""
    return state.request.arrival_s + min(state.promise.ttft_s, state.promise.e2e_s)


def _load(instance: InstanceState) -> tuple[int, float]:
    return instance.num_requests, instance.kv.used_frac
