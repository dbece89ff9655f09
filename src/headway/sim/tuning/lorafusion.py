"""Several adapters in one pipeline, in virtual time: stages that run microbatches forward and backward in turns."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np

from headway.core.actions import Action, Wake
from headway.core.errors import ConfigError
from headway.core.events import Arrived, Event, Finished, Progressed, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.tuning.lorafusion_board import PIPELINE, PipelineBoard
from headway.policies.tuning.lorafusion_nouns import AdapterJob, Enter, Opened


class PipeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pipeline and what it costs to send a microbatch through it.

    Parameters
    ----------
    num_stages : int
        Stages, >= 1; 4.
    capacity_tokens : int
        The most padded tokens of a microbatch, >= 1; 8192. It stands for the memory of activations.
    tile_tokens : int
        What the tokens of each adapter in a microbatch are padded to a multiple of, >= 1; 64.
    forward_s_per_token, backward_s_per_token : float
        What a stage takes per padded token, in seconds, > 0; 10 microseconds each, about a quarter of 8 billion
        parameters at 400 TFLOP/s. Backward costs no more than forward, for the shared weights are frozen.
    """

    num_stages: int = 4
    capacity_tokens: int = 8192
    tile_tokens: int = 64
    forward_s_per_token: Seconds = 1e-5
    backward_s_per_token: Seconds = 1e-5

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"pipeline: {name} must be > 0, got {getattr(self, name)}. Try the default.")


class TrueJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job and its hidden truth.

    Parameters
    ----------
    job : AdapterJob
        What is known of it.
    num_batches : int
        After how many global batches whoever sent it has seen enough, >= 1; 0 lets it run to its end.
    """

    job: AdapterJob
    num_batches: int = 0


class PipelineWorld:
    """Plays several adapters in a pipeline: at each stage backward goes before forward, and forwards are limited.

    Parameters
    ----------
    jobs : sequence of TrueJob
        What arrives.
    spec : PipeSpec
        On what; the defaults by default.

    Notes
    -----
    Stage ``s`` of ``n`` holds at most ``n - s`` microbatches that were computed forward and not yet backward, and goes
    backward whenever it can: one forward, one backward, without a break between global batches. A microbatch takes
    `forward_s_per_token` times its padded tokens per stage, and so backward. Optimizer steps and the way between stages
    take no time, and attention is linear in tokens, as in the simulator that the authors released.
    """

    def __init__(self, jobs: Sequence[TrueJob], spec: PipeSpec | None = None) -> None:
        self.spec = spec = spec or PipeSpec()
        self.view = PipelineBoard(spec.num_stages, spec.capacity_tokens, spec.tile_tokens)
        self.trained_tokens = self.computed_tokens = self.num_mixes = self.num_empty = 0
        self.last_s: Seconds = 0.0
        self.finished_s: dict[Id, Seconds] = {}
        self._true = {true.job.id: true for true in jobs}
        self._stages = [Stage(spec.num_stages - nth) for nth in range(spec.num_stages)]
        self._order = itertools.count()
        self._heap: list[tuple[Seconds, int, Wake | AdapterJob | tuple[int, Pass]]] = []
        self._news: deque[Event] = deque()
        for true in jobs:
            self.view.check(true.job)
            self._at(true.job.arrival_s, true.job)

    @property
    def bubble_frac(self) -> float:
        """Which share of the time of all stages nothing was computed in, from the start to the last backward."""
        busy_s = sum([stage.busy_s for stage in self._stages])
        return 1.0 - busy_s / (self.spec.num_stages * self.last_s) if self.last_s else 0.0

    def numbers(self) -> dict[str, float]:
        """Return what the run came to."""
        return {
            "tokens_per_s": self.trained_tokens / self.last_s,
            "makespan_s": self.last_s,
            "bubble_frac": self.bubble_frac,
            "padding_frac": 1.0 - self.trained_tokens / self.computed_tokens,
            "mean_jct_s": float(np.mean([at_s - self._true[id].job.arrival_s for id, at_s in self.finished_s.items()])),
            "num_microbatches": self.num_mixes,
            "num_empty": self.num_empty,
        }

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        while not self._news:
            if not self._heap:
                return None
            self._advance()
        event = self._news.popleft()
        if isinstance(event, Finished):
            self.view.remove(event.id)  # not before it is told, since nobody can know that a job ends early
        return event

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            self._at(max(action.at_s, self.view.now_s), action)
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Enter):
            tokens = action.mix.padded_tokens(self.spec.tile_tokens)
            self.num_mixes += 1
            self.num_empty += not action.mix.parts
            self.computed_tokens += tokens
            self._stages[0].forwards.append(Pass(tokens))
            self._start()
        return why

    def _at(self, at_s: Seconds, what: Wake | AdapterJob | tuple[int, Pass]) -> None:
        heapq.heappush(self._heap, (at_s, next(self._order), what))

    def _advance(self) -> None:
        self.view.now_s = now_s = self._heap[0][0]
        was_open = self.view.is_open
        while self._heap and self._heap[0][0] == now_s:
            _, _, what = heapq.heappop(self._heap)
            if isinstance(what, Wake):
                self._news.append(Woke(at_s=now_s, tag=what.tag))
            elif isinstance(what, AdapterJob):
                self.view.add(what)
                self._news.append(Arrived(at_s=now_s, work=what))
            else:
                self._done(*what)
        self._start()
        if self.view.is_open and not was_open:
            self._news.append(Opened(at_s=now_s, pipeline=PIPELINE))

    def _start(self) -> None:
        """Let every idle stage begin what comes next there."""
        for nth, stage in enumerate(self._stages):
            found = stage.take()
            if found is not None:
                per_token_s = self.spec.backward_s_per_token if found.is_back else self.spec.forward_s_per_token
                stage.busy_s += found.tokens * per_token_s
                self._at(self.view.now_s + found.tokens * per_token_s, (nth, found))
        self.view.is_open = self._stages[0].is_open

    def _done(self, nth: int, one: Pass) -> None:
        self._stages[nth].end(one)
        if not one.is_back and nth + 1 < len(self._stages):
            self._stages[nth + 1].forwards.append(one)
        elif not one.is_back:
            one.is_back = True
            self._stages[nth].backwards.append(one)
        elif nth:
            self._stages[nth - 1].backwards.append(one)
        else:
            self._left()

    def _left(self) -> None:
        now_s, present = self.view.now_s, set(self.view.jobs)
        mix, stepped = self.view.leave()
        self.trained_tokens += sum([part.tokens for part in mix.parts if part.job in present])
        if mix.parts:
            self.last_s = now_s
        for state in stepped:
            job = state.job.id
            self._news.append(Progressed(at_s=now_s, id=job, done=state.batch))
            if state.is_through or state.batch == self._true[job].num_batches:
                self.finished_s[job] = now_s
                self._news.append(Finished(at_s=now_s, id=job))


class Pass:
    """A microbatch on its way through the stages, and back."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.is_back = False


class Stage:
    """One stage: what waits to be computed there, and how much of what was computed forward is still to come back."""

    def __init__(self, most: int) -> None:
        self.forwards: deque[Pass] = deque()
        self.backwards: deque[Pass] = deque()
        self.busy_s: Seconds = 0.0
        self._most = most
        self._num_held = 0
        self._is_busy = False

    @property
    def is_open(self) -> bool:
        """Whether it would compute something forward at once."""
        return not self._is_busy and not self.forwards and not self.backwards and self._num_held < self._most

    def take(self) -> Pass | None:
        """Begin the next pass, if there is one and nothing else is computed."""
        if self._is_busy:
            return None
        if self.backwards:
            self._is_busy = True
            return self.backwards.popleft()
        if self.forwards and self._num_held < self._most:
            self._is_busy = True
            self._num_held += 1
            return self.forwards.popleft()
        return None

    def end(self, one: Pass) -> None:
        """End the pass that was computed."""
        self._is_busy = False
        self._num_held -= one.is_back
