"""Fine-tuning beside serving in virtual time: which jobs arrive, what their units cost, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import JobArrived, TuneJob, TuneUnit
from headway.policies.serving.state import InstanceState
from headway.sim.serving.agenda import NEWS, Agenda
from headway.sim.serving.price import Chunk
from headway.sim.serving.side_by_side import Alone
from headway.sim.serving.units import TrueJob, UnitPrice

DISTURB_FRAC = 0.25
"""How much two that run side by side disturb each other; see `slowed`. With a decode that draws three quarters of the
bandwidth and fine-tuning that draws a fifth, it is 4% of the decode's time. ASSUMPTION."""


class Tuning:
    """What a world knows of fine-tuning, and keeps of it for the report.

    Parameters
    ----------
    jobs : sequence of TrueJob
        What arrives, in any order.
    units : mapping of str to UnitPrice
        What units cost, by instance.
    disturb_frac : float
        How much steps and units that run side by side disturb each other, >= 0; see `slowed`.
    noise_frac : float
        How far the times of those that run side by side scatter (a standard deviation of their logarithm), >= 0.
    until_done : bool
        Whether the world goes on without requests until all jobs are done.
    seed : int
        Of the scatter.

    Raises
    ------
    ConfigError
        When a number is out of its range, or two jobs have one name.

    Attributes
    ----------
    num_units, num_updates : int
        Units and steps of the optimizer that were computed.
    unit_s : float
        Time during which units were computed, in seconds, whatever ran beside them.
    ended : list of JobState
        Jobs that are done.
    """

    def __init__(
        self,
        jobs: Sequence[TrueJob],
        units: Mapping[Id, UnitPrice],
        *,
        disturb_frac: float = DISTURB_FRAC,
        noise_frac: float = 0.0,
        until_done: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 <= disturb_frac < math.inf or not 0 <= noise_frac < 1:
            raise ConfigError(
                f"tuning: disturb_frac must be >= 0 and noise_frac in [0, 1), got {disturb_frac} and {noise_frac}. "
                "Try the defaults."
            )
        self.jobs = {true.job.id: true for true in sorted(jobs, key=lambda true: true.job.arrival_s)}
        if len(self.jobs) != len(jobs):
            raise ConfigError("tune: jobs must differ in name. Give each [[tune]] its own `name`.")
        self.disturb_frac = disturb_frac
        self.until_done = until_done
        self._num_to_come = len(jobs)
        self.num_units = self.num_updates = 0
        self.unit_s: Seconds = 0.0
        self.ended: list[JobState] = []
        self._units = units
        self._noise_frac = noise_frac
        self._rng = np.random.default_rng(seed)
        self._lent: dict[Id, tuple[int, Seconds]] = {}
        self._most_lent: dict[Id, int] = {}
        self._lent_block_s = 0.0

    @property
    def num_later(self) -> int:
        """Entries of the agenda that nobody waits for."""
        return 0 if self.until_done else self._num_to_come

    def begin(self, board: ServingBoard, agenda: Agenda) -> None:
        """Let the jobs arrive at a board."""
        for true in self.jobs.values():
            agenda.add(true.job.arrival_s, NEWS, partial(self._arrive, true.job, board))

    def _arrive(self, job: TuneJob, board: ServingBoard) -> Iterator[Event]:
        self._num_to_come -= 1
        board.tuning.add(job)
        yield JobArrived(at_s=board.now_s, work=job)

    def alone(self, instance: Id, units: Sequence[TuneUnit], share: float = 1.0) -> Alone:
        """Return how long units take alone with a share of the compute, and the share of the bandwidth they draw."""
        price, total_s, reading_s = self._units[instance], 0.0, 0.0
        for unit in units:
            shape = self.jobs[unit.job].shape_of(unit, share)
            unit_s = price.unit_s(shape)
            total_s += unit_s
            reading_s += unit_s * price.unit_reads_frac(shape)
        return total_s, reading_s / total_s

    def chunks_of(self, instance: Id, units: Sequence[TuneUnit]) -> tuple[Chunk, ...]:
        """Return the chunks of prompts that compute about as much as some units."""
        price, jobs = self._units[instance], self.jobs
        found = [price.chunk_of(jobs[unit.job].shape_of(unit)) for unit in units]
        return tuple(chunk for chunk in found if chunk is not None)

    def scatter(self) -> float:
        """Return a factor on the time of something that runs beside something else."""
        return math.exp(self._noise_frac * self._rng.standard_normal()) if self._noise_frac else 1.0

    # What is kept for the report -------------------------------------------------------------------------------------

    def note_units(self, units: Sequence[TuneUnit], took_s: Seconds) -> None:
        """Note that units were computed."""
        self.num_units += len(units)
        self.num_updates += sum(unit.phase == "update" for unit in units)
        self.unit_s += took_s

    def note_lent(self, instance: InstanceState, now_s: Seconds) -> None:
        """Note how many blocks of an instance are lent from now on."""
        name, num_blocks = instance.id, len(instance.tune_blocks)
        self._settle(name, now_s)
        self._lent[name] = num_blocks, now_s
        self._most_lent[name] = max(num_blocks, self._most_lent.get(name, 0))

    def _settle(self, name: Id, now_s: Seconds) -> None:
        num_blocks, since_s = self._lent.get(name, (0, now_s))
        self._lent_block_s += num_blocks * (now_s - since_s)
        self._lent[name] = num_blocks, now_s

    def numbers(self, states: Sequence[JobState], now_s: Seconds, duration_s: Seconds) -> dict[str, float]:
        """Return what a report says of fine-tuning; `states` are the jobs that have not ended."""
        for instance in self._lent:
            self._settle(instance, now_s)
        every = [*self.ended, *states]
        tokens = float(sum(state.trained_tokens for state in every))
        return {
            "tune_jobs_done": float(len(self.ended)),
            "tune_tokens": tokens,
            "tune_tokens_per_s": tokens / duration_s if duration_s > 0 else math.nan,
            "tune_steps": float(self.num_updates),
            "tune_units": float(self.num_units),
            "tune_unit_s": self.unit_s,
            "tune_dropped": float(sum(state.num_dropped for state in every)),
            "tune_lent_blocks": self._lent_block_s / duration_s if duration_s > 0 else 0.0,
            "tune_most_lent_blocks": float(sum(self._most_lent.values())),
        }
