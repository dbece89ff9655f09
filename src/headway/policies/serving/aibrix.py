"""AIBrix: a gateway that routes by prefixes, load and promises, and autoscalers for the instances behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError, unknown_name
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.aibrix_gateway import Gateway
from headway.policies.serving.aibrix_lora import PLACEMENTS, Placer
from headway.policies.serving.aibrix_prefix import Preble, PrefixCache
from headway.policies.serving.aibrix_route import ByLoad, Desk, Strategy, Vtc
from headway.policies.serving.aibrix_scale import ALGORITHMS, METRICS, Autoscaler, Rules
from headway.policies.serving.aibrix_slo import ByPromise
from headway.policies.serving.pace import Pace
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import Neighbours, ServingView
from headway.policies.serving.state import RequestState

BY_LOAD = ("random", "power-of-two", "least-request", "least-kv-cache", "throughput", "least-latency")
BY_PREFIX = ("prefix-cache", "prefix-cache-preble")
BY_PROMISE = ("slo-pack-load", "slo-least-load", "slo-least-load-pulling")
STRATEGIES = (*BY_LOAD, "vtc-basic", *BY_PREFIX, *BY_PROMISE)
WHERE = "serving/aibrix"


class AIBrix:
    """Routes each request by the strategy asked for, and scales pools of instances if asked to.

    Parameters
    ----------
    strategy : str
        How requests are routed: ``"random"``, ``"power-of-two"``, ``"least-request"``, ``"least-kv-cache"``,
        ``"throughput"``, ``"least-latency"``, ``"vtc-basic"``, ``"prefix-cache"`` (the default),
        ``"prefix-cache-preble"``, ``"slo-pack-load"``, ``"slo-least-load"`` or ``"slo-least-load-pulling"``.
    window_s : float
        For how long a finished request counts as a sign of load, in seconds, > 0; 60.
    table_blocks : int
        How many blocks of prompts the gateway remembers, >= 1; 200,000, about what the project's table holds.
    guarded : bool
        Whether ``"prefix-cache"`` heeds load; True.
    imbalance : int
        It ignores prefixes while the most loaded instance has more than so many requests more than the least loaded,
        >= 0; 8, the code's default (its documentation says 16).
    deviations : float
        And instances that are more than so many standard deviations above the mean load, >= 0; 2.
    placement : str
        Where a LoRA adapter is brought that no instance has: ``"least-adapters"`` (the default), to the one with the
        fewest; ``"bin-pack"``, to the one with the most that has room; or ``"random"``.
    scaler : str
        Who decides how many instances a pool has: ``"none"`` (the default), ``"apa"``, ``"kpa"`` or ``"hpa"``.
    metric : str
        What scalers look at: ``"kv_used_frac"`` (the default), ``"waiting"`` or ``"requests"``.
    target : float
        What that should be on each instance, > 0; 0.5, the project's usual target for memory.
    tolerance_frac : float
        How far it may be off before anything is done, as a share of the target, >= 0; 0.1.
    max_up : float
        How many times as many one decision may ask for, > 1; 2.
    max_down : float
        How many times as few, > 1; 2.
    down_cooldown_s : float
        After a change, how long until there may be fewer, in seconds, >= 0; 300.
    stable_s : float
        The long window of what scalers see, in seconds, > 0; 180.
    panic_s : float
        The short one, in seconds, > 0; 60.
    panic_times : float
        KPA panics when the short window shows more than so many times the demand of the long one, > 1; 2.
    lag_s : float
        How late HPA sees, for its numbers come through a pipeline of metrics, in seconds, >= 0; 30, an assumption.
    every_s : float
        How often scalers decide, in seconds, > 0; 10.
    min_instances : int
        Scalers never ask for fewer of a pool, >= 0; 1.

    Raises
    ------
    ConfigError, UnknownName
        When a parameter is out of its range.

    Notes
    -----
    Source: the AIBrix team, "AIBrix: Towards Scalable, Cost-Effective Large Language Model Inference Infrastructure",
    2025, arXiv 2504.03648, sections on the gateway and the autoscaler; constants are those of the project's code.

    Faithful to the paper: the strategies, the bounded table of what was sent where (a belief, which evictions make
    stale), both guards of prefix-cache, the sliding windows inside the scaler, and the formulas of APA and KPA.
    Changed: KPA is fed the demand over all instances, which its formula needs, and not an average. The profiles by
    which ``slo-*`` predicts are not measured beforehand but learnt from the steps that were run. Instances that drain
    go on at once when they are wanted again. HPA counts instances that are not ready as idle, and keeps the most that
    it recommended during the cooldown. An adapter has one instance at a time, and is not loaded again elsewhere when
    that fails. Left out: limits on the rate of a user.

    Reproduced: in virtual time, what the pool of keys and values gains agrees with the paper in direction, and in size
    within a factor of two but for one of ten numbers; so do the costs of a mix of accelerators. Routers and adapters
    agree in direction; autoscalers do not become calmer than HPA here. `headway reproduce serving/aibrix` shows all.

    Cost: O(instances + matched blocks x instances) per request; ``slo-*``: O(waiting requests) of every instance.

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> from headway.policies.serving.state import InstanceState
    >>> view = ServingBoard([InstanceState(name, BlockPool(8, block_size=16), num_layers=2) for name in "ab"])
    >>> router = AIBrix()
    >>> router.reset(np.random.default_rng(0))
    >>> requests = [Request(id=n, arrival_s=0.0, prompt_tokens=40, max_tokens=8, hashes=(7, 8)) for n in "xy"]
    >>> first, second = (router.pick(RequestState(request), view) for request in requests)
    >>> first == second
    True
    """

    def __init__(
        self,
        *,
        strategy: str = "prefix-cache",
        window_s: Seconds = 60.0,
        table_blocks: int = 200_000,
        guarded: bool = True,
        imbalance: int = 8,
        deviations: float = 2.0,
        placement: str = "least-adapters",
        scaler: Literal["none", "apa", "kpa", "hpa"] = "none",
        metric: str = "kv_used_frac",
        target: float = 0.5,
        tolerance_frac: float = 0.1,
        max_up: float = 2.0,
        max_down: float = 2.0,
        down_cooldown_s: Seconds = 300.0,
        stable_s: Seconds = 180.0,
        panic_s: Seconds = 60.0,
        panic_times: float = 2.0,
        lag_s: Seconds = 30.0,
        every_s: Seconds = 10.0,
        min_instances: int = 1,
    ) -> None:
        self.strategy = strategy
        self.window_s = window_s
        self.table_blocks = table_blocks
        self.guarded = guarded
        self.imbalance = imbalance
        self.deviations = deviations
        self.placement = placement
        self.scaler = scaler
        self.metric = metric
        self.target = target
        self.tolerance_frac = tolerance_frac
        self.max_up = max_up
        self.max_down = max_down
        self.down_cooldown_s = down_cooldown_s
        self.stable_s = stable_s
        self.panic_s = panic_s
        self.panic_times = panic_times
        self.lag_s = lag_s
        self.every_s = every_s
        self.min_instances = min_instances
        self._pace: Pace | None = None
        self._check()
        self._begin(np.random.default_rng(0))

    def join(self, stack: Neighbours) -> None:
        """Learn the pace of steps from the stack, where promises or costs are predicted."""
        if self.strategy in BY_PROMISE or self.strategy == "prefix-cache-preble":
            self._pace = stack.pace

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was sent where, and what was seen."""
        self._begin(rng)

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the instance that the strategy chooses; an empty name holds the request back at the gateway."""
        able = takers(state, view.instances.values())
        chosen = self._strategy.pick(state, self._placer.having(state, able) or able, view)
        if chosen:
            self._gateway.note(state, chosen)
        return chosen

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Follow events; let requests go that were held back, and scale."""
        self._gateway.hear(event)
        yield from self._placer.steer(event, view)
        yield from self._strategy.hear(event, view)
        if self._autoscaler is not None:
            yield from self._autoscaler.steer(event, view)

    def _begin(self, rng: np.random.Generator) -> None:
        self._gateway = Gateway(self.window_s)
        self._placer = Placer(self.placement, rng)
        self._strategy = self._make_strategy(Desk(rng, self._gateway, self._pace or Pace()))
        self._autoscaler = None
        if self.scaler != "none":
            rules = Rules(
                self.target, self.tolerance_frac, self.tolerance_frac, self.max_up, self.max_down, self.down_cooldown_s,
                self.stable_s, self.panic_s, self.panic_times, self.lag_s,
            )  # fmt: skip
            self._autoscaler = Autoscaler(self.scaler, rules, self.metric, self.every_s, self.min_instances)

    def _make_strategy(self, desk: Desk) -> Strategy:
        if self.strategy == "prefix-cache":
            return PrefixCache(desk, self.table_blocks, self.imbalance, self.deviations, self.guarded)
        if self.strategy == "prefix-cache-preble":
            return Preble(desk, self.table_blocks)
        if self.strategy in BY_PROMISE:
            return ByPromise(desk, self.strategy, self._placer.having)
        return Vtc(desk) if self.strategy == "vtc-basic" else ByLoad(desk, self.strategy)

    def _check(self) -> None:
        choices = {"strategy": STRATEGIES, "placement": PLACEMENTS, "scaler": ("none", *ALGORITHMS), "metric": METRICS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown_name(f"{WHERE}: {name}", getattr(self, name), tuple(known))
        above = {"window_s": 0, "table_blocks": 0, "target": 0, "max_up": 1, "max_down": 1, "stable_s": 0, "panic_s": 0}
        for name, least in (above | {"panic_times": 1, "every_s": 0}).items():
            if not getattr(self, name) > least:
                raise ConfigError(f"{WHERE}: {name} must be > {least}, got {getattr(self, name)}. Try the default.")
        for name in ("imbalance", "deviations", "tolerance_frac", "down_cooldown_s", "lag_s", "min_instances"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{WHERE}: {name} must be >= 0, got {getattr(self, name)}. Try the default.")
