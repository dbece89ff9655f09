"""AIBrix's routing to where the beginning of a prompt is believed to be cached."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

import numpy as np

from headway.core.actions import Action
from headway.core.events import Changed, Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.aibrix_gateway import mean
from headway.policies.serving.aibrix_route import Desk, Instances, num_requests
from headway.policies.serving.pace import Shape
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState

WINDOW_S: Seconds = 180.0
"""For how long an assignment counts as load, Preble's three minutes."""
PROBE_TOKENS = 512
PROBE_DECODES = 16


class PrefixTable:
    """Which instances were sent which blocks: a belief, for what they have evicted since is not known.

    Parameters
    ----------
    max_blocks : int
        The least recently used are forgotten beyond so many, >= 1.
    """

    def __init__(self, max_blocks: int) -> None:
        self._max_blocks = max_blocks
        self._holders: OrderedDict[int, dict[Id, None]] = OrderedDict()

    def match(self, hashes: Sequence[int], names: Iterable[Id]) -> dict[Id, int]:
        """Return how many leading blocks of a prompt each instance is believed to have; those with none are missing."""
        found: dict[Id, int] = {}
        left = list(names)
        for number, hash_ in enumerate(hashes, 1):
            holders = self._holders.get(hash_, {})
            left = [name for name in left if name in holders]
            if not left:
                break
            found |= dict.fromkeys(left, number)
        return found

    def num_holders(self, hash_: int) -> int:
        """Return how many instances are believed to have a block."""
        return len(self._holders.get(hash_, ()))

    def note(self, hashes: Sequence[int], name: Id) -> None:
        """Note that a prompt was sent to an instance."""
        for hash_ in reversed(hashes):  # the first block of a prompt is to be forgotten last
            self._holders.setdefault(hash_, {})[name] = None
            self._holders.move_to_end(hash_)
        while len(self._holders) > self._max_blocks:
            self._holders.popitem(last=False)

    def forget(self, name: Id) -> None:
        """Note that an instance has lost everything."""
        for holders in self._holders.values():
            holders.pop(name, None)


class _ByPrefix:
    """What both strategies share: the table."""

    def __init__(self, desk: Desk, max_blocks: int) -> None:
        self._desk = desk
        self._table = PrefixTable(max_blocks)

    def hear(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Forget what an instance had that is gone."""
        if isinstance(event, Changed) and not event.up:
            self._table.forget(event.resource.id)
        return ()

    def _hashes(self, state: RequestState) -> Sequence[int]:
        return state.request.hashes


class PrefixCache(_ByPrefix):
    """The longest match gets the request, unless that is too loaded.

    Parameters
    ----------
    desk : Desk
        What strategies share.
    max_blocks : int
        Size of the table.
    imbalance : int
        When the most loaded has more than so many requests more than the least loaded, prefixes do not count.
    deviations : float
        Nor for an instance that is more than so many standard deviations above the mean.
    guarded : bool
        Whether these two apply.
    """

    def __init__(self, desk: Desk, max_blocks: int, imbalance: int, deviations: float, guarded: bool) -> None:
        super().__init__(desk, max_blocks)
        self._imbalance = imbalance
        self._deviations = deviations
        self._guarded = guarded

    def pick(self, state: RequestState, instances: Instances, view: ServingView) -> Id:
        """Return the instance with the longest match of those that are not too loaded, or else the least loaded."""
        hashes = self._hashes(state)
        found = self._best(hashes, instances) or self._desk.least_requests(instances)
        self._table.note(hashes, found.id)
        return found.id

    def _best(self, hashes: Sequence[int], instances: Instances) -> InstanceState | None:
        loads = [instance.num_requests for instance in instances]
        if self._guarded and max(loads) - min(loads) > self._imbalance:
            return None
        most = float(np.mean(loads) + self._deviations * np.std(loads)) if self._guarded else float("inf")
        matched = self._table.match(hashes, [instance.id for instance in instances])
        ranked = sorted((i for i in instances if i.id in matched), key=lambda i: (-matched[i.id], i.num_requests))
        return next((instance for instance in ranked if instance.num_requests <= most), None)


class Preble(_ByPrefix):
    """A request goes where most of its prompt is matched, or, when that is less than half, where it costs least.

    What it costs is what the instance was given to do in the last three minutes: prompt tokens that it had to compute,
    shared by all instances that hold them since, and outputs. What this one would have to compute is added.
    """

    def __init__(self, desk: Desk, max_blocks: int) -> None:
        super().__init__(desk, max_blocks)
        self._given: dict[Id, deque[tuple[Seconds, int, int]]] = {}  # when, tokens to compute, last hash of these

    def pick(self, state: RequestState, instances: Instances, view: ServingView) -> Id:
        """Return the instance with the best match, or of the least cost."""
        hashes, now_s = self._hashes(state), view.now_s
        matched = self._table.match(hashes, [instance.id for instance in instances])
        longest = max(matched.values(), default=0)
        if hashes and longest / len(hashes) > 0.5:
            best = min((i for i in instances if matched.get(i.id) == longest), key=num_requests)
        else:
            best = min(instances, key=lambda i: self._cost_s(i, state, matched.get(i.id, 0), now_s))
        missed = state.request.prompt_tokens - matched.get(best.id, 0) * best.kv.block_size
        self._given.setdefault(best.id, deque()).append((now_s, missed, hashes[-1] if hashes else 0))
        self._table.note(hashes, best.id)
        return best.id

    def _cost_s(self, instance: InstanceState, state: RequestState, num_matched: int, now_s: Seconds) -> Seconds:
        pace = self._desk.pace
        token_s = pace.step_s(instance, Shape(0, 0, PROBE_TOKENS, PROBE_TOKENS**2 / 2)) / PROBE_TOKENS
        given = self._given.setdefault(instance.id, deque())
        while given and given[0][0] < now_s - WINDOW_S:
            given.popleft()
        to_do = state.request.prompt_tokens - num_matched * instance.kv.block_size
        prompts = sum([tokens / max(1, self._table.num_holders(last)) for _, tokens, last in given])
        output = mean(ended.output_tokens for ended in self._desk.gateway.ended(instance.id, now_s))
        decode_s = pace.step_s(instance, Shape(PROBE_DECODES, PROBE_DECODES * PROBE_TOKENS)) / PROBE_DECODES
        return (prompts + to_do) * token_s + len(given) * output * decode_s
