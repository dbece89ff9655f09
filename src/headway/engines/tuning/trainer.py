"""Training a LoRA adapter in units that fit between the steps of a serving engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch

from headway.core.errors import ConfigError, TuneError
from headway.engines.tuning.counting import CountingMemory
from headway.engines.tuning.descent import Descent
from headway.engines.tuning.dice import Dice
from headway.engines.tuning.folder import claim
from headway.engines.tuning.grafting import Grafted, graft
from headway.engines.tuning.head import Tally
from headway.engines.tuning.logbook import Logbook
from headway.engines.tuning.memory import Memory, OwnMemory
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.order import Course, Rows
from headway.engines.tuning.schedule import learning_rate
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.tokens import Examples
from headway.engines.tuning.under_way import UnderWay, addresses, batch_of
from headway.policies.serving.nouns import Microbatch, TuneUnit


class Trainer:
    """One run, from where it stands on the disk to its end.

    Whatever happens on the way, the result is the same: how its units are cut, what is computed between them, how often
    a microbatch is dropped, how often the process is killed.

    Parameters
    ----------
    spec : TuneSpec
        The run.
    memory : Memory or None
        Where activations live between two units; as the process has it by default.
    progress : callable
        Is told in a few words what is being done while all is loaded.

    Attributes
    ----------
    plan : tuple of Microbatch
        All microbatches, in order.
    position : int
        The first one that is not done.
    num_layers : int
        Layers of the model.
    num_steps : int
        Steps of the optimizer in the whole run.

    Raises
    ------
    ConfigError
        When the model or the examples cannot be used.
    TuneError
        When the folder is another run's, or cannot be written.
    """

    def __init__(
        self, spec: TuneSpec, memory: Memory | None = None, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self.spec = spec
        self._memory: Memory = OwnMemory() if memory is None else memory
        progress("reading the examples")
        self._examples = Examples(spec.tokens)
        self._valid = Examples(spec.valid_tokens) if spec.valid_tokens else None
        self._course = Course(spec, self._examples, self._valid)
        self.plan: tuple[Microbatch, ...] = tuple(rows.microbatch for rows in self._course.rows)
        self.num_steps = self._course.num_steps
        progress("loading the base model")
        with _computing():
            self._grafted = graft(spec)
        self.num_layers = len(self._grafted.by_layer)
        for examples in filter(None, (self._examples, self._valid)):
            check_examples(examples, self._grafted)
        claim(spec, {"examples": self._examples.digest(), "valid": self._valid.digest() if self._valid else ""})
        model = self._grafted.model
        self._constants = addresses([*model.parameters(), *model.buffers()])
        self._dice = Dice(spec.seed, model, self._grafted.device)
        self._descent = Descent(self._grafted.parameters, spec.weight_decay, spec.max_grad_norm)
        self._under_way: UnderWay | None = None
        self._tally = Tally()
        self._log = Logbook(Path(spec.folder), self.num_steps, self._grafted, self._descent)
        self._log.resume()
        self.position = self._log.standing.position

    @property
    def step(self) -> int:
        """Steps made."""
        return self._log.standing.step

    @cached_property
    def saved_bytes(self) -> int:
        """The most bytes that the activations of a microbatch take between two units; measured by computing one."""
        trained = [rows for rows in self._course.rows if rows.trains]
        largest, longest = max(trained, key=_size), max(trained, key=lambda rows: (rows.length, _size(rows)))
        found = 0
        for rows in {largest, longest}:
            counting = CountingMemory(self._memory)
            with _computing():
                self._begin(rows, 0, counting).forward(self.num_layers)
            found = max(found, counting.most_bytes)
        return found

    def run(self, unit: TuneUnit) -> None:
        """Compute one unit, the next one in order.

        Raises
        ------
        TuneError
            When the loss or the gradient is no number, the memory is full, or the folder cannot be written. The last
            checkpoint stays.
        """
        self._log.take()
        self._check(unit)
        with _computing():
            if unit.phase == "update":
                self._update()
            else:
                self._compute(unit)

    def drop(self) -> None:
        """Forget what a microbatch under way has come to; it begins again, and comes to the same."""
        if self._under_way is not None and self._under_way.phase != "done":
            self._under_way = None
            self._memory.clear()

    def news(self) -> list[TuneNews]:
        """Take out what has happened since."""
        return self._log.news()

    def checkpoint(self) -> None:
        """See to it that there is a checkpoint of the last step."""
        self._log.save()
        self._log.take(wait=True)

    def finish(self) -> Path:
        """Write the finished adapter, in the format of `peft`, and return its folder.

        Raises
        ------
        TuneError
            When microbatches are left, or it cannot be written.
        """
        left = len(self.plan) - self.position
        if left:
            raise TuneError(f"tune: all microbatches must be done before the end, got {left} left. Run them.")
        return self._log.finish()

    def train(self, on_news: Callable[[TuneNews], None], stopped: Callable[[], bool] = lambda: False) -> bool:
        """Run all units that are left, each as large as can be.

        Parameters
        ----------
        on_news : callable
            Is told what happens.
        stopped : callable
            Is asked between units whether to stop.

        Returns
        -------
        bool
            Whether nothing is left. If something is, there is a checkpoint of the last step.
        """
        for unit in self._units():
            if stopped():
                break
            self.run(unit)
            _tell(on_news, self.news())
        self.checkpoint()
        _tell(on_news, self.news())
        return self.position == len(self.plan)

    def _units(self) -> Iterator[TuneUnit]:
        self.drop()
        everything = (0, self.num_layers)
        for index in range(self.position, len(self.plan)):
            yield TuneUnit(self.spec.job, index, everything, "forward")
            if self.plan[index].trains:
                yield TuneUnit(self.spec.job, index, everything, "backward")
            if self.plan[index].updates:
                yield TuneUnit(self.spec.job, index, everything, "update")

    # Units -----------------------------------------------------------------------------------------------------------

    def _check(self, unit: TuneUnit) -> None:
        way = self._under_way
        phase, layer = (way.phase, way.layer) if way else ("forward", 0)
        phase = "update" if phase == "done" else phase
        first, last = unit.layers
        begins = last if phase == "backward" else first
        legal = 0 <= first < last <= self.num_layers and begins == layer
        if unit.microbatch != self.position or unit.phase != phase or not legal:
            raise TuneError(
                f"tune: the next unit must be {phase} of microbatch {self.position} from layer {layer}, got {unit}. "
                "Drop the microbatch to begin it again."
            )

    def _compute(self, unit: TuneUnit) -> None:
        if self._under_way is None:
            self._under_way = self._begin(self._course.rows[unit.microbatch], unit.microbatch, self._memory)
        way = self._under_way
        if unit.phase == "forward":
            way.forward(unit.layers[1])
        else:
            way.backward(unit.layers[0])
        if way.phase == "done" and not way.rows.updates:
            self._end(way)

    def _begin(self, rows: Rows, index: int, memory: Memory) -> UnderWay:
        model, examples = self._grafted.model, self._examples
        if model.training != rows.trains:
            model.train(rows.trains)
        if not rows.trains and self._valid is not None:
            examples = self._valid
        batch = batch_of(examples, rows, self._grafted.device)
        return UnderWay(index, rows, batch, self._grafted, memory, self._constants, self._dice, self.spec.recompute)

    def _end(self, way: UnderWay) -> None:
        self._under_way = None
        self._memory.clear()
        if way.rows.trains:
            self._descent.add([gradient for layer in way.gradients for gradient in layer])
        self._tally.add(way.tally)
        self.position += 1
        if self._course.ends_validation(self.position):
            tally, self._tally = self._tally, Tally()
            self._log.validated(tally, self.position)

    def _update(self) -> None:
        assert self._under_way is not None
        self._end(self._under_way)
        tally, self._tally, spec = self._tally, Tally(), self.spec
        rate = learning_rate(spec.learning_rate, spec.schedule, spec.warmup_frac, self.step, self.num_steps)
        self._descent.step(rate)
        self._log.stepped(tally, self.position, rate)
        due = spec.checkpoint_steps and self.step % spec.checkpoint_steps == 0
        if due or self._course.ends_epoch(self.position):
            self._log.save()


def _size(rows: Rows) -> int:
    return len(rows.examples) * rows.length


def _tell(on_news: Callable[[TuneNews], None], all_news: list[TuneNews]) -> None:
    for news in all_news:
        on_news(news)


def check_examples(examples: Examples, grafted: Grafted) -> None:
    """Raise `ConfigError` unless a model can take examples: those too long, or of another tokenizer's tokens."""
    longest, context = int(examples.lengths.max()), grafted.context_tokens
    if context and longest > context:
        raise ConfigError(f"tune: examples must fit the model's context of {context} tokens, got one of {longest}.")
    known = grafted.num_embedded
    if examples.largest_id >= known:
        raise ConfigError(
            f"tune: tokens must be those of the model, which has {known}, got {examples.largest_id}. Prepare the "
            "examples with its own tokenizer."
        )


@contextmanager
def _computing() -> Iterator[None]:
    """Let autograd record, whatever the thread is in the middle of."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
