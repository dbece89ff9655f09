"""Several runs of one base model, trained at once: each with its own folder, curve, checkpoints and adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from headway.core.errors import ConfigError, TuneError
from headway.core.policy import Policy
from headway.engines.tuning.descent import Descent
from headway.engines.tuning.folder import claim
from headway.engines.tuning.grafting import Grafted, load_base, lora_settings
from headway.engines.tuning.head import Tally
from headway.engines.tuning.logbook import Logbook
from headway.engines.tuning.lorafusion import Descending, LiveJob, Together, tallied, train_together
from headway.engines.tuning.lorafusion_packing import Order, pack_row
from headway.engines.tuning.lorafusion_sharing import SharedModel
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.order import Course
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.tokens import Examples
from headway.engines.tuning.trainer import check_examples
from headway.numerics.bins import first_fit, rounded_up
from headway.policies.tuning.lorafusion import LoraFusion
from headway.policies.tuning.lorafusion_board import PipelineView
from headway.policies.tuning.lorafusion_nouns import Mix, part_of

GPU_TILE_TOKENS = 64
"""The rows that the matrix products of a GPU compute at once; a CPU fills no tiles."""

OnNews = Callable[[TuneSpec, TuneNews], None]


class JointTraining:
    """Trains the adapters of several runs in one process; what each comes to is what `Trainer` would come to.

    Without dropout losses and weights are equal but for rounding; with dropout other dice fall. Each run's folder is as
    `Trainer` would leave it, so that a run begun here can be ended there, and the other way round.

    Parameters
    ----------
    specs : sequence of TuneSpec
        The runs: of one base model, one type of weights and one device; jobs and folders differ.
    capacity_tokens : int
        The most tokens that are computed at once, of all adapters together, >= 0; with 0 the largest
        `microbatch_tokens` of a run times the number of runs. A longer example is computed alone.
    policy : Policy or None
        Who packs; `LoraFusion` by default.
    progress : callable
        Is told in a few words what is being done while all is loaded.

    Raises
    ------
    ConfigError
        When the runs do not go together, or a model or examples cannot be used.
    TuneError
        When a folder is another run's, or cannot be written.
    """

    def __init__(
        self,
        specs: Sequence[TuneSpec],
        *,
        capacity_tokens: int = 0,
        policy: Policy[PipelineView] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        _check(specs)
        self._capacity_tokens = capacity_tokens or len(specs) * max([spec.microbatch_tokens for spec in specs])
        self._policy: Policy[PipelineView] = policy or LoraFusion(merge_tokens=max(1, self._capacity_tokens // 8))
        progress("reading the examples")
        examples = [
            (Examples(spec.tokens), Examples(spec.valid_tokens) if spec.valid_tokens else None) for spec in specs
        ]
        progress("loading the base model")
        base = load_base(specs[0])
        settings = {spec.job: lora_settings(spec, base) for spec in specs}
        self._model = SharedModel(base.model, settings, {spec.job: spec.seed for spec in specs})
        self.runs = []
        for spec, (trained, valid) in zip(specs, examples, strict=True):
            weights = self._model.weights[spec.job]
            names, parts = list(weights), [list(weights.values())]
            adapter = Grafted(
                base.model, base.anatomy, parts, names, settings[spec.job], base.device, base.context_tokens
            )  # fmt: skip
            self.runs.append(Run(spec, trained, valid, adapter))
        self._engine: Together | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens computed in this process so far, padding not counted."""
        return self._engine.num_tokens if self._engine is not None else 0

    def train(self, on_news: OnNews, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Train all that is left.

        Parameters
        ----------
        on_news : callable
            Is told what happens, and in which run.
        stopped : callable
            Is asked between microbatches whether to stop.

        Returns
        -------
        bool
            Whether nothing is left. If something is, there are checkpoints of the last steps.

        Raises
        ------
        TuneError
            When the loss or a gradient of a run is no number, or its folder cannot be written; raised when the others
            have come to their ends.
        """
        runs = {run.spec.job: run for run in self.runs}
        tile_tokens = GPU_TILE_TOKENS if self._model.device.type == "cuda" else 1
        longest = rounded_up(max([run.longest for run in self.runs]), tile_tokens)
        capacity_tokens = max(self._capacity_tokens, longest)

        def on_step(job: LiveJob, tally: Tally, rate: float) -> None:
            runs[job.id].stepped(tally, rate, self._model, capacity_tokens)
            runs[job.id].tell(on_news)

        for run in self.runs:
            run.validate(self._model, capacity_tokens)  # where an earlier process did not come to it
            run.tell(on_news)
        left = [run.live for run in self.runs if run.live.order.batches]
        self._engine = Together(
            self._model, left, capacity_tokens, tile_tokens, on_step=on_step, stopped=stopped
        )  # fmt: skip
        with torch.inference_mode(False), torch.enable_grad():
            train_together(self._engine, self._policy)
        for run in self.runs:
            run.save()
            run.tell(on_news)
        if failed := [run.live.why for run in self.runs if run.live.why]:
            raise TuneError(" ".join(failed))
        return all(run.is_through for run in self.runs)

    def finish(self) -> dict[str, Path]:
        """Write the finished adapters in the format of `peft`; returns their folders by job.

        Raises
        ------
        TuneError
            When something is left to train, or one cannot be written.
        """
        if left := [run.spec.job for run in self.runs if not run.is_through]:
            raise TuneError(f"tune: all runs must be through before the end, got {', '.join(left)}. Train them.")
        return {run.spec.job: run.log.finish() for run in self.runs}


class Run:
    """One of the runs: what it trains on, how far it has come, and what is written down of it."""

    def __init__(self, spec: TuneSpec, examples: Examples, valid: Examples | None, adapter: Grafted) -> None:
        for one in (examples, valid) if valid is not None else (examples,):
            check_examples(one, adapter)
        claim(spec, {"examples": examples.digest(), "valid": valid.digest() if valid else ""})
        self.spec = spec
        self._valid = valid
        self._course = Course(spec, examples, valid)
        self._ends = [place + 1 for place, rows in enumerate(self._course.rows) if rows.updates]
        descent = Descent(adapter.parameters, spec.weight_decay, spec.max_grad_norm)
        self.num_steps = self._course.num_steps
        self.log = Logbook(Path(spec.folder), self._course.num_steps, adapter, descent)
        self.log.resume()
        self.longest = int(max(examples.lengths.max(), valid.lengths.max() if valid else 0))
        first = self.log.standing.step
        order = Order(tuple(_batches(self._course)[first:]), spec.seed, first)
        how = Descending(
            spec.learning_rate, spec.schedule, spec.warmup_frac, spec.weight_decay, spec.max_grad_norm
        )  # fmt: skip
        self.live = LiveJob(spec.job, examples, order, how, descent)

    @property
    def is_through(self) -> bool:
        """Whether nothing is left."""
        return self.log.standing.position == len(self._course.rows)

    def stepped(self, tally: Tally, rate: float, model: SharedModel, capacity_tokens: int) -> None:
        """Note a step; write a checkpoint and validate where that is due."""
        step = self.log.standing.step + 1
        position = self._ends[step - 1]
        self.log.stepped(tally, position, rate)
        if self._course.ends_epoch(position) or (self.spec.checkpoint_steps and step % self.spec.checkpoint_steps == 0):
            self.log.save()
        self.validate(model, capacity_tokens)

    def validate(self, model: SharedModel, capacity_tokens: int) -> None:
        """Validate if that is what comes next."""
        position, rows = self.log.standing.position, self._course.rows
        if self._valid is None or position == len(rows) or rows[position].trains:
            return
        while position < len(rows) and not rows[position].trains:
            position += 1
        self.log.validated(_validated(self.spec.job, self._valid, model, capacity_tokens), position)

    def save(self) -> None:
        """See to it that there is a checkpoint of the last step, unless there was none."""
        self.log.save()
        self.log.take(wait=True)

    def tell(self, on_news: OnNews) -> None:
        """Tell what has happened since."""
        for news in self.log.news():
            on_news(self.spec, news)


def _validated(job: str, valid: Examples, model: SharedModel, capacity_tokens: int) -> Tally:
    """Compute the loss of all validation examples."""
    lengths = [int(one) for one in valid.lengths]
    order = Order((tuple(range(len(valid))),))
    found = Tally()
    model.train(False)
    with torch.no_grad():
        for samples in first_fit(lengths, [job] * len(lengths), capacity_tokens):
            mix = Mix((part_of(job, 0, samples, lengths),))
            losses, right = model.losses(pack_row(mix, {job: valid}, {job: order}, 1, model.device))
            found.add(tallied(losses.sum(), right))
    model.train(True)
    return found


def _batches(course: Course) -> list[tuple[int, ...]]:
    """Return the examples of every step of the optimizer."""
    found: list[tuple[int, ...]] = []
    batch: tuple[int, ...] = ()
    for rows in course.rows:
        if rows.trains:
            batch += rows.examples
        if rows.updates:
            found.append(batch)
            batch = ()
    return found


def _check(specs: Sequence[TuneSpec]) -> None:
    """Raise unless the runs go together."""
    for name in ("model", "dtype", "device"):
        if len(found := {getattr(spec, name) for spec in specs}) != 1:
            raise ConfigError(
                f"tune: runs trained at once must have one {name}, got {', '.join(sorted(found)) or 'no run'}. "
                "Train them apart."
            )
    for name in ("job", "folder"):
        if len({getattr(spec, name) for spec in specs}) < len(specs):
            raise ConfigError(f"tune: runs that are trained at once must each have a {name} of their own. Rename one.")
