"""HexGen-Text2SQL: calls of workflows go where they suit, and the one with the least time to spare starts first."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from headway.core.actions import Action, Wake
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.serving.hexgen_replay import GRID, Past, Place, Replay, best_place
from headway.policies.serving.nouns import RequestArrived, RequestFinished
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stage_times import Course, Query, StageTimes
from headway.policies.serving.state import InstanceState, RequestState

MAX_QUERIES = 10_000
"""Of more workflows than these the first that waits for a call is forgotten; not all say that they have ended."""
TUNE = "hexgen-text2sql"
"""The tag of wake-ups at which another value of alpha is tried."""


class HexGenText2Sql:
    """Schedules workflows of calls on unequal instances: which instance serves a call, and who starts first there.

    Parameters
    ----------
    alpha : float
        How much the time of the call itself counts against the work that is queued, in [0, 1]: 1 is the fastest
        instance whatever waits there, 0 the emptiest; 0.3, this project's choice. It is where tuning begins.
    tune_every_s : float
        How often alpha is tuned to the latest workflows, in seconds, >= 0; 0 is never, and 300 this project's choice.
    replay_queries : int
        To how many of them, >= 1; 40.
    dispatch : str
        ``"queue"`` weighs what is queued on an instance, as published first; ``"lifetime"`` all that it was ever given,
        as in the released simulator.
    order : str
        ``"urgency"``, the paper's, or ``"arrival"``: first come, first served.
    workflow : sequence of str
        The stages of a typical workflow, one entry per round; learnt from those that end by default.
    times_s : mapping of str to mapping of str to float
        What a call of a stage takes, in seconds, by pool and stage; learnt where it is not given.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Peng et al., "HexGen-Text2SQL: Optimizing LLM Inference Request Scheduling for Agentic Text-to-SQL
    Workflow", 2025, arXiv 2505.05286.

    Faithful to the paper: both dispatch scores, the budget of a call (its share of what is left of the promise, by the
    mean times of the rounds to come), urgency as time needed minus budget left, new at every step, and alpha chosen by
    replaying recent workflows in a small simulation. Chosen here, for it is open there: the scale beta is the square of
    the call's mean time over the instances; queued is what is left of all calls at an instance; the grid of alpha has
    tenths; in the small simulation an instance serves one call at a time, which takes its share of the time that it
    took beside others. Changed: times of stages and the course of a workflow are learnt where no table is given; a
    workflow without a deadline is promised the e2e_s of its class, or else the time that its rounds take on average.
    Left out: weights that the released simulator has for two kinds of GPU. What is prefilled when is up to the batch
    seat.

    Reproduced: in virtual time queries are done sooner, and more of them in time, than with vLLM behind round robin, by
    about the published factors. Urgency helps round robin, and beside the score only where few calls run at once;
    `headway reproduce serving/hexgen-text2sql` shows it, and that the instance with the fewest requests does as well.

    Cost: O(requests) per call, O(waiting log waiting) per step; one replay of 40 workflows takes some 20 milliseconds.

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> instances = [InstanceState(name, BlockPool(64), num_layers=2, pool=name) for name in ("fast", "slow")]
    >>> seat = HexGenText2Sql(alpha=1.0, times_s={"fast": {"revise": 1.0}, "slow": {"revise": 3.0}})
    >>> seat.reset(np.random.default_rng(0))
    >>> request = Request(id="r", arrival_s=0.0, prompt_tokens=40, max_tokens=8, stage="revise")
    >>> seat.pick(RequestState(request), ServingBoard(instances))
    'fast'
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        tune_every_s: Seconds = 300.0,
        replay_queries: int = 40,
        dispatch: Literal["queue", "lifetime"] = "queue",
        order: Literal["urgency", "arrival"] = "urgency",
        workflow: tuple[str, ...] = (),
        times_s: Mapping[str, Mapping[str, Seconds]] | None = None,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ConfigError(f"serving/hexgen-text2sql: alpha must be in [0, 1], got {alpha}. Try 0.3, the default.")
        if not 0 <= tune_every_s < math.inf or replay_queries < 1:
            raise ConfigError(
                "serving/hexgen-text2sql: tune_every_s must be >= 0 and replay_queries >= 1, got "
                f"{tune_every_s} and {replay_queries}. Try 300 and 40."
            )
        if dispatch not in ("queue", "lifetime") or order not in ("urgency", "arrival"):
            raise ConfigError(
                "serving/hexgen-text2sql: dispatch must be queue or lifetime, order urgency or arrival, got "
                f"{dispatch!r} and {order!r}. Leave them out."
            )
        self.alpha = alpha
        self.tune_every_s = tune_every_s
        self.replay_queries = replay_queries
        self.dispatch = dispatch
        self.order = order
        self.workflow = workflow
        self.times_s = times_s

    def reset(self, rng: np.random.Generator) -> None:
        """Forget all workflows and all that was learnt from them."""
        self.times = StageTimes(self.times_s or {})
        self.work = StageTimes({})
        self.course = Course(self.workflow)
        self.alpha_now = self.alpha
        self._queries: OrderedDict[Id, Query] = OrderedDict()
        self._query_of: dict[Id, Id] = {}
        self._budget_s: dict[Id, Seconds] = {}
        self._placed: dict[Id, tuple[Id, Seconds]] = {}
        self._given_s: dict[Id, Seconds] = {}
        self._past: deque[Past] = deque(maxlen=self.replay_queries)
        self._trials: list[tuple[float, float, float]] | None = None
        self._replay: Replay | None = None

    # What happens ----------------------------------------------------------------------------------------------------

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Follow workflows from call to call; tune alpha now and then."""
        if isinstance(event, RequestArrived):
            self._arrived(event, view)
            if self.tune_every_s and self._trials is None:
                self._trials = []
                return [Wake(event.at_s + self.tune_every_s, TUNE)]
        elif isinstance(event, RequestFinished | Failed):
            self._ended(event, view)
        elif isinstance(event, Woke) and event.tag == TUNE and self._trials is not None:
            return self._try_next(event.at_s, view)
        return ()

    def _arrived(self, event: RequestArrived, view: ServingView) -> None:
        request = event.work
        name = request.session or request.id
        query = self._queries.get(name)
        if query is None:
            query = self._begin(name, event.at_s)
        query.call(request.id, request.stage, event.at_s)
        self._query_of[request.id] = name
        pools = {instance.pool for instance in view.instances.values()} or set(view.pools)  # they may all be down
        own_s = self.times.average(request.stage, pools)
        left_s = sum(num * self.times.average(stage, pools) for stage, num in self.course.left(query.stages).items())
        if len(query.rounds) == 1:
            query.slo_s = self._promised_s(event, view) or own_s + left_s
        self._budget_s[request.id] = (query.slo_s - query.elapsed_s) * own_s / (own_s + left_s)

    def _begin(self, name: Id, now_s: Seconds) -> Query:
        query = self._queries[name] = Query(now_s)
        if len(self._queries) > MAX_QUERIES:
            idle = next((known for known, one in self._queries.items() if not one.open and known != name), None)
            if idle is not None:
                del self._queries[idle]
        return query

    def _promised_s(self, event: RequestArrived, view: ServingView) -> Seconds:
        """Return within which time of its first call a workflow is promised to be over; 0 when it is not."""
        if event.work.deadline_s is not None:
            return max(event.work.deadline_s - event.at_s, 1e-3)
        state = view.requests.get(event.work.id)
        return state.promise.e2e_s if state is not None and state.promise.e2e_s < math.inf else 0.0

    def _ended(self, event: RequestFinished | Failed, view: ServingView) -> None:
        name = self._query_of.pop(event.id, None)
        if name is None:
            return
        query = self._queries[name]
        query.end(event.id, event.at_s)
        self._budget_s.pop(event.id, None)
        stage = query.rounds[-1][0]
        instance = view.instances.get(self._leave(event.id))
        if isinstance(event, RequestFinished) and instance is not None:
            self.times.learn(stage, instance.pool, event.e2e_s - event.queue_s)
            self.work.learn(stage, instance.pool, (event.e2e_s - event.queue_s) / (instance.num_running + 1))
        if query.open or (isinstance(event, RequestFinished) and event.tool):
            return
        del self._queries[name]
        if isinstance(event, RequestFinished):
            self.course.learn(query.stages)
            self._past.append(Past(query.began_s, query.slo_s, tuple(query.rounds)))

    def _leave(self, request: Id) -> Id:
        """Note that a call is no longer where it was sent; returns where that was."""
        return self._placed.pop(request, ("", 0.0))[0]

    def _try_next(self, now_s: Seconds, view: ServingView) -> list[Action]:
        """Try one more value of alpha, so that no decision takes long; after the last, take the best."""
        if not self._queries or not view.instances:
            self._trials = None  # the next call wakes it again
            return []
        assert self._trials is not None
        if not self._trials and self._past:
            places = {name: Place(instance.pool, 1) for name, instance in view.instances.items()}
            self._replay = Replay(tuple(self._past), places, self.work.of)
        if self._replay is not None:
            alpha = GRID[len(self._trials)]
            self._trials.append((*self._replay.play(alpha), alpha))
            if len(self._trials) == len(GRID):
                self.alpha_now = min(self._trials)[-1]
                self._trials = []
        return [Wake(now_s + self.tune_every_s / len(GRID), TUNE)]

    # Seats -----------------------------------------------------------------------------------------------------------

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the instance with the largest score of those that could hold the call."""
        self._leave(state.id)
        stage = state.request.stage
        call_s = {i.id: self.times.of(stage, i.pool) for i in takers(state, view.instances.values())}
        for name in call_s:
            self._given_s.setdefault(name, 0.0)
        name = self._by_lifetime(call_s) if self.dispatch == "lifetime" else self._by_queue(call_s, view)
        self._placed[state.id] = name, call_s[name]
        self._given_s[name] += call_s[name]
        return name

    def _by_queue(self, call_s: Mapping[Id, Seconds], view: ServingView) -> Id:
        queued_s = {name: self._left_s(view.instances[name], view.now_s) for name in call_s}
        return best_place(self.alpha_now, queued_s, call_s)

    def _left_s(self, instance: InstanceState, now_s: Seconds) -> Seconds:
        """Return how much work there is at an instance: that of who waits, and what is left of who runs."""
        found = 0.0
        for states in (instance.waiting, instance.running, instance.flying):
            for state in states.values():
                took_s = self._placed.get(state.id, ("", 0.0))[1]
                done_s = now_s - state.first_step_s if state.first_step_s is not None else 0.0
                found += max(0.0, took_s - done_s)
        return found

    def _by_lifetime(self, call_s: Mapping[Id, Seconds]) -> Id:
        """Weigh how fast an instance is against how much it was ever given, both relative to the first."""
        base, alpha = next(iter(call_s)), self.alpha_now
        if not self._given_s[base]:
            return base
        return max(
            call_s,
            key=lambda name: (
                alpha * call_s[base] / call_s[name] - (1 - alpha) * self._given_s[name] / self._given_s[base]
            ),
        )

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Return those who wait, the most urgent first: whose budget is the shortest for what they need."""
        waiting = instance.waiting.values()
        if self.order == "arrival" or len(waiting) < 2:
            return waiting
        return sorted(waiting, key=lambda state: -self.urgency_s(state, instance, now_s))

    def urgency_s(self, state: RequestState, instance: InstanceState, now_s: Seconds) -> Seconds:
        """Return how much longer a call will take than there is time for it, in seconds."""
        request = state.request
        budget_s = self._budget_s.get(state.id, math.inf) - (now_s - request.arrival_s)
        return self.times.of(request.stage, instance.pool) - budget_s
