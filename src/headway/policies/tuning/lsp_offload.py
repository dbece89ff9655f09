"""LSP-Offload: gradients travel to the host as small squares, layer by layer, and the next step waits for no other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.policies.tuning.lsp_offload_nouns import LANES, Begin, OffloadView, Op, Progress
from headway.policies.tuning.lsp_offload_order import soonest_needed, start
from headway.policies.tuning.lsp_offload_plan import widest


class LspOffload:
    """Fine-tunes with the optimizer on the host, through learned sparse projectors and a schedule by layers.

    The gradient G of a weight of m rows and n columns is sent as P'GQ, a square of side d; Adam runs in that square on
    the host, and its update comes back as P dS Q'. P and Q have r non-zeros in each row. Now and then the bias of this,
    PP'GQQ' - G, is looked at, and projectors are learnt anew where it is too large. Transfers, updates and passes of
    different layers run side by side; of what is ready, the layer that the next forward pass needs first goes first,
    and a forward pass waits for the update of its own layer alone. No update is ever stale.

    Parameters
    ----------
    width : int
        Side d of the squares, >= 0. 0, the default, stands for the largest that links and host hide behind the
        accelerator, at most half of the matrices' shorter side: the publication's advice.
    nonzeros : int
        Non-zeros r of each row of a projector, >= 1; 8. The publication advises 4 or 8.
    alpha : float
        The largest bias, as a share of the gradient, that is left as it is, > 0; 0.5. Too small a value has projectors
        learnt at every check.
    check_steps : int
        Steps between two checks, >= 1; 1000.
    learn_steps : int
        The most iterations of one learning, >= 1; 100.
    beta : float
        Weight of the projectors' norms in what learning minimises, >= 0; 1e-4.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Chen, Wang, Guan, Liu, Gibbons, "Practical offloading for fine-tuning LLM on commodity GPU via learned
    sparse projectors", AAAI 2025, arXiv 2406.10181, its learned sparse projectors and its layer-wise schedule. Section
    names are from memory.

    Faithful to the paper: sparse projectors that begin at random places with values from N(0, 1/sqrt(r)) and are learnt
    by minimising the bias with the projectors' norms, the check against alpha every so many steps, optimizer states
    that are carried over to a new subspace, small parameters that stay dense, gradients, updates and deltas by layers
    with both links at work at once, no staleness. 1000 steps between checks and 100 iterations of
    learning are those of the authors' released scripts. Reconstructed: the values of alpha and beta; the way of the
    second moment (squares of the elements of P''P). From memory and their scripts, they go from first come first served
    to last come first served at one layer of the backward pass; here whatever is ready is ordered by the next forward
    pass throughout, so that no layer waits behind one that is needed later. Changed: a check
    looks at the gradient at hand instead of one on a sampled subset, and at all matrices of a layer together; the time
    limit of learning is counted in iterations, so that runs can be repeated.

    Cost: O(operations ready) per operation, at most the number of layers; O(d / 16) once per job for the width.

    Examples
    --------
    >>> from headway.sim.tuning.lsp_offload import small_world
    >>> from headway.core.drivers import simulate
    >>> world, _ = small_world(0)
    >>> report = simulate(world, LspOffload(check_steps=2))
    >>> report.num_refused, world.log.num_steps("a")
    (0, 5)
    """

    def __init__(
        self,
        *,
        width: int = 0,
        nonzeros: int = 8,
        alpha: float = 0.5,
        check_steps: int = 1000,
        learn_steps: int = 100,
        beta: float = 1e-4,
    ) -> None:
        self.width = width
        self.nonzeros = nonzeros
        self.alpha = alpha
        self.check_steps = check_steps
        self.learn_steps = learn_steps
        self.beta = beta
        legal = {
            "width must be >= 0": width >= 0,
            "nonzeros must be >= 1": nonzeros >= 1,
            "alpha must be > 0": alpha > 0,
            "check_steps must be >= 1": check_steps >= 1,
            "learn_steps must be >= 1": learn_steps >= 1,
            "beta must be >= 0": beta >= 0,
        }
        for rule, holds in legal.items():
            if not holds:
                raise ConfigError(f"tuning/lsp-offload: {rule}, got {getattr(self, rule.split()[0])}. Try the default.")

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing is kept between decisions: all that matters stands on the board."""

    def decide(self, event: Event, view: OffloadView) -> Iterator[Action]:
        """Begin the next job where none runs, and give every idle lane the operation that is needed soonest."""
        progress = view.under_way
        if progress is None:
            for waiting in list(view.jobs.values())[:1]:
                yield self._begin(waiting, view)
            return
        for lane in LANES:
            if view.is_idle(lane) and (op := soonest_needed(view.ready(lane), lane)) is not None:
                yield start(self._before(op, progress))

    def _begin(self, progress: Progress, view: OffloadView) -> Begin:
        job = progress.job
        width = self.width or widest(job, self.nonzeros, view.resources)
        return Begin(job.id, width, self.nonzeros, self.alpha, self.learn_steps, self.beta)

    def _before(self, op: Op, progress: Progress) -> Op:
        """Return what runs first: a check that is due, learning that the check asks for, or the operation itself."""
        if op.what != "compress":
            return op
        if op.step % self.check_steps == 0 and progress.checked_at(op.layer) < op.step:
            return Op(op.job, op.step, op.layer, "check")
        is_checked = progress.checked_at(op.layer) == op.step
        if is_checked and progress.learnt_at(op.layer) < op.step and progress.bias_frac(op.layer) > self.alpha:
            return Op(op.job, op.step, op.layer, "learn")
        return op
