"""Fine-tuning in the engine: runs are loaded beside serving, and their units computed where steps carry them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from headway.core.clock import Clock
from headway.core.errors import ConfigError, HeadwayError
from headway.core.events import Event, Failed
from headway.core.nouns import Id, Seconds
from headway.engines.llm.loop.ports import Line, Loaded, Trainers
from headway.engines.llm.messages import StopTune, Tune, TuneEnded, TuneTold
from headway.engines.tuning.spec import TuneSpec
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import JobArrived, Step, TuneJob, TuneUnit

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_LENT_FRAC = 0.8
"""A run that needs a larger share of the KV memory is refused: serving would have nothing left."""


class Tuning:
    """The runs of an engine.

    Parameters
    ----------
    board : ServingBoard
        Keeps the books.
    line : Line
        The line to the API process.
    clock : Clock
        Real time.
    trainers : Trainers or None
        Loads runs and adopts what they come to; None where nothing can be trained.

    Attributes
    ----------
    spent_s : float
        How long units have taken since the start, in seconds.
    most_blocks : int
        The most KV blocks that a run may need; one that needs more is refused.
    """

    def __init__(self, board: ServingBoard, line: Line, clock: Clock, trainers: Trainers | None) -> None:
        self.spent_s: Seconds = 0.0
        self._board = board
        (self._instance,) = board.instances.values()
        self.most_blocks = int(MOST_LENT_FRAC * self._instance.kv.num_blocks)
        self._line = line
        self._clock = clock
        self._trainers = trainers
        self._bell = asyncio.Event()
        self._specs: dict[Id, TuneSpec] = {}
        self._runs: dict[Id, Loaded] = {}
        self._loading: deque[tuple[TuneSpec, Future[Loaded]]] = deque()
        self._writing: list[tuple[Id, Loaded, Future[str]]] = []  # runs at their end, and their adapters
        self._over: dict[Id, str] = {}  # runs to be ended with their step, and why
        self._loader: ThreadPoolExecutor | None = None
        self._computer: ThreadPoolExecutor | None = None

    @property
    def num_runs(self) -> int:
        """Runs that are loaded or being loaded."""
        return len(self._specs)

    def begin(self, tune: Tune) -> None:
        """Load a run in a thread of its own; `loaded` tells of it."""
        spec = tune.spec
        if spec.job in self._specs:
            return  # it is here already
        if self._trainers is None:
            self._tell_end(spec.job, "failed", "this engine trains nothing")
            return
        self._specs[spec.job] = spec
        self._loading.append((spec, self._submit(partial(self._trainers.load, spec))))

    def stop(self, stop: StopTune) -> list[Callable[[], Event | None]]:
        """End a run; returns what is to be told. No unit of it is computed when the engine hears of this."""
        if stop.id not in self._specs:
            return []
        if stop.id not in self._runs:  # it is still being loaded
            self._over[stop.id] = "cancelled"
            return []
        return [partial(self._end, stop.id, "cancelled")]

    def loaded(self) -> list[Callable[[], Event | None]]:
        """Take in runs that were loaded, or adapters that were written, meanwhile; returns what is to be told."""
        written = [entry for entry in self._writing if entry[2].done()]
        self._writing = [entry for entry in self._writing if entry not in written]
        found: list[Callable[[], Event | None]] = [partial(self._serve, *entry) for entry in written]
        while self._loading and self._loading[0][1].done():
            spec, future = self._loading.popleft()
            if self._over.pop(spec.job, ""):
                self._forget(spec.job)
                self._tell_end(spec.job, "cancelled")
                continue
            try:
                run = future.result()
                job = self._job(spec, run)
            except Exception as error:
                self._refuse(spec, error)
                continue
            self._runs[spec.job] = run
            # One that had come to its end before only has to be served.
            is_over = job.first >= len(job.microbatches)
            found.append(partial(self._finish, job.id) if is_over else partial(self._arrive, job))
        return found

    async def rung(self) -> None:
        """Wait until a run is loaded, or its adapter written."""
        self._bell.clear()
        futures: list[Future[Any]] = [future for _, future in self._loading] + [future for *_, future in self._writing]
        if not any(future.done() for future in futures):
            await self._bell.wait()

    def lent(self) -> None:
        """Let the runs have the memory that is lent now; whoever has lost his microbatch begins it again."""
        assert self._trainers is not None
        for name, run in self._runs.items():
            state = self._board.jobs.get(name)
            if state is not None and state.phase == "forward" and not state.layer:
                run.drop()
        self._trainers.lend(self._instance.tune_blocks)

    def run(self, units: Sequence[TuneUnit]) -> Seconds:
        """Compute the units of a step, one after the other; returns how long it took, in seconds.

        A run that fails ends with the step; the engine lives on.
        """
        start_s, name = self._clock.now_s(), units[0].job
        try:
            for unit in units:
                self._runs[name].run(unit)
        except Exception as error:
            self._over[name] = _sentence(error)
            if not isinstance(error, HeadwayError):
                log.exception("the fine-tuning run %s failed", name)
        return self._clock.now_s() - start_s

    def beside(self) -> ThreadPoolExecutor:
        """The thread in which units are computed beside pieces; nothing else keeps it busy."""
        if self._computer is None:
            self._computer = ThreadPoolExecutor(1, thread_name_prefix="tune")
        return self._computer

    def concluded(self, step: Step, took_s: Seconds) -> list[Callable[[], Event | None]]:
        """Tell the news of the units of a step that is over; returns what is to be told of runs that have ended."""
        name = step.tune[0].job
        self.spent_s += took_s
        state = self._board.jobs.get(name)
        why = self._over.pop(name, "")
        if not why and name in self._runs:
            try:
                self._tell_news(name)
            except Exception as error:  # a checkpoint could not be written
                why = _sentence(error)
        if why:
            return [partial(self._end, name, "failed", why)]
        return [partial(self._finish, name)] if state is not None and state.is_done else []

    def fail_all(self, why: str) -> list[Callable[[], Event | None]]:
        """End all runs; what they have saved stays."""
        return [partial(self._end, name, "failed", why) for name in list(self._runs)]

    def close(self) -> None:
        """Save what has been computed, as far as it can be, and end the threads."""
        for name, run in self._runs.items():
            try:
                run.save()
            except Exception as error:
                log.warning("the fine-tuning run %s could not be saved: %s", name, error)
        for workers in filter(None, (self._loader, self._computer)):
            workers.shutdown(wait=False, cancel_futures=True)

    # What happens to a run -------------------------------------------------------------------------------------------

    def _job(self, spec: TuneSpec, run: Loaded) -> TuneJob:
        job = run.job(self._clock.now_s())
        if self._instance.num_lanes > 1:
            raise ConfigError(
                f"tune {spec.name}: the engine must run one step at a time to train, but its policy runs "
                f"{self._instance.num_lanes} side by side. Serve with another policy."
            )
        if job.kv_blocks > self.most_blocks:
            raise ConfigError(
                f"tune {spec.name}: what a microbatch keeps must fit into {self.most_blocks} KV blocks, but it takes "
                f"{job.kv_blocks}. Set recompute, or microbatch_tokens below {spec.microbatch_tokens}, or serve with "
                "more KV memory."
            )
        return job

    def _arrive(self, job: TuneJob) -> Event:
        now_s = self._now_s()
        self._board.tuning.add(job)
        self.lent()  # what another has left it may use, too
        self._tell_news(job.id)
        return JobArrived(at_s=now_s, work=job)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        """Have something done beside serving; the bell rings when it is."""
        if self._loader is None:
            self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        future = self._loader.submit(work)
        ring = partial(_ring, asyncio.get_running_loop(), self._bell)
        future.add_done_callback(lambda _: ring())
        return future

    def _finish(self, name: Id) -> None:
        """Have the adapter of a run that has come to its end written; nobody waits for the disk meanwhile."""
        run = self._runs.get(name)
        if run is not None:  # it was not stopped this very moment
            self._writing.append((name, run, self._submit(run.finish)))

    def _serve(self, name: Id, run: Loaded, written: Future[str]) -> Event | None:
        """Let what a run has come to be served, unless it was stopped meanwhile."""
        assert self._trainers is not None
        if self._runs.get(name) is not run:
            return None
        try:
            folder = written.result()
            self._tell_news(name)
            self._trainers.adopt(self._specs[name].name, folder)
        except Exception as error:
            return self._end(name, "failed", _sentence(error))
        return self._end(name, "succeeded", folder=folder)

    def _end(self, name: Id, reason: str, why: str = "", folder: str = "") -> Event | None:
        if name not in self._specs:
            return None
        state = self._board.jobs.get(name)
        self._forget(name)
        self._tell_end(name, reason, why, folder)
        now_s = self._now_s()
        if state is None:
            return None
        done = self._board.tuning.finish(name, "done" if reason == "succeeded" else "cancelled", now_s)
        self.lent()
        return Failed(at_s=now_s, id=name, why=why) if reason == "failed" else done

    def _refuse(self, spec: TuneSpec, error: Exception) -> None:
        if not isinstance(error, HeadwayError):
            log.error("the fine-tuning run %s could not be loaded", spec.job, exc_info=error)
        self._forget(spec.job)
        self._tell_end(spec.job, "failed", _sentence(error))

    def _forget(self, name: Id) -> None:
        del self._specs[name]
        self._over.pop(name, None)
        run = self._runs.pop(name, None)
        if run is not None:
            run.drop()

    def _tell_news(self, name: Id) -> None:
        for news in self._runs[name].news():
            self._line.send(TuneTold(id=name, news=news))

    def _tell_end(self, name: Id, reason: str, why: str = "", folder: str = "") -> None:
        self._line.send(TuneEnded(id=name, reason=reason, why=why, folder=folder))

    def _now_s(self) -> Seconds:
        self._board.now_s = now_s = self._clock.now_s()
        return now_s


def _ring(loop: asyncio.AbstractEventLoop, bell: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the engine has ended meanwhile
        loop.call_soon_threadsafe(bell.set)


def _sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
