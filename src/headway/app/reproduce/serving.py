"""What claims about serving are measured with: a model on accelerators under a load, and the most it carries."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from headway.app.studies.capacity import largest_load
from headway.app.studies.trial import Verdict
from headway.core.nouns import Seconds
from headway.policies.serving.seats import Batch
from headway.policies.serving.stack import Stack
from headway.sim.serving.cost.overlap import OverlapSpec
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import AnyLengths
from headway.traces.spec import TraceSpec

HIGHEST_LOAD = 256.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One instance of a model, and requests with Poisson arrivals.

    Parameters
    ----------
    model, accelerator : str
        By name.
    lengths : str or length model
        How long requests are.
    tensor_parallel, pipeline_parallel : int
        How the model is split.
    context_tokens : int
        Longest prompt and output together; 0 takes the model's own.
    routing_skew : float or None
        How unevenly tokens visit the experts of a mixture; None takes that of the kernel measurements.
    engine : str
        Whose overheads are added.
    extra_step_s : float
        What a slower engine adds to each step, in seconds, >= 0.
    overlap : OverlapSpec or None
        How operations run side by side; one after the other by default.
    rate_per_s : float
        Mean arrivals per second at load 1, > 0.
    num_requests : int
        How many arrive.
    """

    model: str
    accelerator: str
    lengths: AnyLengths | str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    context_tokens: int = 0
    routing_skew: float | None = None
    engine: str = "vllm"
    extra_step_s: Seconds = 0.0
    overlap: OverlapSpec | None = None
    rate_per_s: float = 1.0
    num_requests: int = 1024

    @property
    def scenario(self) -> ServingScenario:
        """The scenario; equal settings share one, and so its prices."""
        return _scenario(self)


def play(setting: Setting, seat: Batch, seed: int, load: float = 1.0) -> dict[str, float]:
    """Play a batch seat in a setting and return the numbers of its report."""
    return setting.scenario.play(Stack(batch=seat), seed=seed, load=load).report.numbers


def capacity_per_s(
    setting: Setting, seat: Batch, seed: int, *, p99_itl_s: Seconds, p50_queue_s: Seconds, tolerance_frac: float = 0.03
) -> float:
    """Return the largest rate of arrivals at which tokens and starts are as quick as promised; 0 when there is none.

    Parameters
    ----------
    setting : Setting
        Where; its rate is tried first.
    seat : Batch
        Who forms the steps.
    seed : int
        Of the requests: all rates see the same ones, closer together or farther apart.
    p99_itl_s : float
        Of all gaps between two tokens of a request 99% must be at most this long, in seconds.
    p50_queue_s : float
        Half of the requests must have begun within this time of their arrival, in seconds.
    tolerance_frac : float
        The search ends when it is as exact as this, > 0.
    """

    def passes(load: float) -> bool:
        numbers = play(setting, seat, seed, load)
        return numbers["p99_itl_s"] <= p99_itl_s and numbers["p50_queue_s"] < p50_queue_s

    return largest_rate_per_s(setting, passes, tolerance_frac=tolerance_frac)


def largest_rate_per_s(setting: Setting, passes: Callable[[float], bool], *, tolerance_frac: float = 0.03) -> float:
    """Return the largest rate of arrivals that passes; 0 when there is none.

    Parameters
    ----------
    setting : Setting
        Where; its rate is load 1, which is tried first.
    passes : callable of (load) -> bool
        Tries a load.
    tolerance_frac : float
        The search ends when it is as exact as this, > 0.
    """

    def attempt(load: float) -> Verdict:
        passed, rate_per_s = passes(load), load * setting.rate_per_s
        return Verdict(
            passed=passed, good_frac=math.nan, whole=True, num_runs=1, rate_per_s=rate_per_s, numbers={}, wall_s=0.0
        )

    found = largest_load(attempt, max_load=HIGHEST_LOAD, tolerance_frac=tolerance_frac)
    return (found.load or 0.0) * setting.rate_per_s


@functools.lru_cache(maxsize=32)
def _scenario(setting: Setting) -> ServingScenario:
    fleet = FleetSpec(
        accelerator=setting.accelerator,
        tensor_parallel=setting.tensor_parallel,
        pipeline_parallel=setting.pipeline_parallel,
        engine=setting.engine,
        extra_step_s=setting.extra_step_s,
        overlap=setting.overlap,
    )
    trace = TraceSpec(lengths=setting.lengths, num_requests=setting.num_requests, rate_per_s=setting.rate_per_s)
    model = ModelSpec(name=setting.model, context_tokens=setting.context_tokens, routing_skew=setting.routing_skew)
    return ServingScenario(trace=trace, model=model, fleet=(fleet,))
