"""LoRAFusion's scheduler: adapters share balanced microbatches, so that a pipeline never waits for one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Arrived, Event, Failed, Finished, Refused
from headway.core.nouns import Id
from headway.policies.tuning.lorafusion_board import AdapterState, PipelineView
from headway.policies.tuning.lorafusion_nouns import Enter, Mix
from headway.policies.tuning.lorafusion_plan import Knobs, Left, Pipe, planned


class LoraFusion:
    """Trains several adapters over one frozen model at once, in microbatches of equal size that they share.

    Adapters form groups of one or two. The global batches of a group are packed into as few microbatches as can be,
    full but for the last. Groups take turns: while the gradients of one are on their way back through the pipeline,
    the microbatches of the others fill it. What room is left is filled from the microbatches that follow, and where
    two global batches of an adapter would come too close, empty microbatches keep them apart.

    Parameters
    ----------
    max_group : int
        Adapters that may share a group, 1 or 2; 2, that of the authors' code.
    k_sigma : float
        How many standard deviations of the lengths a cautious count of microbatches is below the mean, >= 0; 0.25, that
        of the authors' code.
    merge_tokens : int
        A microbatch with as many free tokens takes in examples of those behind it, >= 1; 1024, the authors'.
    lookahead : int
        How many of those behind it are looked at, >= 0; 8, the authors'.
    max_nodes : int
        How far each of the two searches for a better packing goes, in tries to lay an example into a microbatch, >= 0;
        500. With 0 the packing is greedy.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Zhu, Su, Ding, Song, Wang, Pekhimenko, "LoRAFusion: Efficient LoRA Fine-Tuning for LLMs", 2025,
    arXiv 2510.00206, its section on scheduling several adapters; constants as in the code that the authors released.

    Faithful to the paper: groups by a cautious count of microbatches, head paired with tail; packing in two stages,
    first the fewest microbatches, then the smallest last one, from a greedy start; groups staggered; the merge pass;
    the distance of at least as many microbatches as stages, kept with empty ones. Changed: instead of mixed-integer
    programs with a time limit, solved in parallel processes, a depth-first search with a limit in nodes, so that all
    machines decide alike; a plan is made again when a job comes or ends early, around what is under way; all that is
    left is planned at once, not one step ahead. The fused kernels are `headway.engines.tuning.lorafusion_function`.

    Cost: per plan O(examples times microbatches of a global batch), at most 2 * `max_nodes` tries per global batch and
    group, and O(microbatches * lookahead * stages) for the merge pass; O(1) per event otherwise.

    Examples
    --------
    >>> from headway.policies.tuning.lorafusion_board import PipelineBoard
    >>> from headway.policies.tuning.lorafusion_nouns import AdapterJob
    >>> board = PipelineBoard(num_stages=1, capacity_tokens=8, tile_tokens=1)
    >>> for name, lengths in {"a": ((5, 2), (4,)), "b": ((3, 3),)}.items():
    ...     board.add(AdapterJob(id=name, arrival_s=0.0, lengths=lengths))
    >>> policy = LoraFusion()
    >>> (enter,) = policy.decide(Arrived(at_s=0.0, work=board.jobs["a"].job), board)
    >>> [(part.job, part.samples) for part in enter.mix.parts]
    [('b', (0,)), ('a', (0,))]
    """

    def __init__(
        self,
        *,
        max_group: int = 2,
        k_sigma: float = 0.25,
        merge_tokens: int = 1024,
        lookahead: int = 8,
        max_nodes: int = 500,
    ) -> None:
        self.max_group = max_group
        self.k_sigma = k_sigma
        self.merge_tokens = merge_tokens
        self.lookahead = lookahead
        self.max_nodes = max_nodes
        legal = {
            "max_group must be 1 or 2": max_group in (1, 2),
            "k_sigma must be >= 0": k_sigma >= 0,
            "merge_tokens must be >= 1": merge_tokens >= 1,
            "lookahead must be >= 0": lookahead >= 0,
            "max_nodes must be >= 0": max_nodes >= 0,
        }
        for rule, holds in legal.items():
            if not holds:
                raise ConfigError(f"tuning/lorafusion: {rule}, got {getattr(self, rule.split()[0])}. Try the default.")
        self._forget()

    def reset(self, rng: np.random.Generator) -> None:
        """Drop the plan."""
        self._forget()

    def _forget(self) -> None:
        self._plan: deque[Mix] = deque()
        self._is_planned = False

    def decide(self, event: Event, view: PipelineView) -> Iterable[Action]:
        """Let the next microbatch enter whenever the first stage is open."""
        if isinstance(event, Arrived | Refused) or (isinstance(event, Finished | Failed) and self._plans(event.id)):
            self._is_planned = False
        if not view.is_open:
            return ()
        if not self._is_planned:
            self._make_plan(view)
        return [Enter(self._plan.popleft())] if self._plan else ()

    def _plans(self, job: Id) -> bool:
        """Whether there are still microbatches with examples of a job in the plan; it has ended early, then."""
        return any(part.job == job for mix in self._plan for part in mix.parts)

    def _make_plan(self, view: PipelineView) -> None:
        knobs = Knobs(self.k_sigma, self.max_group, self.merge_tokens, self.lookahead, self.max_nodes)
        pipe = Pipe(view.num_stages, view.capacity_tokens, view.tile_tokens)
        left = [found for state in view.jobs.values() if (found := _left(state)).batches]
        self._plan = deque(planned(left, pipe, knobs, view.under_way))
        self._is_planned = True


def _left(state: AdapterState) -> Left:
    """Return what has not entered of a job."""
    job, batch = state.job, state.batch
    if state.is_through:
        return Left(job.id, batch, ())
    now = {number: job.lengths[batch][number] for number in state.left}
    later = [dict(enumerate(lengths)) for lengths in job.lengths[batch + 1 :]]
    return Left(job.id, batch, (now, *later))
