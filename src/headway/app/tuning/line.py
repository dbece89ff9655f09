"""The engine as a trainer: jobs become messages, and messages become what the dispatcher hears."""

from __future__ import annotations

import logging
from typing import Protocol

from headway.app.tuning.dispatch import Dispatcher, Ended
from headway.engines.llm.client import News
from headway.engines.llm.messages import Adopted, Fatal, Ready, StopTune, ToEngine, Tune, TuneEnded, TuneTold
from headway.engines.tuning.spec import TuneSpec

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What is needed of an `EngineClient`."""

    ready: Ready | None

    def send(self, message: ToEngine) -> None:
        """Send a message."""


class EngineLine:
    """A `Trainer` behind the line to the engine process.

    Parameters
    ----------
    engine : Engine
        The API process's side of that line.
    model : str
        The folder or hub id of the model that it serves.

    Attributes
    ----------
    base : str
        That model's name; empty until the engine was ready for the first time.
    context_tokens : int
        Its context; 0 until then.
    """

    def __init__(self, engine: Engine, model: str) -> None:
        self.base = ""
        self.model = model
        self.context_tokens = 0
        self._engine = engine

    @property
    def ready(self) -> bool:
        """Whether the engine can be sent something."""
        return self._engine.ready is not None

    def train(self, spec: TuneSpec) -> None:
        """Begin a job, or go on with it."""
        self._engine.send(Tune(spec=spec))

    def stop(self, job: str) -> None:
        """Stop a job; an engine that is gone has stopped it."""
        if self.ready:
            self._engine.send(StopTune(id=job))

    def note(self, news: News, dispatcher: Dispatcher) -> None:
        """Pass on what the engine says of jobs."""
        if isinstance(news, TuneTold):
            dispatcher.told(news.id, news.news)
        elif isinstance(news, TuneEnded):
            dispatcher.ended(Ended(job=news.id, reason=news.reason, why=news.why, folder=news.folder))
        elif isinstance(news, Fatal):
            dispatcher.lost(news.why)
        elif isinstance(news, Ready):
            self.base, self.context_tokens = news.model, news.context_tokens
            dispatcher.beat()
        elif isinstance(news, Adopted) and news.why:
            log.warning("tuning: the engine cannot serve %s: %s", news.name, news.why)
