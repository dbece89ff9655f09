"""One instance in virtual time that runs steps side by side, each with a share of the compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from headway.core.events import Event
from headway.core.nouns import Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState
from headway.sim.serving.afar import Afar
from headway.sim.serving.agenda import STEP_END, Agenda
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.machine import Machine, Meter, Truth
from headway.sim.serving.price import StepPrice
from headway.sim.serving.run import Run, shape_of
from headway.sim.serving.side_by_side import slowed
from headway.sim.serving.speculation import Speculation


class LaneRun(Run):
    """A step under way in a lane.

    Attributes
    ----------
    ready_s : float
        When it begins, for whoever waits for a transfer first.
    left_frac : float
        How much of the present run of the step is still to be done.
    took_s : float
        How long all of it takes at the present speed.
    at_share : dict of float to (float, float)
        What it takes at shares of the compute, in seconds, and the share of the memory bandwidth that it then reads.
    """

    __slots__ = ("at_share", "left_frac", "ready_s", "took_s")

    def __init__(self, step: Step, start_s: Seconds, whole: bool, rest: Sequence[Piece], most_runs: int) -> None:
        super().__init__(step, start_s, whole, rest, most_runs)
        self.ready_s = start_s
        self.left_frac = 1.0
        self.took_s: Seconds = 1.0
        self.at_share: dict[float, tuple[Seconds, float]] = {}


class LaneMachine(Machine):
    """Runs steps in lanes.

    A step goes on at the price of its share. Where the shares of the steps under way add up to more than the whole,
    each gets its part of that sum. Speeds change as soon as a step begins or ends beside another. Steps that together
    would read more than the memory delivers slow each other down, by as much as they read, where the price knows.

    Simplified: a share is had exactly and at once, whatever the number of cores; steps side by side disturb each other
    in nothing but arithmetic and memory bandwidth; activations of a second one take no memory. The energy of a step is
    what it takes alone with all of the compute, idle power left out; `Meter.spent` hears of as much time.
    """

    def __init__(
        self,
        instance: InstanceState,
        board: ServingBoard,
        price: StepPrice,
        agenda: Agenda,
        truth: Truth,
        gaps: TokenGaps | None = None,
        meter: Meter | None = None,
        speculation: Speculation | None = None,
        afar: Afar | None = None,
    ) -> None:
        super().__init__(instance, board, price, agenda, truth, gaps, meter, speculation, afar)
        self._lanes: list[LaneRun] = []
        self._noted_s: Seconds = 0.0

    def begin(self, step: Step) -> None:
        """Run a step that the board has accepted."""
        now_s = self._board.now_s
        whole, rest = self._board.parts(step)
        run = LaneRun(step, now_s, whole, rest, step.repeat if self._repeats else 1)
        run.ready_s, self._owed_s = now_s + self._owed_s, 0.0
        self._note_progress()
        self._take(run)
        self._lanes.append(run)
        self._set_speeds()

    def cut(self, inclusive: bool) -> None:  # noqa: ARG002 (the repeat under way is always the last)
        """Let what is repeated end with the repeat under way."""
        for run in self._lanes:
            run.cut = True

    def plan_anew(self) -> None:
        """Do nothing: every repeat takes its memory when it begins."""

    def settle(self, happening: Callable[[], Event | None]) -> Iterator[Event]:
        """Let something happen at the end of a present step, or now when there is none."""
        self._landings.append(happening)
        if self._lanes:
            self.cut(inclusive=False)
        else:
            yield from self._all_land()

    def stop(self) -> None:
        """Forget everything: the instance has failed."""
        self._note_progress()
        for run in self._lanes:
            self._agenda.call_off(run.entry)
        self._lanes.clear()
        super().stop()

    def _take(self, run: LaneRun) -> None:
        """Begin one run of a step."""
        run.shape = replace(shape_of(run, self.instance), share=1.0)
        run.left_frac = 1.0
        run.at_share = {}

    def _note_progress(self) -> None:
        """Note what has been done since the speeds were last set."""
        now_s = self._board.now_s
        if self._lanes:
            self.busy_s += now_s - self._noted_s
        for run in self._lanes:
            did = max(0.0, now_s - max(self._noted_s, run.ready_s)) / run.took_s
            run.left_frac = max(0.0, run.left_frac - did)
            if self._meter is not None:
                self._meter.spent(self.instance.id, run.shape, did * self._at(run, 1.0)[0])
        self._noted_s = now_s

    def _set_speeds(self) -> None:
        """Let every step go on as fast as the others leave it."""
        now_s, lanes = self._board.now_s, self._lanes
        too_many = max(1.0, sum([run.step.share for run in lanes]))
        prices = [self._at(run, run.step.share / too_many) for run in lanes]
        for run, took_s in zip(lanes, slowed(prices), strict=True):
            run.took_s = self.run_s = took_s
            ends_s = max(now_s, run.ready_s) + run.left_frac * run.took_s
            if run.entry:
                self._agenda.call_off(run.entry)
            run.entry = self._agenda.add(ends_s, STEP_END, partial(self._end_lane, run))

    def _at(self, run: LaneRun, share: float) -> tuple[Seconds, float]:
        """Return how long a run takes at a share, and the share of the memory bandwidth that it reads."""
        found = run.at_share.get(share)
        if found is None:
            shape = replace(run.shape, share=share)
            reads = getattr(self._price, "reads_frac", None)
            found = run.at_share[share] = self._step_s(run, shape), reads(shape) if reads is not None else 0.0
        return found

    def _end_lane(self, run: LaneRun) -> Iterator[Event]:
        self._note_progress()
        run.entry = []
        self._lanes.remove(run)
        over = self._advance(run)
        run.num_before += 1
        for state in over:
            yield self._truth.finish(state)
        if not over and not run.cut and run.num_runs < run.most_runs and self._board.again(run.step):
            self._take(run)
            self._lanes.append(run)
            self._set_speeds()
            return
        self._set_speeds()
        self.cut(inclusive=True)  # what is over in one lane may be what the other waits for
        yield from self._done(run)
