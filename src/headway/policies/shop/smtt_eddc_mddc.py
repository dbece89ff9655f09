"""EDDC and MDDC: two rules for the total tardiness of one machine that a language model found."""

from __future__ import annotations

from typing import Literal

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.one_machine import as_one_machine, in_sequence
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell
from headway.policies.shop.smtt_expression import evolved
from headway.policies.shop.smtt_rules import Rule, sequence

NAME = "shop/smtt-eddc-mddc"


class SmttEddcMddc:
    """Sequences the jobs of one machine by a rule, in O(n^2).

    MDDC looks, like the modified due date (MDD), for the job with the least of the larger of its due date and its
    earliest end; it takes jobs for 1.1 times as long, puts long ones off by up to a half, and adds a little for each
    that is long beside those that are left. EDDC lets jobs, from shortest first, move forward past jobs that are due
    later but would still be in time, or that are last.

    Parameters
    ----------
    rule : str
        ``"mddc"``, the default; ``"eddc"`` (a reconstruction), ``"eddc-printed"`` (as published; equal to ``"edd"``),
        ``"mddc-plain"`` (without the correction for long jobs), ``"mdd"``, ``"edd"``, ``"psk"``, ``"spt"``, with
        weights ``"wspt"``, ``"wmdd"`` or ``"atc"``, or ``"evolved"``, the expression in `weights`.
    normalise : bool
        Measure durations by their mean before a pure number is added to a time; False, as published. With it the
        unit of time (seconds or milliseconds) does not matter.
    ties : str
        Which of equal jobs goes first: ``"short"``, the default, the shorter one; ``"index"``, the first given, for
        MDD, WMDD and ATC.
    weights : str
        For ``"evolved"``: the file that `headway train shop/smtt-eddc-mddc` wrote; empty for the one shipped.

    Raises
    ------
    ConfigError
        When there is no such rule, or a file is given to another rule.

    Notes
    -----
    Source: Cetinkaya, Buyuktahtakin, Shojaee, Reddy, "Discovering Heuristics with Large Language Models (LLMs) for
    Mixed-Integer Programs: Single-Machine Scheduling", Computers & Operations Research 2025, arXiv 2510.24013. MDD:
    Baker, Bertrand 1982; PSK: Panwalkar, Smith, Koulamas 1993.

    Faithful to the paper: MDDC step by step, its example (total tardiness 141 against 144 of MDD) and ties. EDDC as
    printed sorts by due dates, after which its loop has nothing to do: it equals EDD. The gaps published for it are
    those of a pass that begins with the shortest job and moves a job forward past one that is due later when that one
    is still in time or the job is last; that pass is ``"eddc"`` here, a reconstruction. Left out: Panneerselvam's
    heuristic, whose steps are not known here; beginning the search with a language model, see
    `headway train shop/smtt-eddc-mddc`. Added: `normalise`. MDDC's last term is a pure number added to a time, so that
    a clock in milliseconds decides otherwise than one in seconds; with `normalise` it does not. Releases and downtimes
    are kept and not looked ahead to.

    Cost: O(n^2); 500 jobs take about a millisecond once compiled.

    Examples
    --------
    >>> from headway.policies.shop.making import single_machine
    >>> problem = single_machine("six", [10, 11, 10, 10, 11, 10], [15, 11, 13, 11, 12, 11])
    >>> SmttEddcMddc().solve(problem, budget_s=1, rng=np.random.default_rng(0)).objective
    141
    """

    def __init__(
        self,
        *,
        rule: Rule | Literal["evolved"] = "mddc",
        normalise: bool = False,
        ties: Literal["short", "index"] = "short",
        weights: str = "",
    ) -> None:
        self.rule = rule
        self.normalise = normalise
        self.ties = ties
        self.weights = weights
        if weights and rule != "evolved":
            raise ConfigError(
                f"shop/smtt-eddc-mddc: weights must come with rule 'evolved', got rule {rule!r}. Leave one of them out."
            )

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Sequence the jobs; of the sequence and `start`, the better one is the result."""
        watch = Stopwatch(budget_s)
        machine = as_one_machine(problem, NAME)
        arrays = machine.durations, machine.due
        if self.rule == "evolved":
            order = evolved(self.weights)(*arrays, float(machine.begin))
        else:
            order = sequence(
                self.rule, *arrays, machine.weights, begin=machine.begin, normalise=self.normalise, ties=self.ties
            )
        best = Incumbent(problem, NAME, watch, tell)  # it refuses an order that breaks a deadline, which no rule minds
        best.offer(start)
        best.offer(in_sequence(problem, machine.tasks[order].tolist(), machine.begin))
        return best.result()
