"""vLLM's second scheduler (V1): one token budget for whatever runs, then for whatever waits."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.recompute import decode_all, repeated
from headway.policies.serving.state import InstanceState, RequestState


class VllmV1:
    """Shares a budget of tokens among the requests that run, in the order of their start, then among those that wait.

    Prompts and outputs are not told apart: each request has tokens that are known and not computed, and gets as many of
    them as the budget has left. Memory is taken for these tokens alone, chunk by chunk.

    Parameters
    ----------
    max_batched_tokens : int
        Tokens of one step, >= `max_seqs`; 8192, that of a server on a large accelerator (2048 on others).
    max_seqs : int
        The most requests that run at once, >= 1; 256, that of a server on most accelerators (1024 on large ones).
    whole_prompts : bool
        Whether a request waits until there is memory for all its known tokens, though it takes memory for a chunk of
        them; True, as in releases since the spring of 2026. Earlier ones asked for the chunk's memory alone.
    ahead : bool
        Whether a step is decided on while the one before it runs, so that requests that came in the meantime start a
        step later; False. Releases of 2026 do so on GPUs.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: no paper. The vLLM project's description of its V1 engine (2025) and of its scheduler's settings, told in
    our own words; memory in blocks and recomputation are those of Kwon et al., SOSP 2023, arXiv 2309.06180.

    As described: requests that run come before those that wait, both first come first served; prompts are cut to the
    budget; the latest request is preempted when memory is short, loses all of it and waits in front; after a preemption
    nobody is admitted in the same step; a prefix found in the cache is not computed again; no share of the memory is
    kept free. Left out: priorities, a limit on the chunk of a long prompt (off by default there), speculative tokens,
    encoders and adapters. Changed: decodes come before unfinished prompts; this is the order of their start, but for a
    request whose prefix vanished between decision and start. With `ahead`, memory that a step frees can still be used
    in the very next one.

    Cost: O(prompts under way + admitted) per step; O(running) where memory is short or decodes come and go.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> for name in "ab":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=400, max_tokens=8)
    ...     instance.waiting[name] = RequestState(request)
    >>> step = VllmV1(max_batched_tokens=512).form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('a', 400), ('b', 112)]
    """

    def __init__(
        self,
        *,
        max_batched_tokens: int = 8192,
        max_seqs: int = 256,
        whole_prompts: bool = True,
        ahead: bool = False,
    ) -> None:
        if max_seqs < 1:
            raise ConfigError(f"serving/vllm-v1: max_seqs must be >= 1, got {max_seqs}. Try 256, the default.")
        if max_batched_tokens < max_seqs:
            raise ConfigError(
                f"serving/vllm-v1: max_batched_tokens must be >= max_seqs = {max_seqs}, for every request that runs "
                f"has a token in every step, got {max_batched_tokens}. Try 8192, the default."
            )
        self.max_batched_tokens = max_batched_tokens
        self.max_seqs = max_seqs
        self.whole_prompts = whole_prompts
        self.ahead = ahead
        self._decided_s: dict[Id, Seconds] = {}  # when the last step of each instance was decided on

    def reset(self, rng: np.random.Generator) -> None:
        """Forget when steps were decided on."""
        self._decided_s = {}

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return decodes, then chunks of prompts under way, then chunks of what waits."""
        decodes = decode_all(instance, draft)
        chunks: list[Piece] = []
        budget = self.max_batched_tokens - len(decodes)
        if instance.prefills:
            budget -= self._go_on(chunks, instance, draft, budget)
        until_s = self._known_until_s(instance, now_s)
        if instance.waiting and not draft.preempted:
            self._admit(chunks, instance, draft, budget, until_s)
        if draft.preempted:  # a prompt may have taken the memory of requests that came after it
            decodes = tuple([piece for piece in decodes if piece.request not in draft.preempted])
            chunks = [piece for piece in chunks if piece.request not in draft.preempted]
        if chunks:
            return Step(instance=instance.id, pieces=(*decodes, *chunks))
        step = repeated(instance, draft, decodes)
        is_all_known = not instance.waiting or next(reversed(instance.waiting.values())).request.arrival_s <= until_s
        return step if step is None or is_all_known else replace(step, repeat=1)

    def _known_until_s(self, instance: InstanceState, now_s: Seconds) -> Seconds:
        """Return up to when requests must have come to be known to this decision."""
        if not self.ahead:
            return now_s
        before_s = self._decided_s.get(instance.id, now_s)
        self._decided_s[instance.id] = now_s
        return before_s if instance.num_running else now_s

    def _go_on(self, chunks: list[Piece], instance: InstanceState, draft: InstanceDraft, budget: int) -> int:
        spent = 0
        for state in instance.prefills.values():
            tokens = min(state.left_tokens, budget - spent)
            if tokens <= 0:
                break
            if state.id not in draft.preempted and _make_room(instance, draft, state, tokens):
                chunks.append(Piece(state.id, tokens))
                spent += tokens
        return spent

    def _admit(
        self, chunks: list[Piece], instance: InstanceState, draft: InstanceDraft, budget: int, until_s: Seconds
    ) -> None:
        for state in draft.waiting:
            if budget <= 0 or draft.num_running >= self.max_seqs or state.request.arrival_s > until_s:
                return
            all_blocks, cached = draft.cost(state, state.known_tokens)
            if self.whole_prompts and all_blocks > draft.free_blocks:
                return
            tokens = min(state.known_tokens - cached, budget)
            if draft.start(state, cached + tokens) is None:
                return
            chunks.append(Piece(state.id, tokens))
            budget -= tokens


def _make_room(instance: InstanceState, draft: InstanceDraft, state: RequestState, tokens: int) -> bool:
    """Draft room for the next tokens of a prompt, preempting the latest; says whether it was not itself the latest."""
    latest = [other for other in instance.running.values() if other.id not in draft.preempted]
    while not draft.extend(state, tokens):
        victim = draft.victim(latest)
        latest.remove(victim)
        draft.preempt(victim)
        if victim is state:
            return False
    return True
