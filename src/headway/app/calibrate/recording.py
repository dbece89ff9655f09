"""From the recording of a live engine to its steps: who was in each, how far along, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from headway.app.calibrate.steps import MeasuredStep
from headway.core.actions import Preempt, Start
from headway.core.events import Event, Failed
from headway.core.nouns import Id, Seconds
from headway.core.trace import Record, TraceHeader, read_header, read_trace
from headway.policies.serving.nouns import Piece, RequestArrived, RequestFinished, Step, StepDone


@dataclass
class Sent:
    """When a request came and was served, in seconds of the engine's clock; tokens count from the end of their step."""

    arrival_s: Seconds
    first_s: Seconds = 0.0
    last_s: Seconds = 0.0


@dataclass(frozen=True)
class Recording:
    """What is measured in one recording.

    Parameters
    ----------
    header : TraceHeader
        Whose it is.
    steps : list of MeasuredStep
        All that can be told for certain what they computed.
    num_unclear : int
        How many cannot: somebody in them was preempted, ran through some of the layers, or never ended.
    sent : dict of str to Sent
        The requests that ended.
    """

    header: TraceHeader
    steps: list[MeasuredStep]
    num_unclear: int
    sent: dict[Id, Sent]

    def __add__(self, other: Recording) -> Recording:
        """Return both together; they are of the same engine."""
        unclear = self.num_unclear + other.num_unclear
        return Recording(self.header, self.steps + other.steps, unclear, {**self.sent, **other.sent})


def read_recording(path: Path) -> Recording:
    """Read the steps of a recording.

    Raises
    ------
    TraceError
        When it is not a recording.
    """
    ends = {record.id: record for record in read_trace(path) if isinstance(record, RequestFinished)}
    tape = _Tape(ends)
    steps = [step for record in read_trace(path) for step in tape.hear(record)]
    sent = {name: sent for name, sent in tape.sent.items() if name in ends and sent.last_s}
    return Recording(read_header(path), steps, tape.num_unclear, sent)


@dataclass
class _Seat:
    """How far one request is."""

    prompt_tokens: int
    known: int
    computed: int = 0
    is_clear: bool = True

    @property
    def is_decoding(self) -> bool:
        return self.known - self.computed == 1 and self.known > self.prompt_tokens


@dataclass
class _Tape:
    """Follows a recording from its beginning."""

    ends: dict[Id, RequestFinished]
    sent: dict[Id, Sent] = field(default_factory=dict)
    num_unclear: int = 0
    _seats: dict[Id, _Seat] = field(default_factory=dict)
    _over: list[Id] = field(default_factory=list)
    _heard_s: Seconds = 0.0
    _step: Step | None = None
    _begun_s: Seconds = 0.0

    def hear(self, record: Record) -> Iterator[MeasuredStep]:
        """Take the next record; yields the step that it ends, if it does."""
        if isinstance(record, Event):
            self._heard_s = record.at_s
        if isinstance(record, RequestArrived):
            request = record.work
            self.sent[request.id] = Sent(request.arrival_s)
            self._seats[request.id] = _Seat(request.prompt_tokens, request.prompt_tokens)
        elif isinstance(record, Start):
            self._start(record.id)
        elif isinstance(record, Preempt):
            self._seats[record.id].is_clear = False
        elif isinstance(record, Step):
            self._step, self._begun_s = record, self._heard_s
        elif isinstance(record, StepDone) and self._step is not None:
            yield from self._end(self._step, record)
        elif isinstance(record, RequestFinished | Failed):
            self._over.append(record.id)  # told before the end of the step that gave the last token

    def _start(self, request: Id) -> None:
        seat, end = self._seats[request], self.ends.get(request)
        if end is None or end.num_preempted:
            seat.is_clear = False
        else:
            seat.computed = end.cached_tokens

    def _end(self, step: Step, done: StepDone) -> Iterator[MeasuredStep]:
        measured = self._measure(step, done)
        for piece in step.pieces:
            self._advance(piece, done)
        for name in self._over:
            self._seats.pop(name, None)
        self._over.clear()
        self._step = None
        if measured is None:
            self.num_unclear += 1
        else:
            yield measured

    def _measure(self, step: Step, done: StepDone) -> MeasuredStep | None:
        """Return what a step took per run, or None when it is not clear what it computed."""
        tokens = decodes = chunks = 0
        context = pairs = 0.0
        for piece in step.pieces:
            seat = self._seats.get(piece.request)
            if seat is None or not seat.is_clear or piece.layers is not None:
                return None
            tokens += piece.tokens
            if seat.is_decoding:
                decodes += 1
                context += seat.computed + 0.5 * (done.num_runs - 1)
            else:
                chunks += 1
                pairs += piece.tokens * (seat.computed + 0.5 * piece.tokens)
        took_s = (done.at_s - self._begun_s) / done.num_runs
        if step.speculate or step.share != 1.0 or not tokens or took_s <= 0:
            return None
        return MeasuredStep(tokens, decodes, context, chunks, pairs, took_s, done.num_runs, done.at_s)

    def _advance(self, piece: Piece, done: StepDone) -> None:
        seat = self._seats.get(piece.request)
        if seat is None:
            return
        seat.computed += piece.tokens
        if seat.computed == seat.known:
            sent = self.sent[piece.request]
            sent.first_s = sent.first_s or done.at_s
            sent.last_s = done.at_s
            seat.known += done.num_runs
            seat.computed += done.num_runs - 1
