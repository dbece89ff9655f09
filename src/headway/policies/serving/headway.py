"""Headway's own: as many promises kept as there is time for, and everything else in what is left."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.feasible import Job, most_in_time
from headway.policies.serving.nouns import Piece, RequestFinished, Step
from headway.policies.serving.pace import Pace
from headway.policies.serving.pools import takers
from headway.policies.serving.recompute import decode_all, repeated, spare_blocks
from headway.policies.serving.room import next_due_s, pairs_s, room_tokens, step_s
from headway.policies.serving.seats import Neighbours, ServingView
from headway.policies.serving.state import InstanceState, RequestState


class Headway:
    """Keeps as many promises as there is time for, and serves everything else in what is left.

    Every decode gets its token in every step. Beside them a step computes as many tokens of prompts as it can without
    letting a decode fall behind the even pace that it was promised; tokens that came early make up for later ones.
    Prompts that can still be in time come first, by their due date; when they cannot all be in time, the longest give
    way, which keeps the most promises. Those that are late, and those that were promised nothing, take what is left,
    first come first served. How long steps take is learnt while they run.

    Parameters
    ----------
    max_chunk_tokens : int
        The most tokens of prompts in a step, >= 1; 2048, where steps on large accelerators stop gaining from more.
    min_chunk_tokens : int
        Tokens of prompts that a step computes even when decodes are behind, >= 1; 64, so that nobody waits for ever.
    max_seqs : int
        The most requests that run at once, >= 1; 256.
    margin_frac : float
        The share of every time limit that is kept back because guesses err, in [0, 1); 0.05.
    watermark_frac : float
        Share of the memory that an admission leaves free, in [0, 1); 0.01.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Headway's own, 2026, by this project; it combines what its parts have shown. Chunks of prompts beside all
    decodes: Agrawal et al., arXiv 2403.02310. Deadlines for first tokens, an even pace with slack for the others,
    deferral of who cannot be in time: SLOs-Serve, arXiv 2504.08784. The choice of whom to defer: Moore 1968. Routing
    by what is cached and by who can be in time: SGLang's router and SLOs-Serve.

    Faithful to the paper: there is none. Sizes are decided by learnt times alone, nothing by the length of outputs.

    Reproduced: on the mixed workload it carries, in the mean over five seeds, at least 1.5 times the load of
    Sarathi-Serve and 1.2 times that of SLOs-Serve; `headway reproduce serving/headway` shows it. The other published
    mechanisms were not all measured there.

    Cost: O(n log n) per step and O(n) per arrival for n requests that wait or are amid their prompts.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> from headway.policies.serving.promises import Promise
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> for name, ttft_s in ("later", 2.0), ("sooner", 1.0):
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=100, max_tokens=8)
    ...     instance.waiting[name] = RequestState(request, Promise(ttft_s=ttft_s))
    >>> seat = Headway(max_chunk_tokens=150)
    >>> seat.reset(np.random.default_rng(0))
    >>> step = seat.form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('sooner', 100), ('later', 50)]
    """

    def __init__(
        self,
        *,
        max_chunk_tokens: int = 2048,
        min_chunk_tokens: int = 64,
        max_seqs: int = 256,
        margin_frac: float = 0.05,
        watermark_frac: float = 0.01,
    ) -> None:
        counts = {"max_chunk_tokens": max_chunk_tokens, "min_chunk_tokens": min_chunk_tokens, "max_seqs": max_seqs}
        for name, count in counts.items():
            if count < 1:
                raise ConfigError(f"serving/headway: {name} must be >= 1, got {count}. Try the default.")
        for name, share in {"margin_frac": margin_frac, "watermark_frac": watermark_frac}.items():
            if not 0 <= share < 1:
                raise ConfigError(f"serving/headway: {name} must be in [0, 1), got {share}. Try the default.")
        self.max_chunk_tokens = max_chunk_tokens
        self.min_chunk_tokens = min_chunk_tokens
        self.max_seqs = max_seqs
        self.margin_frac = margin_frac
        self.watermark_frac = watermark_frac
        self._pace = Pace()

    def join(self, stack: Neighbours) -> None:
        """Learn step times together with the other seats."""
        self._pace = stack.pace

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everybody."""
        self._late: set[Id] = set()
        self._uncached: dict[Id, int] = {}

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Forget who has left."""
        if isinstance(event, RequestFinished | Failed):
            self._late.discard(event.id)
            self._uncached.pop(event.id, None)
        return ()

    # Which instance --------------------------------------------------------------------------------------------------

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the instance with the least work for a prompt of those where it is in time, else the earliest."""
        best, best_rank = "", (True, math.inf, math.inf)
        for instance in takers(state, view.instances.values()):
            rate, own = self._tokens_per_s(instance), _uncached_tokens(instance, state)
            end_s = view.now_s + (self._backlog_tokens(instance) + own) / rate
            is_late = end_s > state.request.arrival_s + state.promise.ttft_s
            rank = (is_late, end_s, own) if is_late else (is_late, float(own), end_s)
            if not best or rank < best_rank:
                best, best_rank = instance.id, rank
        self._uncached[state.id] = _uncached_tokens(view.instances[best], state)
        return best

    def _backlog_tokens(self, instance: InstanceState) -> int:
        waiting = sum(self._left_tokens(instance, s) for s in instance.waiting.values() if s.id not in self._late)
        return waiting + sum(state.left_tokens for state in instance.prefills.values() if state.id not in self._late)

    # Which tokens ----------------------------------------------------------------------------------------------------

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return all decodes, then chunks of prompts as far as there is room, who can be in time first."""
        decodes = decode_all(instance, draft)
        chunks: list[Piece] = []
        in_turn = self._in_turn(instance, draft, now_s) if instance.prefills or instance.waiting else []
        if in_turn:  # an order seat may leave out everybody who waits
            room = self._room_tokens(instance, now_s, in_turn[0])
            for state in in_turn:
                room -= self._compute(chunks, state, draft, room)
                if room < 1:
                    break
        if chunks:
            return Step(instance=instance.id, pieces=(*decodes, *chunks))
        return repeated(instance, draft, decodes)

    def _room_tokens(self, instance: InstanceState, now_s: Seconds, first: RequestState) -> int:
        due_s = min((next_due_s(state) for state in instance.decodes if state.id not in self._late), default=math.inf)
        limit_s = (due_s - now_s) * (1 - self.margin_frac)
        before = first.known_tokens - self._left_tokens(instance, first)
        return max(room_tokens(self._pace, instance, limit_s, self.max_chunk_tokens, before), self.min_chunk_tokens)

    def _compute(self, chunks: list[Piece], state: RequestState, draft: InstanceDraft, room: int) -> int:
        """Draft a chunk of a prompt; returns its tokens, 0 when there is no memory for it."""
        instance, left = draft.instance, state.left_tokens
        if state.id in instance.running:
            if state.id in draft.preempted or not draft.extend(state, min(left, room)):
                return 0
        else:
            is_full = draft.preempted or draft.num_running >= self.max_seqs
            spare = spare_blocks(draft, instance, self.watermark_frac)
            started = None if is_full else draft.start(state, state.known_tokens, spare)
            if started is None:
                return 0
            left = started
        chunks.append(Piece(state.id, min(left, room)))
        return min(left, room)

    def _in_turn(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> list[RequestState]:
        """Return who is not decoding: who lost its place amid its output, who can be in time, who cannot."""
        rate, best_rate = self._tokens_per_s(instance), self._most_tokens_per_s(instance)
        jobs: list[Job] = []
        first: list[RequestState] = []
        others: list[RequestState] = []
        for number, state in enumerate([*instance.prefills.values(), *draft.waiting]):
            due_s = state.request.arrival_s + state.promise.ttft_s
            if state.output_tokens and state.id not in self._late:
                first.append(state)
            elif due_s == math.inf or state.id in self._late:
                others.append(state)
            else:
                left = self._left_tokens(instance, state)
                more_s = pairs_s(self._pace, instance, left, state.known_tokens - left)
                if now_s + left / best_rate + more_s > due_s:  # not even alone, and without regard to others
                    self._late.add(state.id)
                    others.append(state)
                else:
                    jobs.append(Job(due_s, left / rate + more_s, number, state))
        in_time, too_long = most_in_time(jobs, now_s)
        return [*first, *(job.state for job in (*in_time, *too_long)), *others]

    def _left_tokens(self, instance: InstanceState, state: RequestState) -> int:
        """Return how many tokens of a prompt are to be computed, as far as the cache was known when it came."""
        if state.id in instance.running:
            return state.left_tokens
        known = self._uncached.get(state.id)
        if known is None:
            known = self._uncached[state.id] = _uncached_tokens(instance, state)
        return known

    def _tokens_per_s(self, instance: InstanceState) -> float:
        """Return how fast prompts go beside decodes that keep the pace they were promised."""
        paces_s = (state.promise.tpot_s for state in instance.decodes if state.id not in self._late)
        limit_s = min(paces_s, default=math.inf) * (1 - self.margin_frac)
        room = max(room_tokens(self._pace, instance, limit_s, self.max_chunk_tokens), self.min_chunk_tokens)
        return room / step_s(self._pace, instance, room)

    def _most_tokens_per_s(self, instance: InstanceState) -> float:
        return self.max_chunk_tokens / step_s(self._pace, instance, self.max_chunk_tokens)


def _uncached_tokens(instance: InstanceState, state: RequestState) -> int:
    kv = instance.kv
    found = kv.match(state.hashes[: (state.known_tokens - 1) // kv.block_size]) if state.hashes else ()
    return state.known_tokens - len(found) * kv.block_size
