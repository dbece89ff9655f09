"""Who has been promised a place on each instance, and how its steps are cut.

Source: "SLOs-Serve: Optimized Serving of Multi-SLO LLMs", arXiv 2504.08784: triggers, inputs and outcomes of planning.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Id, Seconds
from headway.policies.serving.acceptance import Acceptance
from headway.policies.serving.pace import Pace
from headway.policies.serving.seats import Predict
from headway.policies.serving.slos_admission import Ask, choose, counts
from headway.policies.serving.slos_budget import Budget, Draft, Load, Plan
from headway.policies.serving.slos_lines import Line, line_of
from headway.policies.serving.state import InstanceState, RequestState

Floats = NDArray[np.float64]

MAX_TIERS = 4
"""Times per token told apart; others count as the next more urgent one."""
AGAIN_S: Seconds = 0.25
"""After so long, who was put off is looked at again even if nobody has ended."""
WORTH_STEPS = 3.0
"""A step may always be so many times as long as an empty one."""
MAX_ROUNDS = 8
"""So often at most is the program run in one go when more ask than it takes at once."""


class Planner:
    """Decides who gets a place, and remembers it.

    Parameters
    ----------
    pace : Pace
        How long steps take.
    predict : Predict
        How long outputs will be.
    safety_frac : float
        The share of every period that is kept in reserve.
    max_new : int
        How many are asked about at once.
    longest_step_s : float
        The longest step, in seconds; nor is any longer than the least urgent time per token: whoever arrives has to
        wait for its end.
    chooses : bool
        Whether anybody is put off; else all get a place.

    Attributes
    ----------
    speculates : bool
        Whether tokens may be drafted.
    num_ended : int
        Requests that have ended so far; with each, who was put off is looked at again.
    """

    def __init__(
        self,
        pace: Pace,
        predict: Predict,
        *,
        safety_frac: float,
        max_new: int,
        longest_step_s: Seconds,
        chooses: bool = True,
    ) -> None:
        self.speculates = False
        self.num_ended = 0
        self.acceptance = Acceptance()
        self._pace = pace
        self._predict = predict
        self._safety_frac = safety_frac
        self._max_new = max_new
        self._longest_step_s = longest_step_s
        self._chooses = chooses
        self._lines: dict[Id, Line] = {}
        self._tpots_s: Counter[Seconds] = Counter()
        self._kept: set[Id] = set()
        self._put_off: set[Id] = set()
        self._late: set[Id] = set()
        self._looked: dict[Id, tuple[int, Seconds]] = {}
        self._until_s: dict[Id, Seconds] = {}

    # What the seats ask ----------------------------------------------------------------------------------------------

    def is_kept(self, state: RequestState) -> bool:
        """Whether a request has been promised a place."""
        return state.id in self._kept

    def line(self, state: RequestState) -> Line:
        """Return the line of a request."""
        found = self._lines.get(state.id)
        if found is None:
            found = self._lines[state.id] = line_of(state, state.promise, self._predict.output_tokens(state))
            self._tpots_s[found.tpot_s] += 1
        return found

    def victim(self, running: Sequence[RequestState]) -> RequestState:
        """Return who gives way: the latest of those without a place, else the one whose next token is due last."""
        without = [state for state in running if state.id not in self._kept]
        return without[-1] if without else max(running, key=lambda state: self.line(state).due_s(state))

    def forget(self, request: Id) -> None:
        """Forget a request that has ended."""
        self.num_ended += 1
        line = self._lines.pop(request, None)
        if line is not None:
            self._tpots_s[line.tpot_s] -= 1
            if not self._tpots_s[line.tpot_s]:
                del self._tpots_s[line.tpot_s]
        self._kept.discard(request)
        self._put_off.discard(request)
        self._late.discard(request)

    def would_take(self, instance: InstanceState, state: RequestState, now_s: Seconds) -> bool:
        """Say whether an instance could promise a request a place beside those who have one or have just been sent."""
        if self.line(state).is_none or self._is_lost(instance, state, now_s):
            return False
        sent = {other.id for other in self._fresh(instance)} - self._kept
        self._kept |= sent
        begin_s = max(now_s, self._until_s.get(instance.id, 0.0)) if instance.busy else now_s
        takes = self._choose(instance, [state], begin_s)
        self._kept -= sent
        return takes == [True]

    def note(self, instance: InstanceState, until_s: Seconds) -> None:
        """Note until when the step that is about to begin will last."""
        self._until_s[instance.id] = until_s

    def keep(self, state: RequestState) -> None:
        """Promise a request a place."""
        self._kept.add(state.id)
        self._put_off.discard(state.id)

    def look(self, instance: InstanceState, now_s: Seconds) -> None:
        """Decide about all who are new at an instance, and now and then about those who were put off."""
        fresh = self._fresh(instance)
        if not fresh and not self._is_time(instance, now_s):
            return
        self._give_up(instance, now_s)
        again = [s for s in _all(instance) if s.id in self._put_off and not self._is_given_up(instance, s, now_s)]
        rounds = 0
        while fresh and rounds < MAX_ROUNDS:
            fresh, now = fresh[self._max_new :], fresh[: self._max_new]
            self._decide(instance, now, now_s)
            rounds += 1
        if again and rounds < MAX_ROUNDS:
            again.sort(key=lambda state: self.line(state).due_s(state))
            self._decide(instance, again[: self._max_new], now_s)
        self._looked[instance.id] = self.num_ended, now_s

    def budget(self, instance: InstanceState, mean_context: float = 0.0) -> Budget:
        """Return what steps of an instance have room for, as its pace is known now."""
        slopes = self._pace.marginal_s(instance)
        # Where the step alone takes most of a time per token, drafts may keep lines that no single tokens could.
        period_s = max(WORTH_STEPS * slopes[0], max(self._tpots_s, default=math.inf))
        return Budget(
            slopes,
            safety_frac=self._safety_frac,
            mean_context=mean_context,
            idle_period_s=min(self._longest_step_s, period_s),
        )

    def plan(self, instance: InstanceState, budget: Budget) -> tuple[Plan, Load]:
        """Return how steps are cut now, and the decodes for which they are."""
        decodes = [state for state in instance.decodes if state.id in self._kept]
        load = self._load(decodes, _tiers(self.line(state).tpot_s for state in decodes))
        return budget.best(load, self.acceptance.frac, self.speculates), load

    # What it does with that ----------------------------------------------------------------------------------------

    def _fresh(self, instance: InstanceState) -> list[RequestState]:
        return [s for s in instance.waiting.values() if s.id not in self._kept and s.id not in self._put_off]

    def _is_time(self, instance: InstanceState, now_s: Seconds) -> bool:
        num_ended, at_s = self._looked.get(instance.id, (-1, 0.0))
        return num_ended != self.num_ended or now_s >= at_s + AGAIN_S

    def _is_lost(self, instance: InstanceState, state: RequestState, now_s: Seconds) -> bool:
        line = self.line(state)
        if line.is_none:
            return True
        step_s = self._pace.marginal_s(instance)[0]
        return line.is_lost(state, now_s, self._predict.output_tokens(state), step_s)

    def _is_given_up(self, instance: InstanceState, state: RequestState, now_s: Seconds) -> bool:
        """Whether who was put off is late for good; under overload these are many, and looked at once."""
        if state.id in self._late:
            return True
        found = self._is_lost(instance, state, now_s)
        if found:
            self._late.add(state.id)
        return found

    def _give_up(self, instance: InstanceState, now_s: Seconds) -> None:
        """Take the places of those who cannot be in time any more: they would only make others late."""
        if not self._chooses:
            return
        for state in _all(instance):
            if state.id in self._kept and self._is_lost(instance, state, now_s):
                self._kept.discard(state.id)
                self._put_off.add(state.id)

    def _decide(self, instance: InstanceState, states: Sequence[RequestState], now_s: Seconds) -> None:
        able = [s for s in states if not (self._chooses and self._is_lost(instance, s, now_s))]
        self._put_off.update(state.id for state in states)
        takes = self._choose(instance, able, now_s) if self._chooses else [not self.line(s).is_none for s in able]
        for state, takes_it in zip(able, takes, strict=True):
            if takes_it:
                self.keep(state)

    def _choose(self, instance: InstanceState, states: Sequence[RequestState], now_s: Seconds) -> list[bool]:
        """Run the program for some who ask; returns who gets a place."""
        if not states:
            return []
        kept = [state for state in _all(instance) if state.id in self._kept]
        decodes = [state for state in kept if state.id in instance.decodes.members]
        others = [state for state in kept if state.id not in instance.decodes.members]
        new = {state.id for state in states}
        tiers = _tiers(self.line(state).tpot_s for state in (*kept, *states))
        asking = sorted((*others, *states), key=lambda state: self.line(state).due_s(state))
        asks = [self._ask(instance, state, tiers, now_s, state.id not in new) for state in asking]
        free = self._free_blocks(instance, kept, states)
        chosen = choose(asks, self._rates(instance, self._load(decodes, tiers), asks, asking), free)
        found = {state.id: takes for state, takes in zip(asking, chosen, strict=True)}
        return [found[state.id] for state in states]

    def _ask(
        self, instance: InstanceState, state: RequestState, tiers: Sequence[Seconds], now_s: Seconds, kept: bool
    ) -> Ask:
        line = self.line(state)
        due_s = min(max(0.0, line.due_s(state) - now_s), 1e6)
        return Ask(due_s, left_tokens(instance, state), _tier(line, tiers), self._blocks(instance, state), kept)

    def _rates(
        self, instance: InstanceState, load: Load, asks: Sequence[Ask], states: Sequence[RequestState]
    ) -> np.ndarray:
        """Return the prompt tokens per second by how many more decode, `[more in tier 1, ...]`."""
        kept, new = counts(asks, len(load.tpot_s))
        tokens = max(1.0, sum(ask.prefill_tokens for ask in asks))
        budget = self.budget(instance, sum(ask.prefill_tokens**2 for ask in asks) / 2 / tokens)
        sums = [0.0] * len(load.tpot_s)
        for ask, state in zip(asks, states, strict=True):
            sums[ask.tier] += state.known_tokens + 0.5 * self._more_tokens(state)
        nums = [one + other for one, other in zip(kept, new, strict=True)]
        each = [total / max(1, num) for total, num in zip(sums, nums, strict=True)]
        more = np.meshgrid(*(np.arange(num + 1.0) for num in nums), indexing="ij")
        all_of_it = Load(
            load.tpot_s,
            tuple(n + m for n, m in zip(load.num, nums, strict=True)),
            tuple(c + s for c, s in zip(load.context_tokens, sums, strict=True)),
        )
        right = self.acceptance.frac
        drafts = {(0,) * len(nums)}
        if self.speculates:
            drafts |= {budget.best(one, right, True).drafts for one in (load, all_of_it)}
        found = [budget.rates(load, more, each, Draft([np.asarray(float(n)) for n in d], right)) for d in drafts]
        best: np.ndarray = np.maximum.reduce(found)
        return best

    def _load(self, decodes: Sequence[RequestState], tiers: Sequence[Seconds]) -> Load:
        num, held = [0.0] * len(tiers), [0.0] * len(tiers)
        for state in decodes:
            tier = _tier(self.line(state), tiers)
            num[tier] += 1
            held[tier] += state.computed_tokens
        return Load(tuple(tiers), tuple(num), tuple(held))

    def _more_tokens(self, state: RequestState) -> float:
        return max(0.0, self._predict.output_tokens(state) - state.output_tokens)

    def _free_blocks(self, instance: InstanceState, kept: Sequence[RequestState], new: Sequence[RequestState]) -> int:
        """Return the blocks that nobody has been promised, in the measure in which all of each request is counted.

        Requests do not come to their full lengths at the same time, so that more fit than would if they did.
        """
        sizes = np.array([state.known_tokens for state in (*kept, *new)], np.float64)
        more = np.array([self._more_tokens(state) for state in (*kept, *new)])
        peak = peak_tokens(sizes, more) / max(1.0, float((sizes + more).sum()))
        promised = sum(self._blocks(instance, state) for state in kept)
        return int(instance.kv.num_blocks * (1 - self._safety_frac / 2) / min(1.0, peak)) - promised

    def _blocks(self, instance: InstanceState, state: RequestState) -> int:
        """Return the blocks that a request will come to."""
        tokens = min(state.known_tokens + self._more_tokens(state), state.reach_tokens)
        return max(len(state.blocks), instance.kv.blocks_for(int(tokens)))


def peak_tokens(sizes: Floats, more: Floats) -> float:
    """Return the most tokens that requests will hold at once if all grow at the same pace and leave when they end.

    Parameters
    ----------
    sizes, more : ndarray
        Tokens now, and to come, `[requests]`.

    Examples
    --------
    >>> peak_tokens(np.array([10.0, 10.0]), np.array([5.0, 20.0]))
    30.0
    """
    if not len(sizes):
        return 0.0
    order = np.argsort(-more)
    longest_first = more[order]
    held = np.cumsum(sizes[order])  # of those that are there when the shortest of them ends
    return float((held + np.arange(1, len(sizes) + 1) * longest_first).max())


def left_tokens(instance: InstanceState, state: RequestState) -> int:
    """Return how many tokens of a request are to be computed before its next output token, 0 when that is all."""
    if state.id in instance.decodes.members:
        return 0
    left, kv = state.left_tokens, instance.kv
    if state.id in instance.waiting and state.hashes:
        left -= len(kv.match(state.hashes[: (state.known_tokens - 1) // kv.block_size])) * kv.block_size
    return max(0, left)


def _all(instance: InstanceState) -> list[RequestState]:
    return [*instance.running.values(), *instance.waiting.values()]


def _tiers(tpots_s: Iterable[Seconds]) -> tuple[Seconds, ...]:
    """Return the times per token that are told apart, the most urgent first."""
    found = sorted({min(tpot_s, 1e6) for tpot_s in tpots_s}) or [math.inf]
    return tuple(found[:: -(-len(found) // MAX_TIERS)])


def _tier(line: Line, tiers: Sequence[Seconds]) -> int:
    """Return the number of the least urgent tier that is urgent enough."""
    found = 0
    for number, tpot_s in enumerate(tiers):
        if tpot_s <= line.tpot_s:
            found = number
    return found
