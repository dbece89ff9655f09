"""Layered prefill: prompts walk through groups of layers, one group per step, beside all decodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.recompute import decode_all, repeated, spare_blocks
from headway.policies.serving.state import InstanceState, RequestState


class LayeredPrefill:
    """Gives every decode its token, and takes one cohort of prompts through the next group of layers.

    The layers are cut into groups. In each step all groups run the decodes and exactly one also runs the cohort, so
    that after as many steps as groups each layer has seen the prompts once. A step stays short, as with chunks, but the
    weights of each layer are read for prompts once instead of once per chunk. That pays for mixtures of experts, where
    a chunk visits nearly all experts, whose weights decodes alone would not touch. For dense models, chunks do better.

    Parameters
    ----------
    max_batched_tokens : int
        Tokens of one step, decodes and cohort together, >= 1; 8192, the repository's. Longer prompts come in several
        chunks, each of which walks through the layers.
    max_seqs : int
        The most requests that run at once, >= 1; 256.
    group_tokens : int
        A cohort of L tokens takes ``ceil(L / group_tokens)`` groups, >= 1; 512, the paper's, so that a step has about
        the work of one with a chunk of 512. A large number gives every prompt the whole model at once.
    max_groups : int
        The most groups, >= 1; 16, the repository's. Never more than there are layers.
    rounding : {"up", "ladder"}
        Whether any number of groups will do, as in the paper, or the next power of two is taken, as in the repository,
        which prepares a few numbers ahead: 1, 2, 4, 8, ... up to `max_groups`.
    watermark_frac : float
        Share of the memory that an admission leaves free, in [0, 1); 0.01, as of Sarathi-Serve.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Lee et al., "From Tokens to Layers: Redefining Stall-Free Scheduling for LLM Serving with Layered Prefill",
    2025, arXiv 2510.08055, and the repository of its authors.

    Faithful to the paper: groups of consecutive layers whose sizes differ by at most one; nobody joins a cohort on its
    way; unfinished prompts before new ones, those first come first served; all memory of a prompt at admission; a
    preempted request loses its memory and its layers and waits in front. Changed: where nothing decodes, the cohort
    goes through all the layers that are left at once, for splitting them would delay it and help nobody; the watermark
    is waived while nothing runs; a prefix found in the cache is not computed again; the decodes count against
    `max_batched_tokens`. Left out: a hidden state that stays with its stage of a pipeline.

    Reproduced: in virtual time, with experts visited as unevenly as published, what it carries, saves in reads and
    energy, and loses with a dense model agrees with the paper; `headway reproduce serving/layered-prefill` shows it.

    Cost: O(prompts under way + admitted) per step; O(running) where memory is short or decodes come and go.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> seat = LayeredPrefill()
    >>> seat.num_groups(512), seat.num_groups(1500), seat.num_groups(20_000)
    (1, 3, 16)
    >>> seat.bounds(1500, num_layers=10)
    (0, 3, 6, 10)
    """

    def __init__(
        self,
        *,
        max_batched_tokens: int = 8192,
        max_seqs: int = 256,
        group_tokens: int = 512,
        max_groups: int = 16,
        rounding: Literal["up", "ladder"] = "up",
        watermark_frac: float = 0.01,
    ) -> None:
        self.max_batched_tokens = max_batched_tokens
        self.max_seqs = max_seqs
        self.group_tokens = group_tokens
        self.max_groups = max_groups
        self.rounding = rounding
        self.watermark_frac = watermark_frac
        self._bounds: dict[Id, tuple[int, ...]] = {}  # of the walk under way, by instance
        self._check()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget where walks are."""
        self._bounds = {}

    def num_groups(self, tokens: int) -> int:
        """Return into how many groups the layers are cut for a cohort of so many tokens, if there are enough."""
        num = max(1, -(-tokens // self.group_tokens))
        if self.rounding == "ladder":
            num = 1 << (num - 1).bit_length()
        return min(num, self.max_groups)

    def bounds(self, tokens: int, num_layers: int) -> tuple[int, ...]:
        """Return the layers at which the groups of a cohort begin, and the end of the last."""
        num = min(self.num_groups(tokens), num_layers)
        return tuple(place * num_layers // num for place in range(num + 1))

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return all decodes, and the cohort's next group of layers."""
        decodes = _with_landed(decode_all(instance, draft), instance, draft)
        cohort = _on_the_way(instance, draft)
        if cohort:
            pieces = self._walk_on(instance, cohort, alone=not decodes)
        else:
            pieces = self._set_out(instance, draft, self._gather(instance, draft, len(decodes)), alone=not decodes)
        if pieces:
            return Step(instance=instance.id, pieces=(*decodes, *pieces))
        if len(decodes) > len(instance.decodes):
            return Step(instance=instance.id, pieces=decodes)
        return repeated(instance, draft, decodes)

    def _gather(self, instance: InstanceState, draft: InstanceDraft, num_decodes: int) -> list[tuple[Id, int]]:
        """Make up the next cohort: who, and how many tokens each."""
        found: list[tuple[Id, int]] = []
        budget = self.max_batched_tokens - num_decodes
        for state in instance.prefills.values():
            tokens = min(state.left_tokens, budget)
            if tokens > 0 and not state.decoding and state.id not in draft.preempted and draft.extend(state, tokens):
                found.append((state.id, tokens))
                budget -= tokens
        if draft.preempted:  # who was preempted is now first in line, and has just not fitted
            return found
        for state in draft.waiting:
            if budget <= 0 or draft.num_running >= self.max_seqs:
                break
            left = draft.start(state, state.known_tokens, spare_blocks(draft, instance, self.watermark_frac))
            if left is None:
                break
            found.append((state.id, min(left, budget)))
            budget -= found[-1][1]
        return found

    def _set_out(
        self, instance: InstanceState, draft: InstanceDraft, cohort: Sequence[tuple[Id, int]], alone: bool
    ) -> list[Piece]:
        tokens = sum(count for _, count in cohort)
        bounds = (0, instance.num_layers) if alone else self.bounds(tokens, instance.num_layers)
        self._bounds[instance.id] = bounds
        layers = None if len(bounds) == 2 else (0, bounds[1])
        return [Piece(id_, count, layers) for id_, count in cohort]

    def _walk_on(self, instance: InstanceState, cohort: Sequence[RequestState], alone: bool) -> list[Piece]:
        first, last = cohort[0].layers_done, instance.num_layers
        if not alone:
            tokens = sum(state.layers_tokens for state in cohort)
            bounds = self._bounds.get(instance.id) or self.bounds(tokens, instance.num_layers)
            last = next((bound for bound in bounds if bound > first), last)
        return [Piece(state.id, state.layers_tokens, (first, last)) for state in cohort]

    def _check(self) -> None:
        for name, default in (
            ("max_batched_tokens", 8192),
            ("max_seqs", 256),
            ("group_tokens", 512),
            ("max_groups", 16),
        ):
            if getattr(self, name) < 1:
                given = getattr(self, name)
                raise ConfigError(f"serving/layered-prefill: {name} must be >= 1, got {given}. Try {default}.")
        if self.rounding not in ("up", "ladder"):
            raise ConfigError(
                f"serving/layered-prefill: rounding must be 'up' or 'ladder', got {self.rounding!r}. Try 'up'."
            )
        if not 0 <= self.watermark_frac < 1:
            raise ConfigError(
                f"serving/layered-prefill: watermark_frac must be in [0, 1), got {self.watermark_frac}. Try 0.01."
            )


def _with_landed(decodes: tuple[Piece, ...], instance: InstanceState, draft: InstanceDraft) -> tuple[Piece, ...]:
    """Add the next tokens of requests that were decoding elsewhere and have come here: no walk for a single token."""
    landed = [s for s in instance.prefills.values() if s.decoding and not s.layers_done and s.id not in draft.preempted]
    return (*decodes, *(state.one for state in landed if draft.extend(state, 1))) if landed else decodes


def _on_the_way(instance: InstanceState, draft: InstanceDraft) -> list[RequestState]:
    """Return the cohort amid its layers; of several (another policy may have left them), the one that is farthest."""
    amid = [s for s in instance.prefills.values() if s.layers_done and s.id not in draft.preempted]
    farthest = max((state.layers_done for state in amid), default=0)
    return [state for state in amid if state.layers_done == farthest]
