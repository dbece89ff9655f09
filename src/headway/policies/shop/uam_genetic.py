"""A genetic algorithm that plans a fleet's whole day in advance, as forecast."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from headway.core.actions import Action, Wake
from headway.core.errors import ConfigError, missing_extra
from headway.core.events import Event, Woke
from headway.numerics.evolution import fittest, tournament
from headway.policies.shop.uam_board import FleetView
from headway.policies.shop.uam_nouns import Floats, Ints, Stay
from headway.policies.shop.uam_rule import gains, idle, sent

GREED = -1
"""Stands in a plan for whatever pays most at that moment in the forecast."""
MOST_FLIGHTS = 96
"""Flights and stays of an aircraft in a day at the most; then it stays."""


class UamGenetic:
    """Plans where every aircraft goes all day, before the day begins, and keeps to that whatever happens.

    A plan is a list of vertiports for each aircraft; its fitness is the profit of the day as forecast, played in full.
    A flight that cannot be flown when its turn comes is tried again after a stay. The first plans are what greed would
    do in the forecast, with more or fewer random flights; children take each aircraft's list, up to a moment of the
    day, from one parent and the rest from the other, and some of their flights are drawn anew.

    Parameters
    ----------
    num_plans : int
        Of a generation, >= 2; 60.
    num_generations : int
        >= 0; 40, which is little: a day of 40 aircraft still gains after 600.
    change_frac : float
        Share of flights that are drawn anew in a child, in [0, 1]; 0.0003, one of a day's.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: the baseline of shop/uam-graph-rl's paper, which says little of it; operators are ours.

    Faithful to the paper: there is none; a policy of this project, 2026.

    Cost: a third of a millisecond per plan for a day of 40 aircraft, all of it at the first decision; needs numba.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.uam_small import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, UamGenetic(num_generations=2)).num_refused
    0
    """

    def __init__(self, *, num_plans: int = 60, num_generations: int = 40, change_frac: float = 0.0003) -> None:
        self.num_plans = num_plans
        self.num_generations = num_generations
        self.change_frac = change_frac
        rules = {
            "num_plans must be >= 2": num_plans >= 2,
            "num_generations must be >= 0": num_generations >= 0,
            "change_frac must be in [0, 1]": 0 <= change_frac <= 1,
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(f"shop/uam-genetic: {rule}, got {getattr(self, rule.split()[0])}. Try the default.")
        self._rng = np.random.default_rng(0)
        self._plan: Ints | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Forget the plan, and make sure that plans can be played."""
        self._rng = rng
        self._plan = None
        self._step: dict[int, int] = {}
        self._is_waking = False
        self.expected = 0.0
        _compile()

    def decide(self, event: Event, view: FleetView) -> Iterable[Action]:
        """Plan once all who begin together are known; then do what the plan says of whoever is idle."""
        waiting = idle(view)
        if not waiting:
            return []
        if self._plan is None and not isinstance(event, Woke):
            return [] if self._is_waking else [self._wake(view)]
        if self._plan is None:
            self._plan = self._best(view, waiting)
            self._step = dict.fromkeys(waiting, 0)
        room = view.city.pads - view.inbound  # several who leave at once must not all take the last pad
        return [self._next(craft, view, room) for craft in waiting]

    def _wake(self, view: FleetView) -> Action:
        self._is_waking = True
        return Wake(view.now_s)

    def _next(self, craft: int, view: FleetView, room: Ints) -> Action:
        assert self._plan is not None
        here, step = int(view.at[craft]), self._step.get(craft)
        legal = _legal(view, craft, room)
        if step is None:  # it came later than the plan
            to = int(np.argmax(np.where(legal, gains(view, craft), -np.inf)))
        else:
            to = int(self._plan[craft, step]) if step < self._plan.shape[1] else here
            to = here if to == GREED else to  # beyond what the forecast came to
            if not legal[to]:
                return Stay(view.ids[craft])
            self._step[craft] = step + 1
        room[here] += 1
        room[to] -= 1
        return sent(view, craft, to)

    def _best(self, view: FleetView, crafts: list[int]) -> Ints:
        """Search for the plan of most profit; returns it, [aircraft, flights]."""
        rng, play = self._rng, _player(view, crafts)
        num_steps = int((view.city.end_s - view.now_s) / view.city.model.stay_s) + 1
        shape = (self.num_plans, len(crafts), min(num_steps, MOST_FLIGHTS))
        plans = self._first(shape, view.city.num_vertiports)
        fitness = play(plans)
        for _ in range(self.num_generations):
            one, other = (plans[tournament(fitness, self.num_plans, rng)] for _ in range(2))
            children = self._changed(_crossed(one, other, rng), view.city.num_vertiports)
            fitness = np.concatenate([fitness, play(children)])  # which also writes what greed came to
            kept = fittest(fitness, self.num_plans)
            plans, fitness = np.concatenate([plans, children])[kept], fitness[kept]
        self.expected = float(fitness[0])
        found = np.zeros((max(crafts) + 1, shape[2]), np.int64)
        found[crafts] = plans[0]
        return found

    def _first(self, shape: tuple[int, int, int], num_vertiports: int) -> Ints:
        """Draw the first plans: greed with more or fewer random flights."""
        shares = np.linspace(0.0, 0.2, self.num_plans)[:, None, None]
        drawn = self._rng.integers(num_vertiports, size=shape)
        return np.where(self._rng.random(shape) < shares, drawn, GREED)

    def _changed(self, plans: Ints, num_vertiports: int) -> Ints:
        drawn = self._rng.integers(num_vertiports, size=plans.shape)
        return np.where(self._rng.random(plans.shape) < self.change_frac, drawn, plans)


def _legal(view: FleetView, craft: int, room: Ints) -> NDArray[np.bool_]:
    """By vertiport, whether an aircraft may go there when others leave at the same moment."""
    city, here = view.city, int(view.at[craft])
    left = view.battery_kwh(craft) - city.energy_kwh[here]
    enough = left >= city.model.reserve_frac * city.model.battery_kwh
    found: NDArray[np.bool_] = enough & ~view.is_closed[here] & (room > 0)
    found[here] = True
    return found


@functools.cache
def _compile() -> None:
    """Play nothing once, so that no decision waits for the compiler."""
    try:
        from headway.policies.shop.uam_plan_kernel import play_all
    except ImportError as error:
        raise missing_extra("numba", "shop", "to play thousands of plans") from error
    cube, table, line, whole = np.zeros((1, 2, 2)), np.zeros((2, 2)), np.zeros(2), np.ones(2, np.int64)
    facts = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    plans = np.zeros((1, 1, 1), np.int64)
    play_all(plans, whole[:1], line[:1], cube, cube, table, table, table, line, whole, whole, facts)


def _crossed(one: Ints, other: Ints, rng: np.random.Generator) -> Ints:
    """Take each aircraft's list up to a moment from one parent, and the rest from the other."""
    cut = rng.integers(0, one.shape[2] + 1, size=(len(one), one.shape[1], 1))
    is_swapped = rng.random((len(one), one.shape[1], 1)) < 0.5
    is_first = (np.arange(one.shape[2]) < cut) ^ is_swapped
    is_whole = rng.random((len(one), one.shape[1], 1)) < 0.8  # most lists stay together
    return np.where(np.where(is_whole, ~is_swapped, is_first), one, other)


def _player(view: FleetView, crafts: list[int]) -> Callable[[Ints], Floats]:
    """Return who plays plans in the day as forecast, from now on."""
    from headway.policies.shop.uam_plan_kernel import play_all

    city, model = view.city, view.city.model
    reserve = model.reserve_frac * model.battery_kwh
    per_s = model.charge_kw / 3600.0
    facts = (city.slot_s, city.patience_slots, model.num_seats, model.battery_kwh, reserve, per_s)
    return functools.partial(
        _played,
        play_all,
        (
            view.at[crafts],
            view.batteries_kwh()[crafts],
            *(city.demand, city.fares, city.flight_s, city.energy_kwh, city.cost, city.delay_s),
            *(city.pads, city.chargers, np.array([*facts, model.turnaround_s, model.stay_s])),
        ),
    )


def _played(play_all: Callable[..., Floats], facts: tuple[object, ...], plans: Ints) -> Floats:
    return play_all(plans, *facts)
