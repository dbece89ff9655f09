"""semi-PD: prefill and decode work side by side, each with a share of the compute, over one KV memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from msgspec.structs import replace

from headway.core.actions import Action, Set, Wake
from headway.core.errors import ConfigError
from headway.core.events import Changed, Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.lanes import NUM_LANES
from headway.policies.serving.nouns import Piece, RequestArrived, Step, StepDone
from headway.policies.serving.partition import Knobs, Partition, multiple
from headway.policies.serving.recompute import decode_all, repeated, spare_blocks
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState

LANES = "lanes"
"""The tag of the wake-up in which the second of two idle workers gets its step."""


class SemiPd:
    """Lets a prefill worker and a decode worker run at the same time, and shifts compute between them.

    The prefill worker takes prompts first come first served; the decode worker gives all that decode one token after
    the other. Every so many iterations a controller looks at the time to first token and the time per output token of
    the window. When one of the two alone is too long it gives that worker more of the compute, as much as the fitted
    laws say.

    Parameters
    ----------
    prefill_share : float
        The prefill worker's share of the compute at the start, in (0, 1]; 1. Where both shares add up to more than 1
        the workers compete.
    decode_share : float
        The decode worker's, in (0, 1]; 1.
    window : int
        Iterations of both workers between two looks of the controller, >= 0; 200. With 0 the shares stay as they are.
    step_share : float
        By how much a share changes at a time, in (0, 1); 0.05.
    max_steps : int
        How many such changes a look may make, >= 1; 10. The paper names none of these three values.
    quantile : float
        The share of requests that must be within their bounds, in (0, 1); 0.9, the paper's.
    ttft_s : float
        Bound on the time to first token of requests that were promised none, in seconds, >= 0; 0 stands for none.
    tpot_s : float
        The same on the time per output token.
    chunk_tokens : int
        Prompt tokens of one iteration of the prefill worker, >= 1; 2048.
    max_batch : int
        The most requests that an iteration of the decode worker gives a token, >= 1; 512, the paper's. Others wait.
    watermark_frac : float
        Share of the memory that an admission leaves free, in [0, 1); 0.01, that of `serving/vllm`.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Hong et al., "semi-PD: Towards Efficient LLM Serving via Phase-Wise Disaggregated Computation and Unified
    Storage", 2025, arXiv 2504.19867, its computation controller and its algorithm of SLO-aware partitioning.

    Faithful to the paper: two asynchronous workers over one KV memory and one set of weights, shares that may add up to
    more than the whole, the windowed controller (nothing while both latencies are too long, or neither; normalised
    shares; steps up, and down for the other where a share is whole), the two latency laws and their online fit, new
    shares from a worker's next iteration on. Reconstructed: window, step and their number; the fit (least squares, a
    grid of knees, the measured load as the knee while fewer than three shares were seen). Changed: latencies are
    multiples of each request's own bounds; the time per output token of a window is that of its iterations, which
    every decoding request shares, and longer as more wait for a place in it; the law through which shares are turned is
    scaled to the last window; prompts are cut into chunks, as in the authors' later version; switching costs
    nothing, for what is switched is a number here (their new processes start in the background). Left out: semi-PD
    instances as a buffer between pure prefill and decode instances. On an instance without lanes it runs prompts first
    and then decodes, one step after the other.

    Not reproduced: in virtual time it carries more than prompts first and than its own workers without the controller,
    as much as chunks of prompts, and no more than prompts and decodes apart unless memory is short;
    `headway reproduce serving/semi-pd` shows it.

    Cost: O(prompts under way + admitted) per iteration of prefill, O(1) per iteration of decode, O(running) per window.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> for name in "ab":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=400, max_tokens=8)
    ...     instance.waiting[name] = RequestState(request)
    >>> step = SemiPd(chunk_tokens=512).form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('a', 400), ('b', 112)]
    """

    knows_lanes = True

    def __init__(
        self,
        *,
        prefill_share: float = 1.0,
        decode_share: float = 1.0,
        window: int = 200,
        step_share: float = 0.05,
        max_steps: int = 10,
        quantile: float = 0.9,
        ttft_s: Seconds = 0.0,
        tpot_s: Seconds = 0.0,
        chunk_tokens: int = 2048,
        max_batch: int = 512,
        watermark_frac: float = 0.01,
    ) -> None:
        legal = {
            "prefill_share must be in (0, 1]": 0 < prefill_share <= 1,
            "decode_share must be in (0, 1]": 0 < decode_share <= 1,
            "window must be >= 0": window >= 0,
            "step_share must be in (0, 1)": 0 < step_share < 1,
            "max_steps must be >= 1": max_steps >= 1,
            "quantile must be in (0, 1)": 0 < quantile < 1,
            "ttft_s must be >= 0": ttft_s >= 0,
            "tpot_s must be >= 0": tpot_s >= 0,
            "chunk_tokens must be >= 1": chunk_tokens >= 1,
            "max_batch must be >= 1": max_batch >= 1,
            "watermark_frac must be in [0, 1)": 0 <= watermark_frac < 1,
        }
        self.prefill_share = prefill_share
        self.decode_share = decode_share
        self.window = window
        self.step_share = step_share
        self.max_steps = max_steps
        self.quantile = quantile
        self.ttft_s = ttft_s
        self.tpot_s = tpot_s
        self.chunk_tokens = chunk_tokens
        self.max_batch = max_batch
        self.watermark_frac = watermark_frac
        for rule, holds in legal.items():
            if not holds:
                raise ConfigError(f"serving/semi-pd: {rule}, got {getattr(self, rule.split()[0])}. Try the default.")
        self._forget()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget shares and laws."""
        self._forget()

    def _forget(self) -> None:
        self.partitions: dict[Id, Partition] = {}
        self._decoding: set[Id] = set()  # instances whose decode worker has a step
        self._first: dict[Id, list[RequestState]] = {}  # in a prefill step, and without a first token before it

    def partition(self, instance: Id) -> Partition:
        """Return the shares of an instance."""
        found = self.partitions.get(instance)
        if found is None:
            knobs = Knobs(self.window, self.step_share, self.max_steps, self.quantile)
            found = self.partitions[instance] = Partition(self.prefill_share, self.decode_share, knobs)
        return found

    # Steps -----------------------------------------------------------------------------------------------------------

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return the next step of a worker that is idle; of the decode worker if both are."""
        if instance.num_lanes == 1:
            return self._prompts(instance, draft) or repeated(instance, draft, decode_all(instance, draft))
        is_decoding = _is_decoding(instance)
        if len(instance.decodes) and not is_decoding:
            return self._decode(instance, draft, now_s)
        return None if instance.num_under_way > is_decoding else self._prefill(instance, draft)

    def _decode(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        step = repeated(instance, draft, decode_all(instance, draft))
        if step is None:
            return None
        if len(step.pieces) > self.max_batch:
            longest = sorted([s for s in instance.decodes if s.id not in draft.preempted], key=lambda s: s.turn)
            step = Step(instance=instance.id, pieces=tuple([state.one for state in longest[: self.max_batch]]))
        if not instance.num_under_way and (instance.prefills or instance.waiting):
            draft.actions.append(Wake(now_s, LANES))
        self._decoding.add(instance.id)
        return replace(step, share=self.partition(instance.id).decode)

    def _prefill(self, instance: InstanceState, draft: InstanceDraft) -> Step | None:
        step = self._prompts(instance, draft)
        return None if step is None else replace(step, share=self.partition(instance.id).prefill)

    def _prompts(self, instance: InstanceState, draft: InstanceDraft) -> Step | None:
        pieces = list(self._go_on(instance, draft))
        pieces += self._admit(instance, draft, self.chunk_tokens - sum([piece.tokens for piece in pieces]))
        if not pieces:
            return None
        states = [instance.running.get(piece.request) or instance.waiting[piece.request] for piece in pieces]
        self._first.setdefault(instance.id, []).extend([one for one in states if one.first_token_s is None])
        return Step(instance=instance.id, pieces=tuple(pieces))

    def _go_on(self, instance: InstanceState, draft: InstanceDraft) -> Iterator[Piece]:
        budget = self.chunk_tokens
        for state in instance.prefills.values():
            tokens = min(state.left_tokens, budget)
            if tokens > 0 and draft.extend(state, tokens):
                budget -= tokens
                yield Piece(state.id, tokens)

    def _admit(self, instance: InstanceState, draft: InstanceDraft, budget: int) -> Iterator[Piece]:
        for state in draft.waiting:
            if budget <= 0:
                return
            left = draft.start(state, state.known_tokens, spare_blocks(draft, instance, self.watermark_frac))
            if left is None:
                return
            yield Piece(state.id, min(left, budget))
            budget -= min(left, budget)

    # The controller --------------------------------------------------------------------------------------------------

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Open a second lane where there is none; learn from every iteration."""
        if isinstance(event, StepDone):
            instance = view.instances.get(event.instance)
            if instance is not None:
                self._learn(instance, event)
        elif isinstance(event, Changed):
            self._decoding.discard(event.resource.id)
            self._first.pop(event.resource.id, None)
        if isinstance(event, RequestArrived | Changed) and "lanes" in view.can:
            return [Set(NUM_LANES, 2, of=one.id) for one in view.instances.values() if _can_open(one)]
        return ()

    def _learn(self, instance: InstanceState, done: StepDone) -> None:
        partition, first = self.partition(instance.id), self._first.pop(instance.id, [])
        for state in first:
            if state.first_token_s is None:
                self._first.setdefault(instance.id, []).append(state)
            elif bound := self._bound(state.promise.ttft_s, self.ttft_s):
                partition.note_first_token(multiple(state.first_token_s - state.request.arrival_s, bound))
        if instance.num_lanes == 1:
            return
        if instance.id in self._decoding and not _is_decoding(instance):
            self._decoding.remove(instance.id)
            crowd = max(1.0, len(instance.decodes) / self.max_batch)  # who waits for a place has no token either
            partition.note_decode(crowd * done.step_s, done.num_runs)
        else:
            partition.note_prefill(done.step_s)
        partition.look(done.at_s, lambda: [self._bound(s.promise.tpot_s, self.tpot_s) for s in instance.decodes])

    def _bound(self, promised_s: Seconds, otherwise_s: Seconds) -> Seconds:
        """Return a bound, infinite when there is none."""
        return promised_s if promised_s < math.inf else otherwise_s or math.inf


def _is_decoding(instance: InstanceState) -> bool:
    """Whether a step of the decode worker is under way."""
    return instance.decodes_held or any([state.decoding for state in instance.flying.values()])


def _can_open(instance: InstanceState) -> bool:
    return instance.num_lanes == 1 == instance.num_stages and not instance.busy and not instance.flying
