"""A learned dispatching rule for shops without buffers, whose machines are interrupted: a graph network and PPO."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.learning import Asking, Question, answered
from headway.numerics.nets import NUMPY, Weights, load
from headway.policies.shop.isbjssp_board import ShopFloor
from headway.policies.shop.isbjssp_features import Grid
from headway.policies.shop.isbjssp_net import first_weights, forward

SHIPPED = Path(__file__).parent / "weights" / "isbjssp_gnn.npz"


class IsbjsspGnn:
    """Gives a machine that is free to one of those who wait for it, as a graph network says.

    Operations are the nodes of a disjunctive graph which changes as they end, as jobs leave the machines that they
    blocked, and as machines are interrupted. Each round, nodes hear from their predecessor, their successor, the other
    operations of their machine and the graph as a whole. The job whose current operation scores highest gets the
    machine; where only one job waits, nobody is asked.

    Parameters
    ----------
    weights : str
        A file of weights from `headway train shop/isbjssp-gnn`; empty for those that come with Headway.

    Raises
    ------
    ConfigError
        At the first decision, when the file is missing or is for another network.

    Notes
    -----
    Source: Wong, Kim, Park, Park and Law, "Generating Dispatching Rules for the Interrupting Swap-Allowed Blocking Job
    Shop Problem Using Graph Neural Network and Reinforcement Learning", 2023, arXiv 2302.02506.

    Faithful to the paper: the shop (blocking, swaps of circles at once, random interruptions), the dynamic disjunctive
    graph, separate messages of predecessors, successors and machine neighbours beside the graph's mean, a softmax over
    those who wait, training by proximal policy optimisation on drawn shops of 5 to 9 jobs and machines with drawn
    probabilities of interruptions. Reconstructed, because its internals were not at hand: node features, widths, rates.
    Added: whether a machine is free, how many wait for it, who is asked for, the work left of a job and on a machine.
    Changed: the advantage of a run is over other runs of the same shop, instead of per-step rewards for jobs that wait;
    `headway.app.learning.isbjssp_gnn` has both. What training took is in the file of weights.

    Cost: O(operations left x machines) arithmetic per question; a fifth of a millisecond for 10 jobs on 10 machines.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.blocking_instances import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, IsbjsspGnn()).num_refused
    0
    """

    def __init__(self, *, weights: str = "") -> None:
        self.weights = weights
        self._loaded: Weights | None = None
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the shop; weights stay."""
        del rng  # nothing is drawn
        self._grid: Grid | None = None

    def decide(self, event: Event, view: ShopFloor) -> Iterable[Action]:
        """Start somebody on the first machine that is open, as the network says."""
        return answered(self.ask(event, view), self.choose)

    def ask(self, event: Event, view: ShopFloor) -> Asking[Iterable[Action]]:
        """Ask who of several gets the first machine that is open, and start it; the world tells of the next one."""
        machine = next(iter(view.open_machines()), None)
        if machine is None:
            return []
        queue = view.queues[machine]
        job = queue[0] if len(queue) == 1 else (yield self._question(view, machine))
        return [view.start_of(job)]

    def choose(self, question: Question) -> int:
        """Answer a question: the legal action that scores highest."""
        if self._loaded is None:
            self._loaded = load(Path(self.weights or SHIPPED), like=first_weights(np.random.default_rng(0)))
        features = {name: array[None] for name, array in question.features.items()}
        scores, _ = forward(NUMPY, self._loaded, features)
        return int(np.argmax(np.where(question.legal, scores[0], -np.inf)))

    def _question(self, view: ShopFloor, machine: int) -> Question:
        if self._grid is None or self._grid.num_jobs != len(view.jobs):
            self._grid = Grid(view)
        legal = np.zeros(len(view.operation), bool)
        legal[view.queues[machine]] = True
        return Question(self._grid.features(view, machine), legal)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None, "_grid": None}  # a copy loads its weights itself
