"""One instance in virtual time: it runs the steps that its board has accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import DoorOpen, RequestMoved, Step, StepDone
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.afar import Afar
from headway.sim.serving.agenda import STEP_END, Agenda
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.price import BatchShape, StepPrice
from headway.sim.serving.run import Run, affordable_runs, ends_of_decodes, shape_of
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.truth import Ends

NEVER_S: Seconds = float("inf")
SEGMENT = 16
"""How many repeats are laid out at once; an arrival is likely to cut a longer plan anyway."""


class Meter(Protocol):
    """Told of everything that instances compute."""

    def spent(self, instance: Id, shape: BatchShape, took_s: Seconds) -> None:
        """Note that an instance took this long for steps of about this shape."""


class Truth(Protocol):
    """What a machine asks its world."""

    def left_tokens(self, state: RequestState) -> int:
        """How many more tokens a request is given."""

    def finish(self, state: RequestState) -> Event:
        """End a request; returns the news."""

    def computed(self, step: Step, start_s: Seconds) -> None:
        """Note that a step that began then has computed its pieces; asked only while something is being copied."""


class Machine:
    """Runs steps at a price.

    Repeated steps of all decodes are laid out ahead, and entered into the books when somebody looks. It comes to the
    same, to the last bit, as one step at a time.

    Parameters
    ----------
    instance : InstanceState
        What is visible of it.
    board : ServingBoard
        Keeps the books.
    price : StepPrice
        What a step costs.
    agenda : Agenda
        Where the ends of steps are noted.
    truth : Truth
        Knows when requests stop.
    gaps : TokenGaps or None
        Told of every token that a request is given.
    meter : Meter or None
        Told of everything computed.
    speculation : Speculation or None
        The draft model, where there is one.
    afar : Afar or None
        Knows what steps cost where something is lent.

    Attributes
    ----------
    look_s : float
        When there is next something to enter into the books that no entry of the agenda tells of.
    run_s : float
        How long the latest run of a step takes, in seconds.
    busy_s : float
        Time spent computing, in seconds; with several stages, of all of them together divided by their number.
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
        self.instance = instance
        self.busy_s: Seconds = 0.0
        self.run_s: Seconds = 0.0
        self.look_s: Seconds = NEVER_S
        self._board = board
        self._price = price
        self._agenda = agenda
        self._truth = truth
        self._gaps = gaps
        self._meter = meter
        self._speculation = speculation
        self._afar = afar
        self._ends = Ends(instance)
        self._repeats = "repeat" in board.can
        self._run: Run | None = None
        self._owed_s: Seconds = 0.0
        self._landings: list[Callable[[], Event | None]] = []
        self._stages_free_s = [0.0] * instance.num_stages
        self._flows: list[Run] = []

    def take_over(self, other: Machine) -> None:
        """Go on for another machine of the same instance, which is idle."""
        self.busy_s, self._owed_s = other.busy_s, other._owed_s
        self._ends, self._landings = other._ends, other._landings

    def owe(self, transfer_s: Seconds) -> None:
        """Let the next run of a step wait for a transfer to or from the host."""
        self._owed_s += transfer_s

    def begin(self, step: Step) -> None:
        """Run a step that the board has accepted."""
        whole, rest = self._board.parts(step)
        run = Run(step, self._board.now_s, whole, rest, step.repeat if self._repeats else 1)
        if self.instance.num_stages > 1:
            self._flow(run)
        else:
            self._run = run
            self._lay_out(run)

    def cut(self, inclusive: bool) -> None:
        """Let what is repeated end with the repeat under way."""
        run = self._run
        if run is None or run.cut:
            return
        run.cut = True
        index = run.passed(self._board.now_s, inclusive)
        self._keep(run, index + 1)

    def plan_anew(self) -> None:
        """See what is left of a plan now that somebody else has taken memory, or a transfer is owed."""
        run = self._run
        if run is not None and (left := len(run.ends_s) - run.num_done) > 1:
            self._keep(run, run.num_done + (1 if self._owed_s else affordable_runs(self.instance, left)))

    def replan(self) -> None:
        """Lay out what follows the repeat under way anew: it costs something else now."""
        run = self._run
        if run is not None:
            self._keep(run, run.num_done + 1)

    def catch_up(self, now_s: Seconds, inclusive: bool) -> None:
        """Enter into the books what has been repeated up to a time."""
        run = self._run
        if run is not None and (index := run.passed(now_s, inclusive)) > run.num_done:
            self._enter(run, index, more=True)

    def land(self, state: RequestState, took_s: Seconds) -> Iterator[Event]:
        """Let a request that was on its way here take part from the end of the present step on."""
        yield from self.settle(partial(self._landed, state, took_s))

    def settle(self, happening: Callable[[], Event | None]) -> Iterator[Event]:
        """Let something happen at the end of the present step, or now when there is none."""
        self._landings.append(happening)
        if self._run is None:
            yield from self._all_land()
        else:
            self.cut(inclusive=False)

    def stop(self) -> None:
        """Forget everything: the instance has failed."""
        for run in [*self._flows, *([self._run] if self._run else [])]:
            self._agenda.call_off(run.entry)
        self._run, self._flows, self._owed_s, self.look_s = None, [], 0.0, NEVER_S
        self._landings.clear()
        self._ends.clear()
        self._stages_free_s = [self._board.now_s] * self.instance.num_stages

    def _keep(self, run: Run, num: int) -> None:
        """Keep no more than the first `num` repeats that are laid out."""
        if num < len(run.ends_s):
            del run.ends_s[num:]
            self._look_ahead(run)
            self._agenda.call_off(run.entry)
            run.entry = self._agenda.add(run.ends_s[-1], STEP_END, self._end)

    # One step after the other ----------------------------------------------------------------------------------------

    def _lay_out(self, run: Run) -> None:
        """Plan the next repeats, and see to it that their end is heard of."""
        instance, start_s = self.instance, self._board.now_s + self._owed_s
        self._owed_s = 0.0
        if run.coasts:
            most = min(run.most_runs - run.num_runs, SEGMENT, self._ends.num_runs())
            most = affordable_runs(instance, most) if most > 1 else 1
            run.shape = BatchShape(len(instance.decodes), instance.decodes.context_tokens)
            if self._afar is not None and self._board.lends:
                run.lay_out(self._afar.ends_of_decodes(instance, most, start_s))
            else:
                run.lay_out(ends_of_decodes(self._price, instance, most, start_s))
        else:
            run.shape = shape_of(run, instance)
            run.lay_out([start_s + self._step_s(run, run.shape)])
        self.run_s = run.ends_s[0] - start_s
        run.entry = self._agenda.add(run.ends_s[-1], STEP_END, self._end)
        self._look_ahead(run)

    def _end(self) -> Iterator[Event]:
        run = self._run
        assert run is not None
        over = self._enter_last(run)
        for state in over:
            yield self._truth.finish(state)
        if not over and not run.cut and run.num_runs < run.most_runs and self._board.again(run.step):
            self._lay_out(run)
            return
        self._run = None
        yield from self._done(run)

    def _step_s(self, run: Run, shape: BatchShape) -> Seconds:
        price_s = self._price.step_s(shape)
        if self._afar is not None and self._board.lends:
            price_s = self._afar.step_s(self.instance, run, price_s)
        if self._speculation is not None and run.step.speculate:
            price_s += self._speculation.draft_s * max(run.step.speculate.values())
        return price_s

    def _enter_last(self, run: Run) -> list[RequestState]:
        """Enter the last repeat that is laid out; returns who stops with it."""
        if run.coasts:
            self._enter(run, len(run.ends_s), more=False)
            return self._ends.over()
        self._spend(run, run.shape, run.ends_s[-1])
        return self._advance(run)

    def _enter(self, run: Run, until: int, more: bool) -> None:
        decodes, times_s = self.instance.decodes, run.ends_s[run.num_done : until]
        if self._gaps is not None:
            self._gaps.all(decodes, times_s)
        self._spend(run, BatchShape(len(decodes), decodes.context_tokens), times_s[-1])
        self._board.coast(run.step, times_s, more)
        run.num_done = until
        self._look_ahead(run)

    def _look_ahead(self, run: Run) -> None:
        """Note when the next repeat ends that nobody else will tell of."""
        self.look_s = run.ends_s[run.num_done] if run.num_done < len(run.ends_s) - 1 else NEVER_S

    def _advance(self, run: Run) -> list[RequestState]:
        """Enter one run of a step in the books, piece by piece; returns who stops with it."""
        board, decodes, now_s = self._board, self.instance.decodes, self._board.now_s
        if self._gaps is not None:
            self._note_gaps(run, now_s)
        num_decodes = len(decodes) if run.whole else 0
        accepted = self._accepted(run.step) if run.step.speculate else None
        emitted = board.advance(run.step, now_s, accepted)
        if board.copies:
            self._truth.computed(run.step, run.start_s)
        over = self._ends.over() if run.whole else []
        return over + [state for state in emitted[num_decodes:] if self._truth.left_tokens(state) <= 0]

    def _accepted(self, step: Step) -> dict[Id, int]:
        """Draw which drafted tokens are right, as far as their requests go on."""
        found: dict[Id, int] = {}
        assert self._speculation is not None  # without a draft model the board has refused the step
        for name, drafted in step.speculate.items():
            state = self.instance.running.get(name) or self.instance.flying.get(name)
            if state is not None:
                found[name] = min(self._speculation.accepted(state, drafted), self._truth.left_tokens(state) - 1)
                if self._gaps is not None and found[name]:
                    self._gaps.one(0.0, found[name])
        return found

    def _note_gaps(self, run: Run, now_s: Seconds) -> None:
        assert self._gaps is not None
        if run.whole:
            self._gaps.all(self.instance.decodes, [now_s])
        for piece in run.rest:
            state = self.instance.running.get(piece.request) or self.instance.flying.get(piece.request)
            layers_left = piece.layers is not None and piece.layers[1] < self.instance.num_layers
            if state is not None and state.output_tokens and state.left_tokens == piece.tokens and not layers_left:
                self._gaps.one(now_s - state.last_token_s)

    def _done(self, run: Run) -> Iterator[Event]:
        yield from self._all_land()
        for state in self._board.end(run.step):
            self._ends.expect(state, self._truth.left_tokens(state))
        num_runs, now_s = run.num_runs, self._board.now_s
        yield StepDone(
            at_s=now_s,
            instance=self.instance.id,
            step_s=now_s - run.start_s,
            num_tokens=run.shape.num_tokens * num_runs,
            num_runs=num_runs,
        )

    def _spend(self, run: Run, shape: BatchShape, until_s: Seconds) -> None:
        took_s = until_s - run.since_s
        run.since_s = until_s
        self.busy_s += took_s
        if self._meter is not None:
            self._meter.spent(self.instance.id, shape, took_s)

    def _landed(self, state: RequestState, took_s: Seconds) -> Event | None:
        if self.instance.flying.get(state.id) is not state:
            return None  # it was cancelled on its way
        self._board.arrive(state.id)
        return RequestMoved(at_s=self._board.now_s, id=state.id, instance=self.instance.id, took_s=took_s)

    def _all_land(self) -> Iterator[Event]:
        landings, self._landings = self._landings, []
        for land in landings:
            event = land()
            if event is not None:
                yield event

    # Several steps in the stages of a pipeline -----------------------------------------------------------------------

    def _flow(self, run: Run) -> None:
        """Send a step through the stages, each of which takes it when it is free."""
        run.shape = shape_of(run, self.instance)
        stage_s = self._step_s(run, run.shape)
        at_s = self._board.now_s + self._owed_s
        self._owed_s = 0.0
        for stage, free_s in enumerate(self._stages_free_s):
            at_s = self._stages_free_s[stage] = max(at_s, free_s) + stage_s
            if stage == 0:
                run.entry = self._agenda.add(at_s, STEP_END, partial(self._leave_door, run))
        run.ends_s = [at_s]
        run.since_s = at_s - stage_s  # the stages' shares of the time add up to that of one
        self._flows.append(run)

    def _leave_door(self, run: Run) -> Iterator[Event]:
        self._board.leave_door(run.step)
        run.entry = self._agenda.add(run.ends_s[-1], STEP_END, partial(self._end_flow, run))
        yield DoorOpen(at_s=self._board.now_s, instance=self.instance.id)

    def _end_flow(self, run: Run) -> Iterator[Event]:
        self._flows.remove(run)
        self._spend(run, run.shape, run.ends_s[-1])
        for state in self._advance(run):
            yield self._truth.finish(state)
        yield from self._done(run)
