"""How far a run has come: told to whoever listens, drawn as a curve, and kept in checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from headway.engines.tuning.checkpoints import ADAPTER, Checkpoints, Standing
from headway.engines.tuning.curve import Curve
from headway.engines.tuning.descent import Descent
from headway.engines.tuning.folder import telling_disk_trouble, write_folder
from headway.engines.tuning.grafting import Grafted
from headway.engines.tuning.head import Tally
from headway.engines.tuning.news import TuneNews


class Logbook:
    """Keeps what there is to know about a run.

    Parameters
    ----------
    folder : Path
        The run's.
    num_steps : int
        Steps of the whole run.
    grafted : Grafted
        The model that is trained.
    descent : Descent
        What trains it.

    Attributes
    ----------
    standing : Standing
        How far the run has come, at the last step or validation.
    """

    def __init__(self, folder: Path, num_steps: int, grafted: Grafted, descent: Descent) -> None:
        self.standing = Standing()
        self._folder = folder
        self._num_steps = num_steps
        self._grafted = grafted
        self._descent = descent
        self._curve = Curve(folder)
        self._checkpoints = Checkpoints(folder / "checkpoints")
        self._saved = 0
        self._news: list[TuneNews] = []

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        found = self._checkpoints.latest()
        if found is not None:
            self.standing, path = found
            self._grafted.restore(self._checkpoints.adapter_of(path))
            self._descent.restore(self._grafted.names, self._checkpoints.optimizer_of(path))
        self._saved = self.standing.step
        self._curve.cut(self.standing.step, self.standing.valid_step)
        self._news.append(self._telling("loaded", valid_loss=self.standing.valid_loss))

    def stepped(self, tally: Tally, position: int, learning_rate: float) -> None:
        """Note a step of the optimizer, after which a microbatch is next."""
        tokens = self.standing.tokens + tally.num_tokens
        self.standing = replace(self.standing, step=self.standing.step + 1, position=position, tokens=tokens)
        mean, share = tally.loss / tally.num_tokens, tally.num_right / tally.num_tokens
        self._note(self._telling("step", loss=mean, accuracy=share, learning_rate=learning_rate))

    def validated(self, tally: Tally, position: int) -> None:
        """Note a validation, after which a microbatch is next."""
        mean, share = tally.loss / tally.num_tokens, tally.num_right / tally.num_tokens
        step = self.standing.step
        self.standing = replace(self.standing, position=position, valid_loss=mean, valid_step=step)
        self._note(self._telling("validated", valid_loss=mean, accuracy=share))
        self.take(wait=True)
        if self._saved == step:
            self._checkpoints.amend(self.standing)

    def save(self) -> None:
        """Begin to write a checkpoint of the last step, unless there is one."""
        self.take(wait=True)
        if self._saved == self.standing.step:
            return
        self._saved = self.standing.step
        weights = self._grafted.copies()
        optimizer = self._descent.state(self._grafted.names)
        self._checkpoints.write(self.standing, optimizer, lambda folder: self._grafted.write(weights, folder))

    def take(self, wait: bool = False) -> None:
        """Tell of a checkpoint that has been written since; wait for one under way if told so."""
        found = self._checkpoints.take(wait)
        if found is not None:
            standing, path = found
            told = self._telling("checkpoint", valid_loss=standing.valid_loss, folder=str(path))
            self._news.append(replace(told, step=standing.step, tokens=standing.tokens))

    def finish(self) -> Path:
        """Write the finished adapter and return its folder."""
        self.take(wait=True)
        path, weights = self._folder / ADAPTER, self._grafted.copies()
        with telling_disk_trouble(self._folder):
            write_folder(path, lambda folder: self._grafted.write(weights, folder))
        return path

    def news(self) -> list[TuneNews]:
        """Take out what has happened since."""
        self.take()
        news, self._news = self._news, []
        return news

    def _telling(self, what: Any, **said: Any) -> TuneNews:
        standing = self.standing
        return TuneNews(what=what, step=standing.step, num_steps=self._num_steps, tokens=standing.tokens, **said)

    def _note(self, news: TuneNews) -> None:
        self._news.append(news)
        self._curve.append(news)
