"""The evolutionary search of FFEEA over orders of tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from headway.numerics.evolution import (
    Rows,
    fittest,
    order_crossover,
    random_permutations,
    swapped,
    tournament,
    with_reversal,
)
from headway.policies.shop.ffeea_fitness import ExactFitness, elite_of

Floats = NDArray[np.float64]

SLOW = 20.0
"""After so many generations in which nothing got better a crossover changes half as many places."""


class Watch(Protocol):
    """Says when to stop; a stopwatch, or one that counts otherwise."""

    @property
    def spent_s(self) -> float:
        """Seconds since it was made."""

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent."""


class Evolution(Struct, frozen=True, kw_only=True):
    """How to search; see `FfeeaSatellite` for the parameters."""

    population: int = 100
    generations: int = 500
    patience: int = 0
    max_evaluations: int = 0
    most_crossed: float = 0.9
    least_crossed: float = 0.5
    mutated_frac: float = 0.1
    adaptive: bool = True
    num_elite: int = 5


class Found(Struct, frozen=True, kw_only=True):
    """What a search came to.

    Parameters
    ----------
    order : array, [tasks]
        The best.
    fitness : float
        Of it, evaluated as it is.
    num_real, num_fuzzy, num_generations : int
        Evaluations, estimates, and generations.
    took_s : float
        Seconds of computing.
    history : tuple of (float, int, float)
        Seconds, evaluations and the best fitness at each improvement.
    """

    order: NDArray[np.int64]
    fitness: float
    num_real: int
    num_fuzzy: int
    num_generations: int
    took_s: float
    history: tuple[tuple[float, int, float], ...]


def evolved(
    size: int,
    fitness: ExactFitness,
    how: Evolution,
    rng: np.random.Generator,
    *,
    watch: Watch,
    firsts: Sequence[NDArray[np.int64]] = (),
    most: float = np.inf,
    tell: Callable[[float, float], None] | None = None,
) -> Found:
    """Search for the fittest order of `size` tasks.

    Parameters
    ----------
    size : int
        How many tasks there are, >= 0.
    fitness : ExactFitness
        Who evaluates.
    how : Evolution
        Sizes and odds.
    rng : numpy.random.Generator
        For all that is drawn.
    watch : Watch
        When it is over; whatever it says, the first generation is evaluated.
    firsts : sequence of array
        Orders to begin with, beside random ones.
    most : float
        Nothing is fitter: the search ends when it is reached.
    tell : callable of (seconds, fitness) or None
        Told of every improvement.
    """
    rows = random_permutations(how.population, size, rng)
    for n, first in enumerate(firsts[: how.population]):
        rows[n] = first
    values = fitness.of(rows, np.inf, rng)
    history: list[tuple[float, int, float]] = []
    generation, still = 0, 0
    while True:
        best = float(values.max()) if size else 0.0
        if not history or best > history[-1][2]:
            history.append((watch.spent_s, fitness.num_real, best))
            still = 0
            if tell is not None:
                tell(watch.spent_s, best)
        if (
            _is_alike(values, still, how)
            or _is_over(how, fitness, generation, still, watch)
            or best >= most
            or size < 2
        ):
            break
        generation, still = generation + 1, still + 1
        rows, values = _next(rows, values, fitness, how, still, rng)
    place = int(fittest(values, 1)[0])
    return Found(
        order=rows[place],
        fitness=best,
        num_real=fitness.num_real,
        num_fuzzy=fitness.num_fuzzy,
        num_generations=generation,
        took_s=watch.spent_s,
        history=tuple(history),
    )


def crossed_odds(values: Floats, fittest_parent: Floats, how: Evolution) -> Floats:
    """Return with which odds pairs are crossed: those above the mean the less the fitter they are."""
    mean, most = float(values.mean()), float(values.max())
    if not how.adaptive or most <= mean:
        return np.full(len(fittest_parent), how.most_crossed)
    above = np.clip((fittest_parent - mean) / (most - mean), 0.0, 1.0)
    return how.most_crossed - (how.most_crossed - how.least_crossed) * above


def changed_places(size: int, still: int, how: Evolution) -> int:
    """Return how many places a crossover may change: half of them, and fewer the longer nothing got better."""
    return max(int(0.5 * size / (1.0 + still / SLOW if how.adaptive else 1.0)), min(size, 4))


def _next(
    rows: Rows, values: Floats, fitness: ExactFitness, how: Evolution, still: int, rng: np.random.Generator
) -> tuple[Rows, Floats]:
    """Return the next generation: the fittest of parents and children."""
    num, size = rows.shape
    one, other = tournament(values, num, rng), tournament(values, num, rng)
    fitter = np.where(values[one] >= values[other], one, other)
    weaker = np.where(values[one] >= values[other], other, one)
    is_crossed = rng.random(num) < crossed_odds(values, values[fitter], how)
    lengths = np.where(is_crossed, size - rng.integers(1, changed_places(size, still, how) + 1, num), size)
    children = order_crossover(rows[fitter], rows[weaker], rng.integers(size, size=(num,)), lengths)
    children = _mutated(children, ~is_crossed | (rng.random(num) < how.mutated_frac), rng)
    found = fitness.of(children, elite_of(values, how.num_elite), rng)
    everybody, all_values = np.concatenate([rows, children]), np.concatenate([values, found])
    keep = fittest(all_values, num)
    return everybody[keep], all_values[keep]


def _mutated(rows: Rows, who: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
    """Swap two places of half of those who are to change, and reverse a segment of the others."""
    changed = rows.copy()
    places = np.flatnonzero(who)
    is_swap = rng.random(len(places)) < 0.5
    for change, which in ((swapped, places[is_swap]), (with_reversal, places[~is_swap])):
        if len(which):
            changed[which] = change(rows[which], rng)
    return changed


def _is_alike(values: Floats, still: int, how: Evolution) -> bool:
    """Whether there is nobody left to choose, and a sixth of the patience has not changed that."""
    return 0 < how.patience <= 6 * still and bool(values.min() == values.max())


def _is_over(how: Evolution, fitness: ExactFitness, generation: int, still: int, watch: Watch) -> bool:
    return (
        generation >= how.generations
        or (how.patience > 0 and still >= how.patience)
        or (how.max_evaluations > 0 and fitness.num_real >= how.max_evaluations)
        or watch.is_over
    )
