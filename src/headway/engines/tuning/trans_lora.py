"""Adapters are moved to other bases for real: the engine that does what `tuning/trans-lora` decides.

While the data is there, a discriminator is trained once beside its adapter; later both are enough, and a few seeds::

    train_discriminator(Speaker("old-base"), "recipes", inputs, inputs[:5], "recipes-judge")
    ...
    transfer([TransferSpec(
        name="recipes", source="old-base", target="new-base", adapter="recipes", discriminator="recipes-judge",
        seeds=tuple(inputs[:5]), folder="recipes-moved",
    )])

All adapters are folders in peft format, as `headway tune` writes them and `headway serve --adapter` reads them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence

from headway.core.actions import Action, Reject, Wake
from headway.core.drivers import serve
from headway.core.errors import ConfigError
from headway.core.events import Arrived, Event, Finished
from headway.core.nouns import Id, Resource, Seconds
from headway.core.policy import Policy
from headway.engines.tuning.trans_lora_desk import Desk, Moved
from headway.engines.tuning.trans_lora_speaker import Speaker
from headway.engines.tuning.trans_lora_spec import TransferSpec
from headway.policies.tuning.trans_lora import TransLora
from headway.policies.tuning.trans_lora_board import TransferBoard, TransferView
from headway.policies.tuning.trans_lora_nouns import Base, Judged, Run, RunDone, Stage, Transfer

HERE = "here"
"""The one device."""


class TransferEngine:
    """Executes runs of transfers in this process, one after the other, in real time.

    The view, the actions and the events are those of the world in virtual time, so that one policy decides in both.
    There is one device, which holds all bases; the parts of a run are done one after the other.

    Parameters
    ----------
    specs : sequence of TransferSpec
        The transfers; all are there from the start.
    speakers : dict of str to Speaker
        Bases that are loaded already, by folder; others are added when they are needed.
    most_texts : int
        The most texts of a run, >= 1; 256.

    Attributes
    ----------
    took_s : list of (stage, num, seconds)
        How long every run took, for the prices of a world; `num` is texts, or texts times epochs.

    Raises
    ------
    ConfigError
        When two transfers have one name.
    """

    def __init__(
        self, specs: Sequence[TransferSpec], speakers: dict[str, Speaker] | None = None, most_texts: int = 256
    ) -> None:
        self.took_s: list[tuple[Stage, int, Seconds]] = []
        self._speakers = speakers if speakers is not None else {}
        self._desks = {spec.name: Desk(spec, self.speaker) for spec in specs}
        if len(self._desks) < len(specs):
            raise ConfigError("transfers: names must differ, got one twice. Rename one.")
        device = Resource(id=HERE, kind="process", capacity={"memory_bytes": 0.0})
        bases = sorted({base for spec in specs for base in (spec.source, spec.target, spec.judge) if base})
        self._board = TransferBoard([device], [Base(id=base) for base in bases], most_texts)
        self.view: TransferView = self._board
        self._began_s = time.perf_counter()
        self._news: deque[Event] = deque([self._arrival(spec) for spec in specs])

    @property
    def moved(self) -> dict[Id, Moved]:
        """What became of each transfer."""
        return {name: desk.moved for name, desk in self._desks.items()}

    def speaker(self, base: str) -> Speaker:
        """Return a base, loaded."""
        if base not in self._speakers:
            self._speakers[base] = Speaker(base)
        return self._speakers[base]

    async def events(self) -> AsyncIterator[Event]:
        """Yield events as they happen, until no run is under way."""
        while True:
            while self._news:
                self._now()
                yield self._news.popleft()
            run = self._board.devices[HERE].run
            if run is None:
                return
            await asyncio.to_thread(self._execute, run)

    async def apply(self, action: Action) -> str | None:
        """Begin to carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            return "nothing here waits for a time"
        why = self._board.apply(action)
        if why is None and isinstance(action, Reject):
            self._desks[action.id].moved.why = action.why
            self._desks[action.id].clear()
        return why

    def _arrival(self, spec: TransferSpec) -> Arrived:
        work = Transfer(
            id=spec.name,
            arrival_s=0.0,
            source=spec.source,
            target=spec.target,
            judge=spec.judge,
            wanted=spec.wanted,
            num_epochs=spec.lesson.num_epochs,
        )
        self._board.add(work)
        return Arrived(at_s=0.0, work=work)

    def _now(self) -> Seconds:
        self._board.now_s = time.perf_counter() - self._began_s
        return self._board.now_s

    def _execute(self, run: Run) -> None:
        began_s = time.perf_counter()
        kept = [self._desks[part.transfer].do(run.stage, part.num) for part in run.parts]
        took_s = time.perf_counter() - began_s
        self._note(run, took_s)
        done = self._board.finish(HERE, kept)
        at_s = self._now()
        if run.stage == "filter":
            self._news.append(Judged(at_s=at_s, id=HERE, parts=run.parts, accepted=tuple(kept), took_s=took_s))
        else:
            self._news.append(RunDone(at_s=at_s, device=HERE, stage=run.stage, parts=run.parts, took_s=took_s))
        for transfer in done:
            self._desks[transfer].deliver()
            self._news.append(Finished(at_s=self._now(), id=transfer))

    def _note(self, run: Run, took_s: Seconds) -> None:
        each = [part.num * (len(self._desks[part.transfer].rows) if run.stage == "train" else 1) for part in run.parts]
        self.took_s.append((run.stage, sum(each), took_s))


def transfer(
    specs: Sequence[TransferSpec],
    policy: Policy[TransferView] | None = None,
    speakers: dict[str, Speaker] | None = None,
) -> dict[Id, Moved]:
    """Move adapters to other bases, and wait until it is done.

    Parameters
    ----------
    specs : sequence of TransferSpec
        What is moved, and how.
    policy : Policy or None
        Who decides what is done next; `TransLora` with its defaults by default.
    speakers : dict of str to Speaker
        Bases that are loaded already, by folder.

    Returns
    -------
    dict of str to Moved
        What became of each, by name. One that was given up has no folder, but says why.

    Raises
    ------
    ConfigError
        When a base, an adapter or a setting cannot be used.
    TuneError
        When training cannot go on.
    """
    engine = TransferEngine(specs, speakers)
    asyncio.run(serve(engine, policy or TransLora()))
    return engine.moved
