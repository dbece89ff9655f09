"""The fake engine of the server's tests, with fine-tuning: steps that learn nothing, and checkpoints on the disk.

`policy_params` of the configuration set its manners, besides those of the fake engine:

- ``tune_steps``: steps of a run (20); ``tune_step_s``: how long one takes (0.005).
- ``tune_fail``: fail at this step, with these words: ``[3, "the loss is nan"]``.
- ``tune_die``: kill the process at this step, each time that it comes by; ``tune_deaths``: so often at most (1).
- ``tune_hold``: wait at this step until stopped; ``tune_mute``: say nothing of these steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))  # it is run as a script

from app.server.fake_engine import FakeEngine
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import FromEngine, StopTune, ToEngine, Tune, TuneEnded, TuneTold
from headway.engines.llm.wire import Wire
from headway.engines.tuning.curve import Curve
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec

TOKENS = 100


class Trainee:
    """One run."""

    def __init__(self, spec: TuneSpec, manners: dict[str, Any]) -> None:
        self.spec = spec
        self.manners = manners
        self.num_steps: int = manners.get("tune_steps", 20)
        self.step = self._kept()
        self.next_s = 0.0
        self.loaded = False

    def turn(self) -> list[FromEngine]:
        """What it has to say now; a `TuneEnded` is the last."""
        if time.monotonic() < self.next_s:
            return []
        self.next_s = time.monotonic() + self.manners.get("tune_step_s", 0.005)
        if not self.loaded:
            self.loaded = True
            return [self._told(what="loaded", tokens=self.step * TOKENS)]
        if self.step == self.num_steps:
            return [TuneEnded(id=self.spec.job, reason="succeeded", folder=str(self._finished()))]
        if self.step == self.manners.get("tune_hold"):
            return []
        return self._make_step()

    def _make_step(self) -> list[FromEngine]:
        self.step += 1
        fail = self.manners.get("tune_fail")
        if fail and fail[0] == self.step:
            return [TuneEnded(id=self.spec.job, reason="failed", why=fail[1])]
        if self.step == self.manners.get("tune_die"):
            self._die()
        found: list[FromEngine] = []
        told = self._told(what="step", loss=2.0 / self.step, tokens=self.step * TOKENS, learning_rate=1e-3)
        Curve(Path(self.spec.folder)).append(told.news)
        if self.step not in self.manners.get("tune_mute", ()):
            found.append(told)
        if self.spec.checkpoint_steps and self.step % self.spec.checkpoint_steps == 0:
            self._file("kept.json").write_text(json.dumps(self.step))
            found.append(self._told(what="checkpoint", tokens=self.step * TOKENS, folder="x"))
        if self.step == self.num_steps and self.spec.valid_tokens:
            found.append(self._told(what="validated", valid_loss=0.5, accuracy=0.75, tokens=self.step * TOKENS))
        return found

    def _told(self, **more: Any) -> TuneTold:
        return TuneTold(id=self.spec.job, news=TuneNews(step=self.step, num_steps=self.num_steps, **more))

    def _die(self) -> None:
        deaths = self._file("deaths")
        num = len(deaths.read_text()) if deaths.exists() else 0
        if num < self.manners.get("tune_deaths", 1):
            deaths.write_text("x" * (num + 1))
            os.kill(os.getpid(), signal.SIGKILL)

    def _kept(self) -> int:
        path = self._file("kept.json")
        return int(path.read_text()) if path.exists() else 0

    def _file(self, name: str) -> Path:
        folder = Path(self.spec.folder) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def _finished(self) -> Path:
        return write_adapter(Path(self.spec.folder) / "adapter")


def write_adapter(folder: Path) -> Path:
    """An adapter that looks whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    return folder


class TuningEngine(FakeEngine):
    """Repeats prompts and trains nothing."""

    def __init__(self, wire: Wire[ToEngine], config: EngineConfig) -> None:
        super().__init__(wire, config)
        self.trainees: dict[str, Trainee] = {}

    @property
    def busy(self) -> bool:
        return bool(self.lives or self.trainees)

    def _take(self, message: ToEngine) -> None:
        if isinstance(message, Tune):
            self.trainees[message.spec.job] = Trainee(message.spec, self.manners)
        elif isinstance(message, StopTune):
            if self.trainees.pop(message.id, None) is not None:
                self.wire.send(TuneEnded(id=message.id, reason="cancelled"))
        else:
            super()._take(message)

    async def _step(self) -> None:
        for trainee in list(self.trainees.values()):
            for news in trainee.turn():
                self.wire.send(news)
                if isinstance(news, TuneEnded):
                    del self.trainees[news.id]
        await super()._step()
        await asyncio.sleep(0.001)


async def main() -> int:
    """Talk over the socket named on the command line."""
    config = msgspec.json.decode(sys.argv[2], type=EngineConfig)
    with contextlib.suppress(ConnectionError):
        return await TuningEngine(Wire.of_engine(socket.socket(fileno=int(sys.argv[1]))), config).run()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
