"""The engine loop: requests in, steps on the model, tokens out.

`LlmEngine` is the executor that `headway.core.drivers.serve` drives. A step runs inline, inside `apply`: between two
steps the engine reads its socket, so an arrival or a cancellation waits for the step under way and for nothing else.
Where a policy has opened several lanes, or asks for a share of the compute, steps run in threads instead (see `Lanes`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple

from headway.core.actions import Action, Preempt, Reject, Set, Start, Wake
from headway.core.alarms import Alarms
from headway.core.clock import Clock
from headway.core.errors import ConfigError, EngineError
from headway.core.events import Event, Failed, Woke
from headway.core.nouns import Id, Seconds
from headway.engines.llm.loop.beside import Beside
from headway.engines.llm.loop.intake import Intake
from headway.engines.llm.loop.lanes import Flight, Lanes
from headway.engines.llm.loop.live import Live
from headway.engines.llm.loop.ports import Line, Trainers
from headway.engines.llm.loop.stepping import Stepper
from headway.engines.llm.loop.tuning import Tuning
from headway.engines.llm.messages import (
    Adopt,
    Adopted,
    Cancel,
    Drain,
    Output,
    Outputs,
    StopTune,
    Submit,
    ToEngine,
    Tune,
)
from headway.engines.llm.sampling.compiling import Compiling
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.jobs import TUNE_BLOCKS
from headway.policies.serving.nouns import RequestArrived, Step, StepDone

log = logging.getLogger(__name__)

CAN = frozenset({"layer_ranges", "repeat", "lanes", "share", "tune"})
"""What this engine is able to do beyond plain steps."""

BREATH_S: Seconds = 0.01
"""The event loop gets a turn at least so often (and after every longer step), for timers and signals."""


class Counted(NamedTuple):
    """What a step came to; see `StepDone`."""

    num_runs: int
    num_tokens: int
    tune_s: Seconds = 0.0
    pieces_s: Seconds | None = None


class LlmEngine:
    """Executes serving actions in real time.

    Parameters
    ----------
    board : ServingBoard
        Keeps the books; has exactly one instance.
    stepper : Stepper
        Runs steps on the model.
    intake : Intake
        Checks and takes requests.
    line : Line
        The line to the API process.
    clock : Clock
        Real time.
    compiling : Compiling or None
        Compiles grammars; without it, requests that need one are rejected.
    trainers : Trainers or None
        What trains beside serving; without it, no fine-tuning run is taken.

    Attributes
    ----------
    num_steps, num_preempted : int
        Counted since the start.
    step_s : float
        How long the latest step took, in seconds.
    tuning : Tuning
        The fine-tuning runs.
    """

    def __init__(
        self,
        board: ServingBoard,
        stepper: Stepper,
        intake: Intake,
        line: Line,
        clock: Clock,
        compiling: Compiling | None = None,
        trainers: Trainers | None = None,
    ) -> None:
        self.num_steps = self.num_preempted = 0
        self.step_s: Seconds = 0.0
        self._board = board
        (self._instance,) = board.instances.values()
        self._stepper = stepper
        self._lives = stepper.lives
        self._intake = intake
        self._line = line
        self._clock = clock
        self._compiling = compiling or Compiling(None)
        self._alarms = Alarms()
        self._lanes = Lanes(stepper, clock)
        self._trainers = trainers
        self.tuning = Tuning(board, line, clock, trainers)
        self._todo: deque[Callable[[], Event | None]] = deque()
        self._draining = False
        self._breath_s = clock.now_s()

    @property
    def view(self) -> ServingBoard:
        """What policies may see."""
        return self._board

    @property
    def draining(self) -> bool:
        """Whether no new requests are taken any more."""
        return self._draining

    def drain(self) -> None:
        """Take no new requests; end once everything here has finished."""
        self._draining = True
        self._compiling.bell()

    def abandon_runs(self, why: str) -> None:
        """End all fine-tuning runs as failed."""
        self._todo.extend(self.tuning.fail_all(why))
        self._compiling.bell()

    # Events ----------------------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """Yield events as they happen, until the engine is drained or the API process is gone."""
        try:
            while not self._line.closed:
                if not self._todo:
                    self._look()
                if self._todo:
                    event = self._todo.popleft()()
                    if event is not None:
                        yield event
                    await self._breathe()
                elif self._draining and not self._lives and not self._compiling.num_pending:
                    return  # what is trained goes on from its last step when an engine takes it up again
                else:
                    await self._idle()
        finally:
            self._lanes.close()
            self.tuning.close()

    def _look(self) -> None:
        """See what has come in, or is over, or is due."""
        self._listen()
        while (flight := self._lanes.landed()) is not None:
            self._land(flight)
        self._todo.extend(self.tuning.loaded())
        if not self._todo:
            self._ring()

    def _listen(self) -> bool:
        """Take what has come in; says whether anything has."""
        before = len(self._todo)
        self._take(self._line.ready())
        for submit, arrival_s, matcher in self._compiling.done():
            if isinstance(matcher, ConfigError):
                self._refuse(submit.id, str(matcher))
            else:
                self._welcome(self._intake.take(submit, arrival_s, matcher))
        return len(self._todo) > before

    def _take(self, messages: list[ToEngine]) -> None:
        for message in messages:
            if isinstance(message, Submit):
                self._submit(message)
            elif isinstance(message, Cancel):
                self._hear_cancel(message)
            elif isinstance(message, Drain):
                self.drain()
            elif isinstance(message, Tune):
                self.tuning.begin(message)
            elif isinstance(message, StopTune):
                self._todo.extend(self.tuning.stop(message))
            else:
                self._adopt(message)

    def _adopt(self, adopt: Adopt) -> None:
        why = "" if self._trainers is not None else "this engine can serve no more adapters"
        try:
            if self._trainers is not None:
                self._trainers.adopt(adopt.name, adopt.folder)
        except Exception as error:
            why = str(error) or type(error).__name__
        self._line.send(Adopted(name=adopt.name, why=why))

    def _ring(self) -> None:
        """Deliver the alarms that are due."""
        for tag in self._alarms.due(self._clock.now_s()):
            self._todo.append(partial(self._wake, tag))

    async def _idle(self) -> None:
        """Wait for a message, an alarm, a compiled grammar or a run of a step in a lane."""
        receiving = asyncio.ensure_future(self._line.receive())
        waits: list[asyncio.Future[object]] = [receiving, asyncio.ensure_future(self._compiling.rung())]  # type: ignore[list-item]
        waits += [asyncio.ensure_future(self._lanes.rung()), asyncio.ensure_future(self.tuning.rung())]
        if self._alarms.next_s is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(self._alarms.next_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                self._take(receiving.result())
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _breathe(self) -> None:
        """Let the event loop turn if it has not for a while."""
        now_s = self._clock.now_s()
        if now_s - self._breath_s >= BREATH_S:
            await asyncio.sleep(0)
            self._breath_s = now_s

    def _now_s(self) -> Seconds:
        """Set the board's time, which is that of the event about to be told."""
        self._board.now_s = now_s = self._clock.now_s()
        return now_s

    def _wake(self, tag: str) -> Event:
        return Woke(at_s=self._now_s(), tag=tag)

    # Requests --------------------------------------------------------------------------------------------------------

    def _submit(self, submit: Submit) -> None:
        now_s = self._clock.now_s()
        try:
            if self._draining:
                raise ConfigError("the engine is shutting down and takes no new requests.")
            if submit.id in self._lives or self._compiling.has(submit.id):
                raise ConfigError(f"id: must be new, got {submit.id!r} again.")
            self._intake.check(submit)
            if submit.sampling.grammar is not None:
                self._compiling.begin(submit, now_s)
                return
        except ConfigError as error:
            self._refuse(submit.id, str(error))
            return
        self._welcome(self._intake.take(submit, now_s))

    def _welcome(self, live: Live) -> None:
        self._lives[live.id] = live
        self._todo.append(partial(self._arrive, live))

    def _refuse(self, request: Id, why: str, retry_after_s: Seconds | None = None) -> None:
        told = Output(id=request, finish="rejected", why=why, retry_after_s=retry_after_s)
        self._line.send(Outputs(items=[told]))

    def _arrive(self, live: Live) -> Event:
        now_s = self._now_s()
        live.state = self._board.add(live.request)
        return RequestArrived(at_s=now_s, work=live.request)

    def _hear_cancel(self, cancel: Cancel) -> None:
        """Forget what is still being compiled; anything else ends in turn, behind its own arrival."""
        if self._compiling.forget(cancel.id):
            self._line.send(Outputs(items=[Output(id=cancel.id, finish=cancel.reason)]))
        else:
            self._todo.append(partial(self._cancel, cancel))

    def _cancel(self, cancel: Cancel) -> Event | None:
        live = self._lives.get(cancel.id)
        if live is None or live.state is None or live.ended:
            return None
        flight = self._lanes.of(cancel.id)
        if flight is not None:  # its memory is being written to
            flight.cut = True
            flight.cancels.append(cancel)
            return None
        self._line.send(Outputs(items=[Output(id=cancel.id, finish=cancel.reason)]))
        return self._end(cancel.id, cancel.reason)

    def _end(self, request: Id, reason: str) -> Event:
        live = self._lives.pop(request)
        self._stepper.leave(live)
        tool = live.submit.calls if reason in ("stop", "length") else ""  # nobody comes back to a broken turn
        return self._board.finish(request, reason, self._now_s(), tool)

    def _fail(self, request: Id, why: str) -> Event:
        self._end(request, "error")
        return Failed(at_s=self._now_s(), id=request, why=why)

    # Actions ---------------------------------------------------------------------------------------------------------

    async def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be. A step has run on return."""
        if isinstance(action, Wake):
            self._alarms.set(action)
            return None
        why = self._board.apply(action)
        if why is not None:
            return why
        if isinstance(action, Set) and action.knob == TUNE_BLOCKS:
            self.tuning.lent()
        elif isinstance(action, Step):
            self._begin(action)
        elif isinstance(action, Start):
            self._stepper.begin(self._lives[action.id])
        elif isinstance(action, Preempt):
            self._stepper.leave(self._lives[action.id])
            self.num_preempted += 1
        elif isinstance(action, Reject):
            del self._lives[action.id]
            self._refuse(action.id, action.why, action.retry_after_s)
            self._todo.append(lambda: Failed(at_s=self._now_s(), id=action.id, why=action.why))
        return None

    def _begin(self, step: Step) -> None:
        if step.tune:
            self._carry(step)
        elif self._instance.num_lanes > 1 or step.share != 1.0:
            self._lanes.begin(step)
        else:
            self._run(step)

    def _run(self, step: Step) -> None:
        """Run an accepted step, as often as it asks unless something happens, and tell what came of it."""
        start_s = self._clock.now_s()
        num_runs, happened = 0, False
        while not happened:
            news = self._try(step, partial(self._stepper.run, step))
            num_runs += 1
            happened = self._publish(news)
            happened = self._listen() or happened or num_runs >= step.repeat or self._should_turn(start_s)
            happened = happened or not self._board.again(step)
        self._ring()
        self._over(step, start_s, Counted(num_runs, self._stepper.num_tokens * num_runs))

    def _carry(self, step: Step) -> None:
        """Run a step that carries units of fine-tuning: after its pieces, or beside them with the rest of compute."""
        start_s = self._clock.now_s()
        beside = Beside(self.tuning, step) if step.share < 1.0 else None
        if step.pieces:
            self._publish(self._try(step, partial(self._stepper.run, step)))
        pieces_s = self._clock.now_s() - start_s
        tune_s = self.tuning.run(step.tune) if beside is None else beside.join()
        self._listen()
        self._ring()
        self._over(step, start_s, Counted(1, step.num_tokens, tune_s, pieces_s))

    def _over(self, step: Step, start_s: Seconds, counted: Counted) -> None:
        self.num_steps += counted.num_runs
        self.step_s = self._clock.now_s() - start_s
        self._todo.append(partial(self._done, step, self.step_s, counted))

    def _land(self, flight: Flight) -> None:
        """Book a run of a step that was computed in a lane, and let it be run again unless something happened."""
        step, flight.num_runs = flight.step, flight.num_runs + 1
        happened = self._publish(self._try(step, partial(self._concluded, flight)))
        happened = happened or flight.cut or flight.num_runs >= step.repeat or bool(self._todo)
        if not happened and self._board.again(step):
            self._lanes.again(flight)
            return
        self._lanes.end(flight)
        self._todo.extend([partial(self._cancel, cancel) for cancel in flight.cancels])
        self._over(step, flight.start_s, Counted(flight.num_runs, flight.lineup.num_tokens * flight.num_runs))

    def _concluded(self, flight: Flight) -> Outputs | None:
        if flight.error is not None:
            raise flight.error
        return self._stepper.conclude(flight.step, flight.lineup, flight.logits)

    def _should_turn(self, since_s: Seconds) -> bool:
        """Whether repeating has kept the rest of the engine waiting for long enough, or an alarm is due."""
        now_s, alarm_s = self._clock.now_s(), self._alarms.next_s
        return now_s - since_s >= BREATH_S or (alarm_s is not None and alarm_s <= now_s)

    def _publish(self, news: Outputs | None) -> bool:
        """Send the news of a step; says whether some request has ended."""
        if news is None:
            return False
        self._line.send(news)
        over = [item for item in news.items if item.finish]
        for item in over:
            self._lives[item.id].ended = True
            if item.finish == "error":
                self._todo.append(partial(self._fail, item.id, item.why))
            else:
                self._todo.append(partial(self._end, item.id, item.finish))
        return bool(over)

    def _try(self, step: Step, run: Callable[[], Outputs | None]) -> Outputs | None:
        """Run a step once; when it fails, its requests end with an error and the engine lives on."""
        try:
            return run()
        except Exception as error:
            if _hopeless(error):
                raise EngineError(f"engine: a step failed, nothing can run after it ({_sentence(error)}).") from error
            log.exception("a step of %d pieces failed", len(step.pieces))
            why = f"the model failed on this step ({_sentence(error)})"
            return Outputs(items=[Output(id=piece.request, finish="error", why=why) for piece in step.pieces])

    def _done(self, step: Step, step_s: Seconds, counted: Counted) -> Event:
        now_s = self._now_s()
        self._board.end(step)
        if step.tune:
            self._todo.extend(self.tuning.concluded(step, counted.tune_s))
        return StepDone(at_s=now_s, instance=step.instance, step_s=step_s, **counted._asdict())


def _hopeless(error: Exception) -> bool:
    """Whether the device or the memory is lost, so that later steps would fail as well."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError", "AcceleratorError"}) or "CUDA error" in str(error)


def _sentence(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
