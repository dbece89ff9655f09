"""The search for a rule of one machine: islands of expressions, changed at random, judged by what they cost.

The loop is the publication's: ten islands of scored programs, two good ones of an island as the start of the next, the
weaker half of the islands begun anew from the best of others now and then. What proposes the next program is not: there
a language model does, here random changes of expressions over the words of the rules that it found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.app.learning.training import Spending, TrainNews, TrainSpec
from headway.numerics.nets import NumpyWeights
from headway.policies.shop.smtt_expression import MOST_WORDS, PAIRS, TERMS, WORDS, Expression, from_arrays, parse
from headway.sim.shop.instances.due_classes import class_of, generated

NUM_ISLANDS = 10
NUM_RESETS = 8
"""How often in a search the weaker half of the islands begins anew."""
MOST_KEPT = 30
"""Programs that an island keeps."""
BEGINNINGS = ("d", "(max (+ t p) d)")
"""EDD and MDD, where the publication began."""
CONSTANT, SQUARE = WORDS.index("#"), WORDS.index("square")
FIRST_LOOK = 60
"""Instances on which a program that is much worse than its island's best is given up."""

Instances = tuple[NDArray[np.float64], NDArray[np.float64]]
Scored = tuple[float, Expression]


def train(spec: TrainSpec) -> NumpyWeights:
    """Search until the budget is spent; returns the expression that does best on instances kept apart."""
    spending, rng = Spending(spec.budget_s), np.random.default_rng([spec.seed, 0])
    training = training_instances(1000, np.random.default_rng([spec.seed, 1]))
    valid = training_instances(3000, np.random.default_rng([spec.seed, 2]))
    firsts = [from_arrays(spec.start)] if spec.start else [parse(text) for text in BEGINNINGS]
    islands = [_ranked([(cost(first, training), first) for first in firsts]) for _ in range(NUM_ISLANDS)]
    resets, num = 0, 0
    while spending.done_frac < 1.0:
        island = islands[num % NUM_ISLANDS]
        child = proposed(island, rng)
        found = judged(child, training, island[0][0])
        num += 1
        if found is not None and all(found != score for score, _ in island):
            island[:] = _ranked([*island, (found, child)])[:MOST_KEPT]
        if spending.done_frac > (resets + 1) / (NUM_RESETS + 1):
            resets += 1
            begin_anew(islands, rng)
        if num % 500 == 0:
            spec.tell(TrainNews(spending.done_frac, {"cost": min(one[0][0] for one in islands), "programs": num}))
    best = chosen([one for island in islands for one in island], valid)
    spec.tell(
        TrainNews(1.0, {"valid": cost(best, valid), "valid_mdd": cost(parse(BEGINNINGS[1]), valid), "programs": num})
    )
    return {**best.arrays, "text": np.array(best.text)}


def training_instances(num: int, rng: np.random.Generator) -> Instances:
    """Draw instances of 25 jobs over all classes, each sorted from the shortest job; ``[instances, jobs]`` twice."""
    drawn = [generated(25, *class_of(k, hardest=True), rng) for k in range(num)]
    orders = [np.lexsort((due, durations)) for durations, due in drawn]
    p, d = (np.stack([one[side][order] for one, order in zip(drawn, orders, strict=True)]) for side in (0, 1))
    return p, d


def cost(expression: Expression, instances: Instances) -> float:
    """Return the mean total tardiness."""
    from headway.policies.shop.smtt_expression_kernel import mean_tardiness

    return float(mean_tardiness(np.array(expression.words), np.array(expression.values), *instances))


def judged(expression: Expression, instances: Instances, best: float) -> float | None:
    """Return the cost of a program, or None for one that is much worse than `best` on a few instances already."""
    if len(expression.words) > MOST_WORDS // 2:
        return None
    few = cost(expression, (instances[0][:FIRST_LOOK], instances[1][:FIRST_LOOK]))
    return None if not few < 3 * best else cost(expression, instances)


def proposed(island: list[Scored], rng: np.random.Generator) -> Expression:
    """Make a new program from two good ones of an island."""
    one, other = (island[int(len(island) * rng.random() ** 2)][1] for _ in range(2))
    kind = rng.random()
    if kind < 0.35:
        return grafted(one, *subtree(other, int(rng.integers(len(other.words)))), rng)
    if kind < 0.65:
        return grafted(one, *random_tree(int(rng.integers(1, 4)), rng), rng)
    if kind < 0.85 and CONSTANT in one.words:
        return with_other_constant(one, rng)
    return wrapped(one, rng)


def subtree(expression: Expression, root: int) -> tuple[list[int], list[float]]:
    """Return the part of an expression whose last word is at `root`."""
    wanted, begin = 1, root
    while True:
        name = WORDS[expression.words[begin]]
        wanted += -1 + (2 if name in PAIRS else 1 if name == "square" else 0)
        if not wanted:
            return list(expression.words[begin : root + 1]), list(expression.values[begin : root + 1])
        begin -= 1


def grafted(expression: Expression, words: list[int], values: list[float], rng: np.random.Generator) -> Expression:
    """Put another part in the place of a random one."""
    root = int(rng.integers(len(expression.words)))
    begin = root + 1 - len(subtree(expression, root)[0])
    return Expression(
        (*expression.words[:begin], *words, *expression.words[root + 1 :]),
        (*expression.values[:begin], *values, *expression.values[root + 1 :]),
    )


def wrapped(expression: Expression, rng: np.random.Generator) -> Expression:
    """Combine a random part with a new one: what a correction to a rule looks like."""
    root = int(rng.integers(len(expression.words)))
    words, values = subtree(expression, root)
    more, constants = random_tree(int(rng.integers(1, 3)), rng)
    operator = WORDS.index(PAIRS[int(rng.integers(len(PAIRS)))])
    begin = root + 1 - len(words)
    return Expression(
        (*expression.words[:begin], *words, *more, operator, *expression.words[root + 1 :]),
        (*expression.values[:begin], *values, *constants, 0.0, *expression.values[root + 1 :]),
    )


def with_other_constant(expression: Expression, rng: np.random.Generator) -> Expression:
    """Change one constant by some."""
    values = list(expression.values)
    places = [k for k, word in enumerate(expression.words) if word == CONSTANT]
    values[places[int(rng.integers(len(places)))]] *= float(np.exp(rng.normal(0.0, 0.2)))
    return Expression(expression.words, tuple(values))


def random_tree(depth: int, rng: np.random.Generator) -> tuple[list[int], list[float]]:
    """Draw an expression of at most that depth."""
    if depth == 0 or rng.random() < 0.3:
        if rng.random() < 0.25:
            return [CONSTANT], [float(np.round(np.exp(rng.normal(0.0, 0.7)), 3))]
        return [int(rng.integers(len(TERMS)))], [0.0]
    words, values = random_tree(depth - 1, rng)
    if rng.random() < 0.1:
        return [*words, SQUARE], [*values, 0.0]
    more, constants = random_tree(depth - 1, rng)
    operator = WORDS.index(PAIRS[int(rng.integers(len(PAIRS)))])
    return [*words, *more, operator], [*values, *constants, 0.0]


def begin_anew(islands: list[list[Scored]], rng: np.random.Generator) -> None:
    """Empty the weaker half of the islands, and let each begin with the best of another."""
    islands.sort(key=lambda island: island[0][0])
    half = len(islands) // 2
    for k in range(half, len(islands)):
        islands[k] = [islands[int(rng.integers(half))][0]]


def chosen(programs: list[Scored], valid: Instances) -> Expression:
    """Return the best on instances that nobody was judged by, of the best fifty; of equal ones the shortest."""
    best = sorted({(score, one.words, one.values) for score, one in programs})[:50]
    found = [Expression(words, values) for _, words, values in best]
    return min(found, key=lambda one: (cost(one, valid), len(one.words)))


def _ranked(programs: list[Scored]) -> list[Scored]:
    return sorted(programs, key=lambda one: (one[0], len(one[1].words)))
