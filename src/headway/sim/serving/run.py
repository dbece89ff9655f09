"""A step under way in virtual time: when it ends, and where in a run of repeats the present is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from headway.core.nouns import Seconds
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState
from headway.sim.serving.agenda import Entry
from headway.sim.serving.price import BatchShape, Chunk, StepPrice


class Run:
    """A step, and the ends of its next repeats as they are laid out so far.

    Attributes
    ----------
    most_runs : int
        How often the step is run at most.
    ends_s : list of float
        When the repeats end that are laid out.
    num_done : int
        How many of these are in the books already.
    num_before : int
        How many repeats were in the books before these.
    since_s : float
        Up to when the time spent is in the books.
    cut : bool
        Whether it ends with the last repeat that is laid out.
    """

    __slots__ = (
        "cut",
        "ends_s",
        "entry",
        "most_runs",
        "num_before",
        "num_done",
        "rest",
        "shape",
        "since_s",
        "start_s",
        "step",
        "whole",
    )

    def __init__(self, step: Step, start_s: Seconds, whole: bool, rest: Sequence[Piece], most_runs: int) -> None:
        self.step = step
        self.most_runs = most_runs
        self.start_s = self.since_s = start_s
        self.whole = whole
        self.rest = rest
        self.shape = BatchShape(0, 0)
        self.ends_s: list[Seconds] = []
        self.entry: Entry = []
        self.num_done = 0
        self.num_before = 0
        self.cut = False

    @property
    def coasts(self) -> bool:
        """Whether it is about all decodes of its instance and nothing else: repeats need no look at any request."""
        return self.whole and not self.rest and self.step.share == 1.0

    @property
    def num_runs(self) -> int:
        """How many repeats there are, those laid out included."""
        return self.num_before + len(self.ends_s)

    def lay_out(self, ends_s: list[Seconds]) -> None:
        """Go on to a new plan; all of the one before is in the books."""
        self.num_before += len(self.ends_s)
        self.ends_s = ends_s
        self.num_done = 0

    def passed(self, now_s: Seconds, inclusive: bool) -> int:
        """Return how many of those laid out are over by now; the last is not, before it is told."""
        ends = self.ends_s
        index = bisect_right(ends, now_s) if inclusive else bisect_left(ends, now_s)
        return min(index, len(ends) - 1)


def shape_of(run: Run, instance: InstanceState) -> BatchShape:
    """Return what one run of a step computes."""
    decodes = instance.decodes
    num_decodes, context = (len(decodes), decodes.context_tokens - away_tokens(instance)) if run.whole else (0, 0)
    chunks: list[Chunk] = []
    for piece in run.rest:
        state = instance.running.get(piece.request) or instance.flying.get(piece.request)
        if state is None:  # it ended in an earlier run of the same step
            continue
        computed = state.computed_tokens - state.away_tokens
        if piece.layers is None and state.decoding:
            num_decodes += 1
            context += computed
        else:
            frac = 1.0 if piece.layers is None else (piece.layers[1] - piece.layers[0]) / instance.num_layers
            chunks.append(Chunk(piece.tokens, computed, frac))
    drafted = sum(run.step.speculate.values()) if run.step.speculate else 0
    return BatchShape(num_decodes, context, tuple(chunks), run.step.share, drafted)


def away_tokens(instance: InstanceState) -> int:
    """Return how many tokens of the context of all decodes of an instance are elsewhere."""
    if not instance.lent:
        return 0
    members = instance.decodes.members
    return sum([state.away_tokens for state in instance.lent.values() if state.id in members])


def ends_of_decodes(price: StepPrice, instance: InstanceState, num_runs: int, start_s: Seconds) -> list[Seconds]:
    """Return when each of `num_runs` steps of all decodes ends, the first of which begins at `start_s`."""
    num, context = len(instance.decodes), instance.decodes.context_tokens
    base_s, per_token_s = price.decode_line(num)
    ends, at_s = [], start_s
    for _ in range(num_runs):
        at_s += base_s + per_token_s * context
        context += num
        ends.append(at_s)
    return ends


def affordable_runs(instance: InstanceState, num_runs: int) -> int:
    """Return how many of `num_runs` steps of all decodes the memory suffices for; the first has its blocks."""
    decodes, num_free = instance.decodes, instance.kv.num_free
    if len(decodes) * (1 + num_runs // decodes.block_size) <= num_free:
        return num_runs  # they cannot need more than that
    while num_runs > 1 and decodes.num_short(num_runs) > num_free:
        num_runs -= 1
    return num_runs
