"""SLOs-Serve: places are promised to as many requests as can all be in time; the others get what is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from headway.core.actions import Action, Reject
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.lengths import MostTokens
from headway.policies.serving.nouns import RequestFinished, Step
from headway.policies.serving.pace import Pace, shape_of
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import Neighbours, Predict, ServingView
from headway.policies.serving.slos_batch import Forming, plain
from headway.policies.serving.slos_planner import Planner
from headway.policies.serving.stack import AdmitAll, LeastLoaded
from headway.policies.serving.state import InstanceState, RequestState

RETRY_AFTER_S: Seconds = 1.0


class SlosServe:
    """Plans against deadlines: a dynamic program chooses who gets a place, steps are cut so that lines are kept.

    The first token of a request is due by its own deadline, the others along a line. Whoever asks gets a place if all
    who have one can still be in time and the memory suffices; as many as possible do. Steps last until the most
    urgent line needs its next token; what decodes leave goes to prompts by deadline. Requests without a place are
    served from what is left over, and give their memory back when others need it. With a draft model, tokens are
    drafted as long as that leaves more for prompts. With several instances, a request goes to the first that can
    promise it a place.

    Parameters
    ----------
    safety_frac : float
        The share of every period that is kept in reserve for errors of the prediction, in [0, 1); 0.1.
    max_new : int
        How many requests are asked about at once, >= 1; 10, the paper's order.
    longest_step_s : float
        The longest step, in seconds, > 0; 0.5. Nor is any longer than the least urgent time per token.
    surplus : str
        What becomes of requests that can be promised nothing: ``"defer"``, the paper's, serves them from what is left,
        ``"reject"`` turns them away, ``"keep"`` serves them by deadline like all others.
    speculate : bool
        Whether tokens are drafted where the executor has a draft model; true.
    max_hops : int
        To how many instances more a request is passed on before it is put off, >= 0; 3. 0 asks the first alone.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Chen, Jia, Khan, Krishnamurthy, Gibbons, "SLOs-Serve: Optimized Serving of Multi-SLO LLMs", 2025, arXiv
    2504.08784.

    Faithful to the paper: the program over deadlines, memory in 64 parts and tiers; the budget beside decodes and its
    inverse; drafts per tier that leave most for prompts; batches by due tokens, then prompts by deadline, then best
    effort; recomputation of those who gave way; routing by feasibility. Changed: the line begins at the first token and
    not at its deadline, since that is how a time per token is counted; the times of steps are those of the stack's
    `Pace`, which learns while serving, in place of a fit made beforehand; whoever was put off is asked about again
    while it could still be in time, and whoever cannot be in time any more loses its place; memory is promised up to
    the peak that requests come to together, not to the sum of their final sizes; half of what drafts bring on average
    is counted on. Left out: stages within
    one request, such as thinking: each request has one deadline and one line; values other than one per request.

    What was promised comes from `RequestState.promise`, lengths from the stack's predictor: an underestimate breaks
    promises, an overestimate wastes memory.

    Reproduced: in virtual time the gain in capacity agrees with the paper in direction, and in size within a factor of
    two (it is smaller here); `headway reproduce serving/slos-serve` shows it. Drafts need an executor that speculates,
    which the live engine does not.

    Cost: the program O(asking x 64 x (asked in tier 1 + 1) x ...) whenever somebody arrives or ends, at most 10
    asked at a time; a step O(running log running).

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> from headway.policies.serving.promises import promised
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> request = Request(id="a", arrival_s=0.0, prompt_tokens=100, max_tokens=8, ttft_s=1.0, tpot_s=0.1)
    >>> instance.waiting["a"] = RequestState(request, promised(request, {}))
    >>> SlosServe().form(instance, InstanceDraft(instance), 0.0).pieces
    (Piece(request='a', tokens=100, layers=None),)
    """

    def __init__(
        self,
        *,
        safety_frac: float = 0.1,
        max_new: int = 10,
        longest_step_s: Seconds = 0.5,
        surplus: Literal["defer", "reject", "keep"] = "defer",
        speculate: bool = True,
        max_hops: int = 3,
    ) -> None:
        if not 0 <= safety_frac < 1:
            raise ConfigError(f"serving/slos-serve: safety_frac must be in [0, 1), got {safety_frac}. Try 0.1.")
        if max_new < 1:
            raise ConfigError(f"serving/slos-serve: max_new must be >= 1, got {max_new}. Try 10, the default.")
        if not longest_step_s > 0:
            raise ConfigError(f"serving/slos-serve: longest_step_s must be > 0, got {longest_step_s}. Try 0.5.")
        if surplus not in ("defer", "reject", "keep"):
            raise ConfigError(f"serving/slos-serve: surplus must be defer, reject or keep, got {surplus!r}. Try defer.")
        if max_hops < 0:
            raise ConfigError(f"serving/slos-serve: max_hops must be >= 0, got {max_hops}. Try 3, the default.")
        self.safety_frac = safety_frac
        self.max_new = max_new
        self.longest_step_s = longest_step_s
        self.surplus = surplus
        self.speculate = speculate
        self.max_hops = max_hops
        self._pace: Pace = Pace()
        self._predict: Predict = MostTokens()
        self.planner = self._plan_anew(self._pace, self._predict)
        self._all, self._least = AdmitAll(), LeastLoaded()

    def join(self, stack: Neighbours) -> None:
        """Take the stack's pace and predictor."""
        self._pace, self._predict = stack.pace, stack.predict

    def reset(self, rng: np.random.Generator) -> None:
        """Forget who was promised what, and how often drafts are right."""
        self.planner = self._plan_anew(self._pace, self._predict)

    def _plan_anew(self, pace: Pace, predict: Predict) -> Planner:
        return Planner(
            pace,
            predict,
            safety_frac=self.safety_frac,
            max_new=self.max_new,
            longest_step_s=self.longest_step_s,
            chooses=self.surplus != "keep",
        )

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Follow who has ended, and whether the executor has a draft model; there is nothing to be done."""
        if isinstance(event, RequestFinished | Failed):
            self.planner.forget(event.id)
        self.planner.speculates = self.speculate and "speculate" in view.can
        return ()

    # Admission and routing -------------------------------------------------------------------------------------------

    def refusal(self, state: RequestState, view: ServingView) -> str | Reject | None:
        """Turn away what no instance could ever hold and, where surplus is rejected, what none can promise a place."""
        why = self._all.refusal(state, view)
        if why or self.surplus != "reject" or self.planner.line(state).is_none or self._place(state, view):
            return why
        return Reject(state.id, "no instance can serve it in time beside those that it has promised", RETRY_AFTER_S)

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the first instance that can promise it a place, beginning with the least loaded; else that one."""
        if len(view.instances) == 1:
            return self._least.pick(state, view)  # who gets a place is decided for all who are new at once
        return self._place(state, view) or self._least.pick(state, view)

    def _place(self, state: RequestState, view: ServingView) -> Id | None:
        able = takers(state, view.instances.values())
        able.sort(key=lambda instance: instance.num_requests)
        for instance in able[: 1 + self.max_hops]:
            if self.planner.would_take(instance, state, view.now_s):
                return instance.id
        return None

    # Order and eviction ----------------------------------------------------------------------------------------------

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Return those who have a place by deadline, then the others as they came."""
        planner = self.planner
        planner.look(instance, now_s)
        waiting = list(instance.waiting.values())
        kept = [state for state in waiting if planner.is_kept(state)]
        kept.sort(key=lambda state: planner.line(state).due_s(state))
        return [*kept, *(state for state in waiting if not planner.is_kept(state))]

    def victim(self, instance: InstanceState, running: Sequence[RequestState], now_s: Seconds) -> RequestState:
        """Return the latest of those without a place, else the one whose next token is due last."""
        return self.planner.victim(running)

    def make_room(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> None:
        """Nothing is pinned."""

    # Batches ---------------------------------------------------------------------------------------------------------

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return what is due, then prompts by deadline, then what is left to those without a place."""
        planner = self.planner
        planner.acceptance.look(instance)
        planner.look(instance, now_s)
        budget = planner.budget(instance)
        step = plain(instance, draft, planner, budget)
        if step is not None or draft.preempted:
            return step
        plan, load = planner.plan(instance, budget)
        drafts = dict(zip(load.tpot_s, plan.drafts, strict=True))
        step = Forming(instance, draft, planner, budget, now_s).step(plan.period_s, drafts)
        if step is not None:
            planner.acceptance.note(instance, step.speculate)
            planner.note(instance, now_s + self._pace.step_s(instance, shape_of(instance, step)))
        return step
