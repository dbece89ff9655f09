"""Transfer robots of a display factory: a network chooses what the robot picks and places next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.learning import Asking, Question, answered
from headway.numerics.nets import NUMPY, NumpyWeights, load, log_softmax
from headway.policies.shop.glass_board import CellView
from headway.policies.shop.glass_flow_robots_net import first_weights, forward
from headway.policies.shop.glass_moves import picks, places
from headway.policies.shop.glass_nouns import Pick, Place
from headway.policies.shop.glass_sight import MAX_STATIONS, WAIT, Sight

SHIPPED = Path(__file__).parent / "weights" / "glass_flow_robots.npz"


class GlassFlowRobots:
    """Moves glass between stations with a robot of one or two hands, as a network has learnt it in simulation.

    Whenever the robot is idle, the network scores every pick and every place that cannot lead into a deadlock, and
    waiting. The best is done. A pick may be of glass that is not done yet; the robot then waits at the chamber. One
    network serves all cells of up to 12 stations.

    Parameters
    ----------
    weights : str
        Path of an ``.npz`` file; empty for those that ship with Headway.

    Raises
    ------
    ConfigError
        When the file of weights cannot be used; at the first decision.

    Notes
    -----
    Source: Lee, Kim, Kim, "Reinforcement Learning of Display Transfer Robots in Glass Flow Control Systems: A Physical
    Simulation-Based Approach", 2023, arXiv 2310.07981.

    Faithful to the paper: only its abstract is known here, so that the model is a reconstruction: parameterised robots
    of several types in a simulation with trapezoidal axes, and a policy that is learnt there to raise throughput.
    Reconstructed: stations, actions, rewards (one per glass, less the time), PPO. Ours: instead of one network per
    cell, one that reads every station alike and scores picks and places from that; moves that lead into a deadlock are
    left out instead of being punished; times are told in units of the cell's lower bound. Left out: limits of how
    long glass may rest.

    Cost: O(stations) numbers and a network of a few thousand weights per decision, about half a millisecond.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.glass_small import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, GlassFlowRobots()).num_refused
    0
    """

    def __init__(self, *, weights: str = "") -> None:
        self.weights = weights
        self._loaded: NumpyWeights | None = None
        self._sight: Sight | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the cell."""
        self._sight = None

    def decide(self, event: Event, view: CellView) -> Iterable[Action]:
        """Give an idle robot the move that the network likes best."""
        return answered(self.ask(event, view), self.choose)

    def ask(self, event: Event, view: CellView) -> Asking[Iterable[Action]]:
        """Ask for the next move of an idle robot, where there is more than one."""
        if view.doing is not None:
            return ()
        up, down = picks(view), places(view)
        if not up and not down:
            return ()
        may_wait = any(glass and not done for glass, done in zip(view.glass, view.is_done, strict=True))
        if self._sight is None or self._sight.layout is not view.layout:
            self._sight = Sight(view.layout)
        choice = 1 + (next(iter(up)) if up else MAX_STATIONS + next(iter(down)))
        if len(up) + len(down) + may_wait > 1:
            choice = yield self._sight.question(view, up, down, may_wait)
        if choice == WAIT:
            return ()
        station = (choice - 1) % MAX_STATIONS
        name = view.layout.cell.stations[station].id
        return (Pick(name, up[station]) if choice <= MAX_STATIONS else Place(name, down[station]),)

    def choose(self, question: Question) -> int:
        """Return the choice with the highest score."""
        if self._loaded is None:
            path = Path(self.weights) if self.weights else SHIPPED
            self._loaded = load(path, first_weights(np.random.default_rng(0)))
        batch = {name: array[None] for name, array in question.features.items()}
        scores, _ = forward(NUMPY, self._loaded, batch)
        return int(np.argmax(log_softmax(NUMPY, scores, question.legal[None])[0]))
