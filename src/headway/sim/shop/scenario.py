"""A shop as a scenario: jobs at a load, noise, breakdowns, and promises, in which any policy of the family can play."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.policy import Policy
from headway.core.scenario import OnProgress, Outcome
from headway.core.session import Instrument, Session, arrival_stream, truth_stream
from headway.core.slo import SloClass
from headway.core.trace import TraceSink
from headway.policies.shop.board import ShopView
from headway.policies.shop.nouns import ShopJob, ShopJobFinished
from headway.policies.shop.problem import Objective, Problem
from headway.sim.shop import drawing, log
from headway.sim.shop.breakdowns import Failures
from headway.sim.shop.durations import Noise
from headway.sim.shop.instances.door import read_one
from headway.sim.shop.log import JobLog
from headway.sim.shop.recipe import JobsSpec, ShopSlo, ShopSpec
from headway.sim.shop.world import AfterBreakdown, ShopWorld


class ShopScenario:
    """What a recipe of the shop family says.

    Parameters
    ----------
    shop : ShopSpec or None
        Machines and routes; ten machines of a job shop by default.
    jobs : JobsSpec or None
        What arrives; 200 jobs at random times by default.
    failures : Failures or None
        How often machines break down; never by default.
    noise_cv : float
        Coefficient of variation of what tasks really take, >= 0; 0 by default.
    after_breakdown : str
        ``"resume"`` or ``"restart"``; see `ShopWorld`.
    objective : str
        What plans are to make small; the makespan by default.
    slo : sequence of ShopSlo
        What jobs are promised; nothing by default.

    Raises
    ------
    ConfigError
        When anything is out of its range.
    """

    CAN: frozenset[str] = frozenset()
    """What it has beyond job shops, for mechanisms that need more."""
    NUM_WORKS = "jobs.num"
    """Where a recipe says how many there are."""

    def __init__(
        self,
        *,
        shop: ShopSpec | None = None,
        jobs: JobsSpec | None = None,
        failures: Failures | None = None,
        noise_cv: float = 0.0,
        after_breakdown: AfterBreakdown = "resume",
        objective: Objective = "makespan",
        slo: tuple[ShopSlo, ...] = (),
    ) -> None:
        self.shop = shop or ShopSpec()
        self.jobs = jobs or JobsSpec()
        self.failures = failures
        self.noise_cv = noise_cv
        self.after_breakdown: AfterBreakdown = after_breakdown
        self.objective: Objective = objective
        self.slo = slo
        self._truth = Noise(noise_cv) if noise_cv else None
        if strangers := [spec.name for spec in slo if spec.name != "default"]:
            raise ConfigError(f"[[slo]]: all jobs of a shop are of class default, got {strangers[0]}. Rename it.")

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before quoting the numbers."""
        up_frac = 1.0 if self.failures is None else self.failures.up_frac
        if self.jobs.arrivals == "poisson" and self.jobs.busy_frac >= up_frac:
            return (f"Machines are up {up_frac:.0%} of the time and asked for {self.jobs.busy_frac:.0%}: queues grow.",)
        return ()

    @property
    def classes(self) -> list[SloClass]:
        """The promises."""
        return [spec.slo_class for spec in self.slo]

    @cached_property
    def problem(self) -> Problem | None:
        """The instance that is played, where a file names one."""
        return read_one(self.shop.instance) if self.shop.instance else None

    @property
    def num_jobs(self) -> int:
        """How many arrive."""
        return self.jobs.num if self.problem is None else len(self.problem.jobs)

    def world(self, seed: int = 0, load: float = 1.0) -> ShopWorld:
        """Make the world of one run."""
        problem, rng = self.problem, arrival_stream(seed)
        if problem is None:
            jobs: Iterable[ShopJob] = drawing.draw(self.shop, self.jobs, load, rng)
        else:
            jobs = drawing.released(problem, self.jobs, load, rng)
        return ShopWorld(
            jobs,
            drawing.machines(self.shop, problem, self.failures),
            truth=self._truth,
            failures=self.failures,
            after_breakdown=self.after_breakdown,
            downtimes=() if problem is None else problem.downtimes,
            objective=self.objective,
            rng=truth_stream(seed),
        )

    def play(
        self,
        policy: Policy[ShopView],
        *,
        seed: int = 0,
        load: float = 1.0,
        trace: TraceSink | None = None,
        instruments: Sequence[Instrument] = (),
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """Play one run from its start to its end; see `headway.core.scenario.Scenario`."""
        world, kept = self.world(seed, load), JobLog()
        telling: list[Instrument] = [_Telling(on_progress, self.num_jobs)] if on_progress else []
        session = Session(policy, world.view, seed=seed, instruments=[kept, *instruments, *telling], trace=trace)
        report = simulate(world, policy, session=session)
        works = kept.works(self.classes)
        report = msgspec.structs.replace(
            report,
            numbers=self._numbers(works, kept, world),
            slos=log.slo_rows(works, self._num_lost(works), self.classes),
        )
        return Outcome(report=report, works=works, spans=kept.spans())

    @property
    def _num_slots(self) -> int:
        return self.shop.machines if self.problem is None else sum(self.problem.capacity)

    def _num_lost(self, works: Mapping[str, np.ndarray]) -> int:
        return self.num_jobs - len(works["arrival_s"])

    def _numbers(self, works: Mapping[str, np.ndarray], kept: JobLog, world: ShopWorld) -> dict[str, float]:
        num, end_s = len(works["arrival_s"]), float(np.max(works["arrival_s"] + works["flow_time_s"], initial=0.0))
        late = works["tardiness_s"]
        return {
            "num_jobs": float(self.num_jobs),
            "num_finished": float(num),
            "num_rejected": float(kept.num_rejected),
            "num_unfinished": float(kept.num_unfinished),
            "num_tasks": float(world.num_tasks_done),
            "num_breakdowns": float(kept.num_breakdowns),
            "num_preemptions": float(kept.num_stopped),
            "goodput_frac": int(works["good"].sum()) / self.num_jobs,
            "on_time_frac": int((late <= 0).sum()) / self.num_jobs,
            "makespan_s": end_s,
            "weighted_tardiness_s": float((works["weight"] * late).sum()),
            **log.times(works),
            "machine_busy_frac": sum(world.busy_s) / (end_s * self._num_slots) if end_s else np.nan,
            "jobs_per_s": num / end_s if end_s else np.nan,
        }


class _Telling:
    """An instrument that tells how many jobs have ended."""

    hears = (ShopJobFinished,)

    def __init__(self, on_progress: OnProgress, num_jobs: int) -> None:
        self._tell = on_progress
        self._num_jobs = num_jobs
        self._num_ended = 0

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        del event  # it hears of ends alone
        self._num_ended += 1
        self._tell(self._num_ended, self._num_jobs)
