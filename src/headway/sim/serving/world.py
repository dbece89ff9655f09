"""Serving in virtual time: a world that runs steps at a price and alone knows how long outputs are.

Simulated are time (each run of a step takes what a `StepPrice` says) and the requests (when they arrive, after how many
tokens they stop, what their blocks hash to). Everything else, which is what an action does to queues, memory and
prefixes, is the same `ServingBoard` that a live engine keeps.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from headway.core.actions import Action, Reject, Wake
from headway.core.events import Event, Failed, Woke
from headway.core.nouns import Id, Seconds, Slo
from headway.core.slo import SloClass
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import RequestArrived, Step, StepDone
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.price import LinearPrice, StepPrice
from headway.sim.serving.workload import RandomRequests, TrueRequest

ABILITIES = frozenset({"repeat", "layer_ranges"})
"""What this world can do beyond plain steps."""
MAX_IDLE_WAKES = 10_000
"""After so many wake-ups in a row between which nothing else happened, the world takes it that nothing ever will."""
NEWS, STEP_END, WAKE = range(3)  # the order of what happens at one instant

OnToken = Callable[[RequestState, Seconds], None]


class ServingWorld:
    """Requests, instances and a price list, played in virtual time.

    What happens at one instant happens in this order: arrivals and failures, ends of steps, wake-ups; within each, in
    the order in which it was asked for. The world ends when no request is left and none is to come, whoever still wants
    to be woken. A repeated step ends early when a request of it ends or a new one arrives anywhere. After a `Reject`
    comes a `Failed`.

    Parameters
    ----------
    requests : sequence of TrueRequest
        What arrives, with the hidden truth, in any order.
    instances : sequence of InstanceState
        The replicas that serve; they are changed.
    price : StepPrice or None
        What a step costs; `LinearPrice` with its defaults by default.
    on_token : callable of (RequestState, seconds) or None
        Told of every token that a request is given.
    """

    def __init__(
        self,
        requests: Sequence[TrueRequest],
        instances: Sequence[InstanceState],
        price: StepPrice | None = None,
        on_token: OnToken | None = None,
    ) -> None:
        self.view = ServingBoard(instances, ABILITIES)
        self._truth = {true.request.id: true for true in requests}
        self._price = price or LinearPrice()
        self._on_token = on_token
        self._order = itertools.count()
        self._heap: list[tuple[Seconds, int, int, Callable[[], Iterator[Event]]]] = []
        self._wakes: set[tuple[Seconds, str]] = set()
        self._runs: dict[Id, _Run] = {}
        self._num_to_come = len(requests)
        self._num_pending = 0  # in the heap, wake-ups apart
        self._num_idle_wakes = 0
        self._events = self._play()
        for true in sorted(requests, key=lambda true: true.request.arrival_s):
            self._at(true.request.arrival_s, NEWS, partial(self._arrive, true))

    @property
    def num_left(self) -> int:
        """Requests that have not ended, or not even arrived."""
        return self._num_to_come + len(self.view.requests)

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        return next(self._events, None)

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            self._wake_at(action)
            return None
        why = self.view.apply(action)
        if why is not None:
            return why
        if isinstance(action, Step):
            self._run(_Run(action, self.view.now_s))
        elif isinstance(action, Reject):
            self._at(self.view.now_s, NEWS, partial(self._fail, action))
        return None

    def _play(self) -> Iterator[Event]:
        while self._heap and (self._num_pending or self.view.requests) and self._num_idle_wakes < MAX_IDLE_WAKES:
            self.view.now_s, rank, _, happen = heapq.heappop(self._heap)
            self._num_pending -= rank != WAKE
            self._num_idle_wakes = self._num_idle_wakes + 1 if rank == WAKE else 0
            yield from happen()

    def _at(self, at_s: Seconds, rank: int, happen: Callable[[], Iterator[Event]]) -> None:
        heapq.heappush(self._heap, (at_s, rank, next(self._order), happen))
        self._num_pending += rank != WAKE

    def _arrive(self, true: TrueRequest) -> Iterator[Event]:
        self._num_to_come -= 1
        self.view.add(true.request)
        for run in self._runs.values():
            run.cut = True
        yield RequestArrived(at_s=self.view.now_s, work=true.request)

    def _fail(self, action: Reject) -> Iterator[Event]:
        yield Failed(at_s=self.view.now_s, id=action.id, why=action.why)

    def _wake_at(self, action: Wake) -> None:
        at_s = max(action.at_s, self.view.now_s)
        if (at_s, action.tag) not in self._wakes:
            self._wakes.add((at_s, action.tag))
            self._at(at_s, WAKE, partial(self._wake, at_s, action.tag))

    def _wake(self, at_s: Seconds, tag: str) -> Iterator[Event]:
        self._wakes.remove((at_s, tag))
        yield Woke(at_s=at_s, tag=tag)

    def _run(self, run: _Run) -> None:
        self._runs[run.step.instance] = run
        took_s = self._price.step_s(run.step, self.view.instances[run.step.instance])
        self._at(self.view.now_s + took_s, STEP_END, partial(self._end, run))

    def _end(self, run: _Run) -> Iterator[Event]:
        now_s = self.view.now_s
        run.num_runs += 1
        over = [(state, reason) for state in self.view.advance(run.step, now_s) if (reason := self._token(state))]
        for state, reason in over:
            yield self.view.finish(state.id, reason, now_s)
        if run.num_runs < run.step.repeat and not run.cut and not over:
            self._run(run)
            return
        del self._runs[run.step.instance]
        self.view.instances[run.step.instance].busy = False
        yield StepDone(
            at_s=now_s,
            instance=run.step.instance,
            step_s=now_s - run.start_s,
            num_tokens=run.step.num_tokens * run.num_runs,
            num_runs=run.num_runs,
        )

    def _token(self, state: RequestState) -> str:
        """Give a request its token; returns why it ends with it, or nothing."""
        true = self._truth[state.id]
        if self._on_token is not None:
            self._on_token(state, self.view.now_s)
        block_size = self.view.instances[state.instance].kv.block_size
        full = state.known_tokens // block_size
        if len(state.hashes) < full:
            num_prompt = len(state.request.hashes)
            state.hashes += true.output_hashes[len(state.hashes) - num_prompt : full - num_prompt]
        if state.output_tokens >= true.output_tokens:
            return "stop"
        return "length" if state.output_tokens >= state.request.max_tokens else ""


class _Run:
    """A step under way."""

    __slots__ = ("cut", "num_runs", "start_s", "step")

    def __init__(self, step: Step, start_s: Seconds) -> None:
        self.step = step
        self.start_s = start_s
        self.num_runs = 0
        self.cut = False


def small_world(seed: int) -> tuple[ServingWorld, RequestAccounts]:
    """Make a world small enough for contract checks, with shared prefixes and so little memory that some are preempted.

    Parameters
    ----------
    seed : int
        Of the requests.

    Returns
    -------
    (ServingWorld, RequestAccounts)
        The world, with two unequal instances, and accounts with one class of promises.
    """
    requests = RandomRequests(rate_per_s=40.0).draw(seed)
    instances = [
        InstanceState("large", BlockPool(80), num_layers=8),
        InstanceState("small", BlockPool(48), num_layers=8),
    ]
    promise = SloClass(name="default", slos=(Slo("ttft_s", 1.0), Slo("tpot_s", 0.1)))
    return ServingWorld(requests, instances), RequestAccounts([promise])
