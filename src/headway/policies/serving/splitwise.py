"""Splitwise: some machines compute prompts, others outputs, and keys and values go from one to the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Changed, Event, Failed, Finished, Refused
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.lengths import MostTokens
from headway.policies.serving.nouns import RequestMoved, Step, StepDone
from headway.policies.serving.seats import Neighbours, Predict, ServingView
from headway.policies.serving.splitwise_batch import WholePrompts
from headway.policies.serving.splitwise_handover import Handover
from headway.policies.serving.splitwise_pools import Clusters
from headway.policies.serving.state import InstanceState, RequestState


class Splitwise:
    """Gives each request two machines: one that computes its prompt, and one that computes its output.

    Prompts are bound by arithmetic, outputs by memory, so each kind of machine does what it is good at, in batches of
    its own size, and a prompt delays no output. A request's keys and values follow its prompt layer by layer. Machines
    of either pool help the other when it is overloaded, with mixed batches, and go back when that work is done.

    Pools of the fleet whose names begin with ``prompt``, ``token`` or ``mixed`` are what they say.

    Parameters
    ----------
    prompt_frac : float
        Share of the machines in pools of other names that compute prompts, in [0, 1]; 0.5.
    max_queue_tokens : int
        Pending prompt tokens of a machine beyond which another pool helps, >= 1; 8192, that of the authors' simulator.
    max_batched_tokens : int
        Tokens of one step, >= 1; a longer prompt runs alone; 2048, the paper's.
    max_seqs : int
        Requests of one step, >= 1; 512, that of the simulator.
    max_passed_over : int
        An output that had to wait for so many steps of prompts comes before them, >= 1; 4, that of the simulator.
    layerwise_tokens : int
        Shorter prompts are sent in one piece when they are computed, >= 0; 512, the paper's.
    watermark_frac : float
        Share of the memory that the start of a prompt leaves free, in [0, 1); 0.01, that of other batch seats.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Patel et al., "Splitwise: Efficient Generative LLM Inference Using Phase Splitting", ISCA 2024, arXiv
    2311.18677, the two levels of scheduling and the transfer; rules and numbers that the paper leaves open from the
    simulator that its authors released.

    Faithful to the paper: both machines are chosen at arrival, by the shortest queue of tokens and by the memory
    promised; mixed pool, then the other pool, then one machine for both phases; machines return when their foreign work
    is done; whole prompts first come, first served, up to the token limit; outputs that are passed over keep their
    memory and come first after a number of times; transfer by layer for long prompts, at once for short ones. Left out:
    machines that change their pool for good. Changed: the memory that a request will need is that of the predictor's
    estimate, where the authors' simulator reads the true length; queues are seen as they are, not as last reported;
    where memory is short a request is recomputed, and outputs have their next block before a prompt starts; where the
    destination is full a request waits with its memory where its prompt was computed. Without the abilities migrate and
    copy both phases run on one machine, or the transfer follows the prompt.

    Reproduced: in virtual time, what clusters of equal power and of equal cost carry agrees in direction, and in size
    within a factor of two; not that a cluster provisioned for another trace loses little.
    `headway reproduce serving/splitwise` shows them.

    Cost: O(instances + requests on them) per arrival, O(running) per step with prompts.

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> machines = [InstanceState(name, BlockPool(64), num_layers=2) for name in ("one", "two")]
    >>> view = ServingBoard(machines, frozenset({"migrate", "copy"}))
    >>> splitwise = Splitwise()
    >>> splitwise.pick(RequestState(Request(id="r", arrival_s=0.0, prompt_tokens=40, max_tokens=8)), view)
    'one'
    """

    def __init__(
        self,
        *,
        prompt_frac: float = 0.5,
        max_queue_tokens: int = 8192,
        max_batched_tokens: int = 2048,
        max_seqs: int = 512,
        max_passed_over: int = 4,
        layerwise_tokens: int = 512,
        watermark_frac: float = 0.01,
    ) -> None:
        _require("prompt_frac", prompt_frac, 0 <= prompt_frac <= 1, "in [0, 1]", "0.5")
        _require("max_queue_tokens", max_queue_tokens, max_queue_tokens >= 1, ">= 1", "8192")
        _require("max_batched_tokens", max_batched_tokens, max_batched_tokens >= 1, ">= 1", "2048")
        _require("max_seqs", max_seqs, max_seqs >= 1, ">= 1", "512")
        _require("max_passed_over", max_passed_over, max_passed_over >= 1, ">= 1", "4")
        _require("layerwise_tokens", layerwise_tokens, layerwise_tokens >= 0, ">= 0", "512")
        _require("watermark_frac", watermark_frac, 0 <= watermark_frac < 1, "in [0, 1)", "0.01")
        self.prompt_frac = prompt_frac
        self.max_queue_tokens = max_queue_tokens
        self.max_batched_tokens = max_batched_tokens
        self.max_seqs = max_seqs
        self.max_passed_over = max_passed_over
        self.layerwise_tokens = layerwise_tokens
        self.watermark_frac = watermark_frac
        self._predict: Predict = MostTokens()
        self._machines: dict[Id, InstanceState] = {}
        self._can: frozenset[str] = frozenset()
        self._forget_all()

    def join(self, stack: Neighbours) -> None:
        """Take the estimates of the stack's predictor."""
        self._predict = stack.predict

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the pools and who is where."""
        self._forget_all()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the machines: they are those of one run, and a copy is reset before its own."""
        return {**self.__dict__, "_machines": {}}

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the machine of the prompt, and keep that of the output in mind."""
        self._machines, self._can = dict(view.instances), view.can
        self._forget(state.id)
        plan = self._pools.choose(state, view.instances, self._tokens)
        if "migrate" not in view.can:
            self._pools.forget(state.id)
            return plan.prompt
        self._handover.expect(state.id, plan)
        return plan.prompt

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return whole prompts and as many tokens as fit beside them; copies of the prompts begin with it."""
        leaving = self._handover.leaving.get(instance.id, {})
        step = self._batch.form(instance, draft, leaving)
        if draft.started and leaving and "copy" in self._can:
            goals = {id_: self._pools.plans[id_].token for id_ in draft.started if id_ in leaving}
            up = {id_: self._machines[name] for id_, name in goals.items() if name in self._machines}
            self._handover.copy_started(draft, up, now_s)
        return step

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Send requests to the machines of their outputs, and forget those that have ended."""
        if isinstance(event, Refused):
            return ()  # who could not leave now would be refused again
        if isinstance(event, StepDone):
            self._handover.step_done(event.instance, view.requests)
        elif isinstance(event, Finished | Failed):
            self._forget(event.id)
        elif isinstance(event, RequestMoved):
            self._handover.forget(event.id, self._pools.plans.get(event.id))
            self._pools.left_prompt(event.id)
        elif isinstance(event, Changed):
            self._machines = dict(view.instances)
            self._replan(view)
        return list(self._handover.moves(view, self._pools.plans))

    def _replan(self, view: ServingView) -> None:
        """Find other machines for what was to leave for one that is gone; who is routed anew is planned anew."""
        for request, plan in list(self._pools.plans.items()):
            state = view.requests.get(request)
            if state is None or state.id in view.unrouted:
                self._forget(request)
            elif plan.token not in view.instances and state.instance in view.instances:
                self._handover.forget(request, plan)
                self._pools.choose_token(state, view.instances, self._tokens(state))
                self._handover.expect(request, self._pools.plans[request])

    def _tokens(self, state: RequestState) -> float:
        return state.request.prompt_tokens + self._predict.output_tokens(state)

    def _forget(self, request: Id) -> None:
        self._handover.forget(request, self._pools.plans.get(request))
        self._pools.forget(request)
        self._batch.forget(request)

    def _forget_all(self) -> None:
        self._pools = Clusters(self.prompt_frac, self.max_queue_tokens)
        self._handover = Handover(self.layerwise_tokens)
        self._batch = WholePrompts(self.max_batched_tokens, self.max_seqs, self.max_passed_over, self.watermark_frac)
        self._machines, self._can = {}, frozenset()


def _require(name: str, value: float, fine: bool, must: str, default: str) -> None:
    if not fine:
        raise ConfigError(f"serving/splitwise: {name} must be {must}, got {value}. Try {default}, the default.")
