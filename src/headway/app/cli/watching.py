"""Watching a fine-tuning run: a bar that fills, and Ctrl-C that ends it well."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from headway.app.cli.output import err

if TYPE_CHECKING:
    from headway.engines.tuning.news import TuneNews
    from headway.engines.tuning.trainer import Trainer

_TOLD_FRAC = 0.1
"""Where there is no terminal, a line is told each time so much more is done."""


class Watch:
    """Tells a person how a run goes, on standard error.

    Parameters
    ----------
    trainer : Trainer
        The run, before it goes on.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._done_tokens = [0, *accumulate(microbatch.tokens for microbatch in trainer.plan)]
        self._first_tokens = self._done_tokens[trainer.position]
        self._start_s = time.perf_counter()
        self._bar, self._task = self._make_bar()
        self._next_told = _TOLD_FRAC

    @property
    def duration_s(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._start_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens computed per second since then, padding and validation among them."""
        return (self._done_tokens[self._trainer.position] - self._first_tokens) / self.duration_s

    def tell(self, news: TuneNews) -> None:
        """Tell what has happened."""
        done = self._done_tokens[self._trainer.position]
        if news.what == "validated":
            self._line(f"step {news.step}: validation loss {news.valid_loss:.3f}, accuracy {news.accuracy:.1%}")
        if news.what != "step":
            return
        said = f"step {news.step}/{news.num_steps}, loss {news.loss:.3f}, {self.tokens_per_s:,.0f} tokens/s"
        self._bar.update(self._task, completed=done, description=said)
        share = done / self._done_tokens[-1]
        if not err().is_terminal and share >= self._next_told:
            self._next_told = share + _TOLD_FRAC
            self._line(said)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar in the `with` block, where there is a terminal."""
        if not err().is_terminal:
            yield
            return
        with self._bar:
            yield

    def _line(self, said: str) -> None:
        console = self._bar.console if err().is_terminal else err()
        console.print(said, markup=False, highlight=False)

    def _make_bar(self) -> tuple[Any, Any]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("left"))
        bar = Progress(*columns, console=err(), transient=True)
        first = self._first_tokens
        return bar, bar.add_task("first step", total=self._done_tokens[-1], completed=first)


class Interrupt:
    """Notes a first Ctrl-C in the `with` block; a second one interrupts as usual."""

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self.came = True
        signal.signal(signal.SIGINT, self._before)
