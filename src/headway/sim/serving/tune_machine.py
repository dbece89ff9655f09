"""One instance in virtual time whose steps may carry units of fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from headway.core.events import Event
from headway.core.nouns import Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Step, StepDone
from headway.policies.serving.state import InstanceState
from headway.sim.serving.afar import Afar
from headway.sim.serving.agenda import STEP_END, Agenda
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.machine import NEVER_S, Machine, Meter, Truth
from headway.sim.serving.price import BatchShape, StepPrice
from headway.sim.serving.run import Run, shape_of
from headway.sim.serving.side_by_side import Alone, ends_of_two
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.tuning import Tuning

NOTHING = BatchShape(0, 0)


class TuneMachine(Machine):
    """Runs steps one after the other, some of which carry units of fine-tuning.

    With all of the compute, a step's units follow its pieces. With less they run side by side, by the law of steps in
    lanes (`headway.sim.serving.side_by_side`); whoever is left goes on with its own share. A fused step computes the
    units' tokens in one batch with those of the pieces, so that weights are read once, and all tokens come out at its
    end: it costs what it would with chunks of prompts in the units' place, and what units have beyond such chunks. The
    energy of a unit is that of its chunk, for as long as the unit takes with all of the compute.
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
        self.tuning = Tuning((), {})
        self._begins_s: Seconds = 0.0
        self._pieces_s: Seconds = 0.0
        self._units_s: Seconds = 0.0
        self._tune_s: Seconds = 0.0
        self._owes_pieces = False  # whether tokens of the step under way are still to come

    def begin(self, step: Step) -> None:
        """Run a step that the board has accepted."""
        if not step.tune:
            super().begin(step)
            return
        now_s = self._board.now_s
        whole, rest = self._board.parts(step)
        run = Run(step, now_s, whole, rest, 1)
        self._begins_s, self._owed_s, self.look_s = now_s + self._owed_s, 0.0, NEVER_S
        run.shape = shape_of(run, self.instance) if step.pieces else NOTHING
        self._pieces_s, self._units_s, self._tune_s = self._times(run)
        run.ends_s = [self._begins_s + max(self._pieces_s, self._units_s)]
        self.run_s = run.ends_s[0] - now_s
        self._run = run
        self._owes_pieces = bool(step.pieces)
        if self._owes_pieces and self._pieces_s < self._units_s:
            run.entry = self._agenda.add(self._begins_s + self._pieces_s, STEP_END, self._pieces_over)
        else:
            run.entry = self._agenda.add(run.ends_s[0], STEP_END, self._all_over)

    def _times(self, run: Run) -> tuple[Seconds, Seconds, Seconds]:
        """Return how long after the beginning the pieces are done, and the units, and how long these took."""
        step, name, tuning = run.step, self.instance.id, self.tuning
        if not step.pieces:
            units_s, _ = tuning.alone(name, step.tune, 1.0 - step.share if step.share < 1 else 1.0)
            return 0.0, units_s, units_s
        if step.share < 1:
            beside = tuning.alone(name, step.tune, 1.0 - step.share)
            pieces_s, units_s = ends_of_two(self._alone(run), beside, tuning.disturb_frac)
            pieces_s, units_s = pieces_s * tuning.scatter(), units_s * tuning.scatter()
            return pieces_s, units_s, units_s
        units_s, _ = tuning.alone(name, step.tune)
        if step.fused:
            whole_s = self._fused_s(run, units_s)
            return whole_s, whole_s, whole_s
        pieces_s = self._step_s(run, run.shape)
        return pieces_s, pieces_s + units_s, units_s

    def _fused_s(self, run: Run, units_s: Seconds) -> Seconds:
        chunks = self.tuning.chunks_of(self.instance.id, run.step.tune)
        if not chunks:
            return self._step_s(run, run.shape) + units_s
        together_s = self._step_s(run, replace(run.shape, chunks=(*run.shape.chunks, *chunks)))
        return together_s + max(0.0, units_s - self._price.step_s(BatchShape(0, 0, chunks)))

    def _alone(self, run: Run) -> Alone:
        reads = getattr(self._price, "reads_frac", None)
        return self._step_s(run, run.shape), reads(run.shape) if reads is not None else 0.0

    def _pieces_over(self) -> Iterator[Event]:
        run = self._run
        assert run is not None
        run.entry = self._agenda.add(run.ends_s[0], STEP_END, self._all_over)
        yield from self._give(run)

    def _all_over(self) -> Iterator[Event]:
        run = self._run
        assert run is not None
        if self._owes_pieces:
            yield from self._give(run)
        self._account(run)
        self._run = None
        yield from self._done(run)

    def _give(self, run: Run) -> Iterator[Event]:
        """Hand out the tokens of the pieces."""
        self._owes_pieces = False
        for state in self._advance(run):
            yield self._truth.finish(state)

    def _account(self, run: Run) -> None:
        """Note what was spent."""
        name, step = self.instance.id, run.step
        self.busy_s += run.ends_s[0] - run.start_s
        self.tuning.note_units(step.tune, self._tune_s)
        if self._meter is None:
            return
        if step.pieces:
            whole = replace(run.shape, share=1.0)
            self._meter.spent(name, whole, self._price.step_s(whole))
        for unit in step.tune:
            for chunk in self.tuning.chunks_of(name, (unit,)):
                self._meter.spent(name, BatchShape(0, 0, (chunk,)), self.tuning.alone(name, (unit,))[0])

    def _done(self, run: Run) -> Iterator[Event]:
        units = run.step.tune
        if not units:
            yield from super()._done(run)
            return
        yield from self._all_land()
        for state in self._board.end(run.step):
            self._ends.expect(state, self._truth.left_tokens(state))
        now_s = self._board.now_s
        yield StepDone(
            at_s=now_s,
            instance=self.instance.id,
            step_s=now_s - run.start_s,
            num_tokens=run.shape.num_tokens,
            tune_s=self._tune_s,
            pieces_s=self._pieces_s if run.step.pieces else 0.0,
        )
        job = self._board.jobs.get(units[0].job)
        if job is not None and job.is_done:
            self.tuning.ended.append(job)
            news = self._board.tuning.finish(job.id, "done", now_s)
            self.tuning.note_lent(self.instance, now_s)
            yield news
