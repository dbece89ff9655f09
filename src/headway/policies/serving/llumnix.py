"""Llumnix: requests are dispatched to the freest instance, and move while they run when another becomes freer."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import numpy as np

from headway.core.actions import Action, Wake
from headway.core.errors import ConfigError
from headway.core.events import Event, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.serving.llumnix_load import Freeness, by_priority, is_high
from headway.policies.serving.llumnix_migration import Migrations
from headway.policies.serving.llumnix_pairs import Pairs
from headway.policies.serving.llumnix_scale import ScaleByFreeness
from headway.policies.serving.nouns import RequestArrived
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState

MIGRATE, SCALE = "llumnix: migrate", "llumnix: scale"
"""The tags of its wake-ups."""


class Llumnix:
    """Balances instances by their freeness, with live migration, priorities and automatic scaling.

    The freeness of an instance is how many decode steps its running requests have left before its memory is full.
    Physical usage is not all that counts: the first request of a queue counts in full, a request of high priority
    brings a headroom with it, and an instance that is to be given up is full. So one rule, moving load from the least
    free to the freest, avoids preemption, makes one large hole out of many small ones, isolates high priority, and
    empties instances.

    Parameters
    ----------
    migrate : bool
        Whether requests move while they run; True.
    migrate_below : float
        Requests leave instances that are less free, for ones that are freer, in blocks per running request, >= 0; 3,
        as in the authors' experiments (10 for some of them).
    period_s : float
        How often pairs of instances are looked for, in seconds, > 0; 0.1, between the 4 steps of the authors'
        experiments and the 0.05 s of their later code.
    max_stages : int
        Copies of one request before its migration is given up, >= 1; 3, the authors'.
    last_stage_blocks : int
        A request pauses once fewer blocks are missing at its destination, >= 1; 16, the authors'.
    target_tokens : int
        Load of an instance that runs requests of high priority, in tokens, >= 0; 1600, the paper's.
    watermark_frac : float
        Share of the memory that counts as used, in [0, 1); 0.01, that of the batch seats.
    scale : bool
        Whether the number of instances follows the mean freeness, where the executor can scale; False.
    scale_up_below : float
        More instances when the mean is below it, >= 0; 10, the authors'.
    scale_down_above : float
        Fewer when the mean stays above it without one of them, > `scale_up_below`; 60, the authors'.
    scale_period_s : float
        How often, in seconds, > 0; 10, the authors'.
    min_instances : int
        Never fewer per pool, >= 1; 1.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Sun et al., "Llumnix: Dynamic Scheduling for Large Language Model Serving", OSDI 2024, arXiv 2406.03243,
    live migration, virtual usage and the policy built on it; thresholds and stages from the authors' released code.

    Faithful to the paper: virtual usage and freeness with the head of the queue, headroom and drained instances;
    dispatch by priority, then first come, first served, to the freest; periodic pairing of the least free with the
    freest; decoding requests alone move, lower priority first, then shorter ones; stages with reservation before each,
    given up when a request ends, is preempted or does not catch up; scaling by the mean freeness. Left out: migration
    across model versions, fault tolerance. Changed: dispatch counts all who wait, not the first alone; a pair is left
    alone when its gap would not shrink or the destination would fall below the bound; a stage is always copied before
    the pause, however short the request; a request of high priority prefers an instance with others of its kind only
    while these have not used up the target load. Needs the abilities migrate and copy; without them it dispatches,
    without the ability to scale it leaves the number of instances alone.

    Reproduced: in virtual time, fewer preemptions, shorter times per token and ends than INFaaS++, and priorities,
    scaling and pauses agree in direction; the gain in time to the first token is smaller, for the baseline sees all
    queues. `headway reproduce serving/llumnix` shows them.

    Cost: O(instances + running requests) per period and per arrival.

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> view = ServingBoard([InstanceState(name, BlockPool(40), num_layers=2) for name in "ab"])
    >>> waiting = RequestState(Request(id="w", arrival_s=0.0, prompt_tokens=90, max_tokens=8))
    >>> view.instances["a"].waiting["w"] = waiting
    >>> Llumnix().pick(RequestState(Request(id="r", arrival_s=0.0, prompt_tokens=40, max_tokens=8)), view)
    'b'
    """

    def __init__(
        self,
        *,
        migrate: bool = True,
        migrate_below: float = 3.0,
        period_s: Seconds = 0.1,
        max_stages: int = 3,
        last_stage_blocks: int = 16,
        target_tokens: int = 1600,
        watermark_frac: float = 0.01,
        scale: bool = False,
        scale_up_below: float = 10.0,
        scale_down_above: float = 60.0,
        scale_period_s: Seconds = 10.0,
        min_instances: int = 1,
    ) -> None:
        _require("migrate_below", migrate_below, migrate_below >= 0, ">= 0", "3")
        _require("period_s", period_s, 0 < period_s < inf, "> 0", "0.1")
        _require("max_stages", max_stages, max_stages >= 1, ">= 1", "3")
        _require("last_stage_blocks", last_stage_blocks, last_stage_blocks >= 1, ">= 1", "16")
        _require("target_tokens", target_tokens, target_tokens >= 0, ">= 0", "1600")
        _require("watermark_frac", watermark_frac, 0 <= watermark_frac < 1, "in [0, 1)", "0.01")
        _require("scale_up_below", scale_up_below, 0 <= scale_up_below < scale_down_above, "< scale_down_above", "10")
        _require("scale_period_s", scale_period_s, 0 < scale_period_s < inf, "> 0", "10")
        _require("min_instances", min_instances, min_instances >= 1, ">= 1", "1")
        self.migrate = migrate
        self.migrate_below = migrate_below
        self.period_s = period_s
        self.max_stages = max_stages
        self.last_stage_blocks = last_stage_blocks
        self.target_tokens = target_tokens
        self.watermark_frac = watermark_frac
        self.scale = scale
        self.scale_up_below = scale_up_below
        self.scale_down_above = scale_down_above
        self.scale_period_s = scale_period_s
        self.min_instances = min_instances
        self._freeness = Freeness(watermark_frac, target_tokens)
        self._migrations = Migrations(max_stages, last_stage_blocks)
        self._awake: set[str] = set()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the migrations under way."""
        self._freeness = Freeness(self.watermark_frac, self.target_tokens)
        self._migrations = Migrations(self.max_stages, self.last_stage_blocks)
        self._awake = set()

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Return those who wait by priority, then first come, first served."""
        return by_priority(instance.waiting.values())

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the freest instance; for high priority, of those with others of its kind and room beside them."""
        able = takers(state, view.instances.values()) or list(view.instances.values())
        if state.request.priority > 0:
            need = able[0].kv.blocks_for(state.known_tokens)
            fitting = [i for i in able if is_high(i) and self._freeness.over_target(i) + need <= 0]
            return max(fitting or able, key=_num_free).id
        return max(able, key=self._freeness.for_dispatch).id

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Go on with migrations, and look now and then for instances to pair, and at how many there are."""
        actions = list(self._migrations.hear(event, view))
        if isinstance(event, Woke) and event.tag in self._awake:
            self._awake.remove(event.tag)
            actions += self._pair(view) if event.tag == MIGRATE else self._fit(view)
            actions += self._wake(event.tag, view) if view.requests else []
        elif isinstance(event, RequestArrived):
            if self.migrate and {"migrate", "copy"} <= view.can:
                actions += self._wake(MIGRATE, view)
            if self.scale and "scale" in view.can:
                actions += self._wake(SCALE, view)
        return actions

    def _wake(self, tag: str, view: ServingView) -> list[Action]:
        if tag in self._awake:
            return []
        self._awake.add(tag)
        return [Wake(view.now_s + (self.period_s if tag == MIGRATE else self.scale_period_s), tag)]

    def _pair(self, view: ServingView) -> Iterable[Action]:
        found = Pairs(self._freeness, self.migrate_below).find(view, self._migrations.engaged)
        return [self._migrations.begin(state, to) for state, to in found]

    def _fit(self, view: ServingView) -> Iterable[Action]:
        scale = ScaleByFreeness(self._freeness, self.scale_up_below, self.scale_down_above, self.min_instances)
        return scale.steer(view.instances, view.pools)


def _num_free(instance: InstanceState) -> int:
    return instance.kv.num_free


def _require(name: str, value: float, fine: bool, must: str, default: str) -> None:
    if not fine:
        raise ConfigError(f"serving/llumnix: {name} must be {must}, got {value}. Try {default}, the default.")
