"""CapTAIN: a network reads the graphs of vertiports and aircraft, and sends each aircraft on as it gets ready."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.learning import Asking, Question, answered
from headway.numerics.nets import NUMPY, NumpyWeights, load, log_softmax
from headway.policies.shop.uam_board import FleetView
from headway.policies.shop.uam_graph_rl_net import first_weights, forward
from headway.policies.shop.uam_rule import idle, sent
from headway.policies.shop.uam_sight import Sight

SHIPPED = Path(__file__).parent / "weights" / "uam_graph_rl.npz"


class UamGraphRl:
    """Sends aircraft between vertiports for profit, as a network has learnt it in simulation.

    Whenever an aircraft is ready, the network sees the vertiports and the aircraft as graphs, and what demand and fares
    are forecast; it scores every vertiport that the aircraft may fly to (there is a pad, the route is open, the battery
    lasts), and staying. The best is done. The same weights serve any number of vertiports and aircraft, but were
    learnt with 8 and 40.

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
    Source: Paul, Witter, Chowdhury, "Graph Learning-based Fleet Scheduling for Urban Air Mobility under Operational
    Constraints, Varying Demand & Uncertainties", 2024, arXiv 2401.04851, its Markov decision process, encoders and
    decoder; constants of the model are those that its specification reconstructs.

    Faithful to the paper: decisions when an aircraft is ready; graph capsule layers (moments of node features under
    polynomial filters of the Laplacian) over vertiports and aircraft; a decoder of attention from context and own
    state to vertiports, with masks; PPO on profit. Changed: series of forecasts are encoded by a linear layer over time
    instead of a Transformer; aircraft are linked to those at the same vertiport instead of all, and their codes are
    summed there; each choice also brings numbers of its own (who waits, what they pay, the battery after it). Sizes of
    the layers are ours.

    Cost: O(aircraft + vertiports squared) numbers and a network of a few thousand weights per decision, below a
    millisecond.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.uam_small import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, UamGraphRl()).num_refused
    0
    """

    def __init__(self, *, weights: str = "") -> None:
        self.weights = weights
        self._loaded: NumpyWeights | None = None
        self._sight: Sight | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the city."""
        self._sight = None

    def decide(self, event: Event, view: FleetView) -> Iterable[Action]:
        """Send whoever is idle where the network likes best."""
        return answered(self.ask(event, view), self.choose)

    def ask(self, event: Event, view: FleetView) -> Asking[Iterable[Action]]:
        """Ask where each idle aircraft goes."""
        actions: list[Action] = []
        for craft in idle(view):
            if self._sight is None or self._sight.city is not view.city:
                self._sight = Sight(view.city)
            actions.append(sent(view, craft, (yield self._sight.question(view, craft))))
        return actions

    def choose(self, question: Question) -> int:
        """Return the vertiport with the highest score."""
        if self._loaded is None:
            path = Path(self.weights) if self.weights else SHIPPED
            self._loaded = load(path, first_weights(np.random.default_rng(0)))
        batch = {name: array[None] for name, array in question.features.items()}
        scores, _ = forward(NUMPY, self._loaded, batch)
        return int(np.argmax(log_softmax(NUMPY, scores, question.legal[None])[0]))
