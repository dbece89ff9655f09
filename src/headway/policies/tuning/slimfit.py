"""SlimFit: in each iteration of fine-tuning, freeze the units that changed least when they were last trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from headway.core.actions import Action, Reject, Start
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed, Finished
from headway.core.nouns import Id
from headway.policies.tuning.slimfit_board import BYTES, FreezingView
from headway.policies.tuning.slimfit_nouns import FreezingJob, TrainUnits, UnitsTrained
from headway.policies.tuning.slimfit_schedule import Name, Schedule, schedule


class SlimFit:
    """Trains few units of a model at a time, those that the training itself has found to move most.

    A unit is a weight of more than one dimension or that of a LayerNorm. Each has a distance: by how much it changed,
    relatively, when it was last trained. All but the farthest are frozen for the next iteration, so that what only
    their gradients need is never kept. A job gets memory for the worst choice of so many units before it begins.

    Parameters
    ----------
    freeze_frac : float
        The share of units to freeze, in [0, 1); 0.9, that of the authors' example for MRPC. A job may bring its own.
    max_freeze_frac : float
        Where a device is too small for that, a job freezes more until it fits, up to this share, in [0, 1); 0.95, the
        most that the paper freezes. What still does not fit is rejected.
    schedule : str
        ``"change"``: by distance. Baselines: ``"dice"`` draws units anew each time, ``"last"`` always trains the last.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Ardakani et al., "SlimFit: Memory-Efficient Fine-Tuning of Transformer-based Models Using Training
    Dynamics", 2023, arXiv 2305.18513, its inter-layer scheduling and the code that its authors released.

    Faithful to the paper: units, first distances (uniform, times 1e10), the number of frozen units rounded down, the
    farthest trained, distances of frozen units kept. Changed: equal distances are broken in favour of the unit that has
    waited longest, so that no tie starves one; what is no number counts as farthest. Added: memory leases, and freezing
    more where memory is short (the paper leaves the rate to the user, and so does this where it fits).
    Whoever trains computes the changes, with a floor under the weights they are divided by.

    The slim layers that turn freezing into less memory are in `headway.engines.tuning.slimfit`, which says what of them
    is the paper's; `headway reproduce tuning/slimfit` measures both.

    Cost: O(units log units) per iteration.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.tuning.slimfit import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, SlimFit(freeze_frac=0.8)).num_refused
    0
    """

    def __init__(self, *, freeze_frac: float = 0.9, max_freeze_frac: float = 0.95, schedule: Name = "change") -> None:
        self.freeze_frac = freeze_frac
        self.max_freeze_frac = max_freeze_frac
        self.schedule = schedule
        for name in ("freeze_frac", "max_freeze_frac"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"tuning/slimfit: {name} must be in [0, 1), got {getattr(self, name)}. Try 0.9.")
        if schedule not in ("change", "dice", "last"):
            raise ConfigError(f"tuning/slimfit: schedule must be change, dice or last, got {schedule!r}. Try change.")
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Forget all distances."""
        self._rng = rng
        self._schedules: dict[Id, Schedule] = {}

    def decide(self, event: Event, view: FreezingView) -> Iterable[Action]:
        """Learn from an iteration; start what fits, and the next iteration of whatever stands still."""
        if isinstance(event, UnitsTrained) and event.job in self._schedules:
            self._schedules[event.job].learn(event.active, event.changes)
        elif isinstance(event, Finished | Failed):
            self._schedules.pop(event.id, None)
        idle = [job for job, state in view.jobs.items() if not state.active]
        actions = list(self._admit(view))
        idle += [action.id for action in actions if isinstance(action, Start)]
        return actions + [TrainUnits(job, self._schedules[job].active()) for job in idle]

    def _admit(self, view: FreezingView) -> Iterator[Action]:
        """Give memory to those who wait, first come first served."""
        free = {device: view.free(device).get(BYTES, 0.0) for device in view.resources}
        capacity = max([one.capacity.get(BYTES, 0.0) for one in view.resources.values()], default=0.0)
        for job in view.waiting.values():
            if not isinstance(job, FreezingJob):
                continue
            num_frozen = self.num_frozen(job, capacity)
            if num_frozen is None:
                yield Reject(job.id, self._too_large(job, capacity))
                continue
            needed = job.most_bytes(len(job.units) - num_frozen)
            device = next((one for one, left in free.items() if left >= needed), None)
            if device is None:
                return
            free[device] -= needed
            if job.id not in self._schedules:
                self._schedules[job.id] = schedule(self.schedule, len(job.units), num_frozen, self._rng)
            yield Start(job.id, {device: {BYTES: float(needed)}})

    def num_frozen(self, job: FreezingJob, capacity_bytes: float) -> int | None:
        """Return how many units to freeze on a device so large, or None where no share that is allowed fits."""
        wanted = self.freeze_frac if job.freeze_frac is None else job.freeze_frac
        least, most = job.num_frozen(wanted), job.num_frozen(max(wanted, self.max_freeze_frac))
        fits = [n for n in range(least, most + 1) if job.most_bytes(len(job.units) - n) <= capacity_bytes]
        return min(fits, default=None)

    def _too_large(self, job: FreezingJob, capacity_bytes: float) -> str:
        needed = job.bytes_at(max(self.max_freeze_frac, job.freeze_frac or 0.0))
        return f"no device has the {needed} bytes it takes at the least; the largest has {capacity_bytes:g}"
