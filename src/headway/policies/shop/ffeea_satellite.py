"""FFEEA: link planning by an evolutionary search that estimates the fitness of whoever is like others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError, PlanError
from headway.core.events import Event
from headway.core.nouns import Seconds
from headway.core.policy import FollowPlan, Plan
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.ffeea_board import LinkView
from headway.policies.shop.ffeea_decoder import Decoder
from headway.policies.shop.ffeea_fitness import ExactFitness, Fuzzy, FuzzyFitness
from headway.policies.shop.ffeea_greedy import orders
from headway.policies.shop.ffeea_nouns import LinkProblem, link_s
from headway.policies.shop.ffeea_search import Evolution, Found, Watch, evolved


class FfeeaSatellite:
    """Plans which satellites talk to which antennas when, so that links last as long as possible in all.

    An individual is an order of tasks; a decoder gives each in turn the longest link that there is room for. That takes
    most of the time, so that an individual which is much like some whose fitness is known gets an estimate, the mean of
    its nearest weighted by similarity, unless the estimate would take it among the best. Similarity is the share of
    equal places, early ones counting more. The fitter parents are, the less often they are crossed, and the longer
    nothing got better, the fewer places a crossover changes. As a policy it follows the plan, and plans again when
    tasks arrive, antennas fail or come back, or something was refused.

    Parameters
    ----------
    population : int
        Individuals, >= 2; 100.
    generations : int
        At most, >= 0; 500.
    patience : int
        Generations without anything better after which it stops, a sixth of them where all are equally fit, >= 0; 30.
        0 waits for the other limits.
    max_evaluations : int
        Real evaluations after which it stops, >= 0; 0, without limit.
    fuzzy : bool
        Whether fitness is estimated at all; True.
    alike, maybe_alike : float
        From a similarity of `alike` on (0.9) an individual is estimated; from `maybe_alike` on (0.8) it is with odds
        equal to the similarity; both in [0, 1].
    neighbours : int
        How many known individuals an estimate comes from, >= 1; 3.
    forced_frac : float
        The share evaluated whatever they are like, against drift, in [0, 1]; 0.08.
    archive : int
        How many evaluated individuals are remembered, the latest, >= `neighbours`; 200.
    adaptive : bool
        Whether odds and lengths of crossovers adapt; True. Otherwise the odds are `most_crossed`.
    most_crossed, least_crossed : float
        Odds of crossing pairs up to the mean fitness (0.9) and of the fittest (0.5), in [0, 1].
    mutated_frac : float
        The share of crossed children that mutate as well, in [0, 1]; 0.1. Who is not crossed always does.
    seeded : bool
        Whether the first population contains orders by simple rules; True.
    compiled : bool
        Whether the decoder is compiled; True. See `Decoder`.
    budget_s : float
        As a policy: computing time of each plan in seconds, > 0; 2.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Jiang, Guo, Zhang, Song, Pedrycz, Xing, "An Evolutionary Task Scheduling Algorithm Using Fuzzy Fitness
    Evaluation Method for Communication Satellite Network", Swarm and Evolutionary Computation 2024, arXiv 2408.13500.
    The work is sometimes cited under the number 2408.13632, which is not its own.

    Faithful to the paper: only its abstract is known here. It says that individuals are evaluated really or fuzzily by
    their similarity, that crossover is adaptive, and that link time is maximised under the satellites' operating modes.
    Reconstructed is everything else: encoding and decoder, the measure of similarity, thresholds, odds, the archive,
    real evaluations at random and of candidates for the elite, and the meaning of modes (a feed serves one link at a
    time and takes a while from one mode to another). Hence the level of its row.

    Cost: O(population x archive x tasks) per generation for similarity; a compiled evaluation takes O(tasks x log
    tasks) and is about as quick, so that estimates pay by what they save of slower ones.

    Examples
    --------
    >>> from headway.sim.shop.ffeea_scenarios import scenario
    >>> problem = scenario(0, num_windows=40)
    >>> plan = FfeeaSatellite().plan(problem, budget_s=5, rng=np.random.default_rng(0))
    >>> plan.cost == -link_s(action for _, action in plan.steps)
    True
    """

    def __init__(
        self,
        *,
        population: int = 100,
        generations: int = 500,
        patience: int = 30,
        max_evaluations: int = 0,
        fuzzy: bool = True,
        alike: float = 0.9,
        maybe_alike: float = 0.8,
        neighbours: int = 3,
        forced_frac: float = 0.08,
        archive: int = 200,
        adaptive: bool = True,
        most_crossed: float = 0.9,
        least_crossed: float = 0.5,
        mutated_frac: float = 0.1,
        seeded: bool = True,
        compiled: bool = True,
        budget_s: Seconds = 2.0,
    ) -> None:
        self.population = population
        self.generations = generations
        self.patience = patience
        self.max_evaluations = max_evaluations
        self.fuzzy = fuzzy
        self.alike = alike
        self.maybe_alike = maybe_alike
        self.neighbours = neighbours
        self.forced_frac = forced_frac
        self.archive = archive
        self.adaptive = adaptive
        self.most_crossed = most_crossed
        self.least_crossed = least_crossed
        self.mutated_frac = mutated_frac
        self.seeded = seeded
        self.compiled = compiled
        self.budget_s = budget_s
        _check(self)

    def plan(self, problem: LinkProblem, *, budget_s: Seconds, rng: np.random.Generator) -> Plan:
        """Plan within `budget_s` seconds of computing; cost and bound are link times below zero.

        Raises
        ------
        PlanError
            When there are tasks and no antenna.
        """
        if problem.tasks and not problem.antennas:
            raise PlanError(f"shop/ffeea-satellite: {problem.name} must have antennas, it has none. Add one.")
        decoder = Decoder(problem, compiled=self.compiled)
        links = decoder.links(self.search(decoder, watch=Stopwatch(budget_s), rng=rng).order)
        setup_s = {task.id: task.setup_s for task in problem.tasks}
        steps = sorted(((float(link.start_s - setup_s[link.task]), link) for link in links), key=lambda step: step[0])
        return Plan(steps=tuple(steps), cost=float(-link_s(links)), bound=float(-problem.most_s))

    def search(
        self, decoder: Decoder, *, watch: Watch, rng: np.random.Generator, fitness: ExactFitness | None = None
    ) -> Found:
        """Search for the order whose links last longest; `fitness` is made by `fitness` where it is not given."""
        size = len(decoder.problem.tasks)
        return evolved(
            size,
            fitness or self.fitness(decoder),
            self.evolution,
            rng,
            watch=watch,
            firsts=orders(decoder.problem) if self.seeded else (),
            most=float(decoder.problem.most_s),
        )

    def fitness(self, decoder: Decoder) -> ExactFitness:
        """Return who evaluates orders."""
        if not self.fuzzy:
            return ExactFitness(decoder.all_seconds)
        how = Fuzzy(
            alike=self.alike,
            maybe_alike=self.maybe_alike,
            neighbours=self.neighbours,
            forced_frac=self.forced_frac,
            archive=self.archive,
        )
        return FuzzyFitness(decoder.all_seconds, len(decoder.problem.tasks), how)

    @property
    def evolution(self) -> Evolution:
        """The sizes and odds of the search."""
        return Evolution(
            population=self.population,
            generations=self.generations,
            patience=self.patience,
            max_evaluations=self.max_evaluations,
            most_crossed=self.most_crossed,
            least_crossed=self.least_crossed,
            mutated_frac=self.mutated_frac,
            adaptive=self.adaptive,
        )

    def reset(self, rng: np.random.Generator) -> None:
        """Drop the plan in hand; what is compiled is compiled now, and not in the first decision."""
        self._follow: FollowPlan[LinkView, LinkProblem] = FollowPlan(planner=self, pose=_posed, budget_s=self.budget_s)
        self._follow.reset(rng)
        self.fitness(Decoder(LinkProblem(tasks=(), antennas=("none",)), compiled=self.compiled)).warm()

    def decide(self, event: Event, view: LinkView) -> Iterator[Action]:
        """Begin the links that are due, and plan again when something changed."""
        return self._follow.decide(event, view)


def _posed(view: LinkView) -> LinkProblem:
    return view.problem()


def _check(self: FfeeaSatellite) -> None:
    fractions = ("alike", "maybe_alike", "forced_frac", "most_crossed", "least_crossed", "mutated_frac")
    legal = {
        "population must be >= 2": self.population >= 2,
        "generations must be >= 0": self.generations >= 0,
        "patience must be >= 0": self.patience >= 0,
        "max_evaluations must be >= 0": self.max_evaluations >= 0,
        "neighbours must be >= 1": self.neighbours >= 1,
        f"archive must be >= {self.neighbours}, the neighbours": self.archive >= self.neighbours,
        "budget_s must be > 0": self.budget_s > 0,
        **{f"{name} must be in [0, 1]": 0 <= getattr(self, name) <= 1 for name in fractions},
    }
    for rule, holds in legal.items():
        if not holds:
            came = getattr(self, rule.split()[0])
            raise ConfigError(f"shop/ffeea-satellite: {rule}, got {came}. Try the default.")
