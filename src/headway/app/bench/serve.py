"""One benchmark of a serving endpoint, from plan to result."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from headway.app.bench.answer import Answer
from headway.app.bench.client import Client
from headway.app.bench.load import Load, Planned, draw, fit
from headway.app.bench.metrics import NAMES, attainment, errors_by_kind, measure
from headway.app.bench.objectives import SloMix
from headway.app.bench.openloop import OpenLoop, Run
from headway.app.bench.probe import Probe
from headway.app.bench.prompts import Prompts
from headway.app.bench.target import Target
from headway.core.errors import ConfigError, EngineError

CHAT_SPARE_TOKENS = 32
"""Left free in every chat prompt for what the server's chat template adds."""


class Plan(Struct, frozen=True, kw_only=True):
    """Everything a benchmark needs to know.

    Parameters
    ----------
    target : Target
        Whom to ask; an empty model takes the first that the server lists.
    load : Load
        What to send and when.
    mix : SloMix
        SLO classes to name and judge; its shares stand in for those of `load`.
    prompt_kind : str
        ``"tokens"``, ``"text"``, or ``"auto"`` (tokens where the server takes them).
    prefix_tokens : int
        Tokens at the start that all prompts share, >= 0.
    max_model_len : int
        Longest prompt plus output; 0 asks the server.
    max_concurrency : int or None
        The most requests in flight, >= 1; None for an open loop.
    num_warmups : int
        Requests sent before the clock starts, >= 0.
    percentiles : tuple of float
        Which to report, each in [0, 100].
    percentile_metrics : tuple of str
        Of which metrics to report statistics.
    goodput_ms : dict of str to float
        Bounds of a good request in milliseconds; empty leaves goodput out.
    wait_s : float
        How long to wait for the server to answer at all, in seconds, >= 0.
    """

    target: Target
    load: Load
    mix: SloMix = SloMix()
    prompt_kind: str = "auto"
    prefix_tokens: int = 0
    max_model_len: int = 0
    max_concurrency: int | None = None
    num_warmups: int = 0
    percentiles: tuple[float, ...] = (99.0,)
    percentile_metrics: tuple[str, ...] = tuple(NAMES)
    goodput_ms: dict[str, float] = {}
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        for percentile in self.percentiles:
            if not 0 <= percentile <= 100:
                raise ConfigError(f"bench: --metric-percentiles must be in [0, 100], got {percentile:g}. Try 99.")
        for metric in self.percentile_metrics:
            if metric not in NAMES:
                raise ConfigError(f"bench: --percentile-metrics must be of {', '.join(NAMES)}, got {metric!r}.")
        if self.prompt_kind not in ("auto", "tokens", "text"):
            raise ConfigError(f"bench: --prompt-kind must be auto, tokens or text, got {self.prompt_kind!r}.")
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise ConfigError(f"bench: --max-concurrency must be >= 1, got {self.max_concurrency}.")
        if self.num_warmups < 0 or self.prefix_tokens < 0 or self.max_model_len < 0:
            raise ConfigError("bench: --num-warmups, --random-prefix-len and --max-model-len must be >= 0.")


class Watch:
    """Told how a benchmark goes on; this one does not listen."""

    def note(self, text: str) -> None:
        """Hear something worth knowing."""

    def started(self, num_requests: int) -> None:
        """Hear that the clock has started."""

    def ended(self, answer: Answer) -> None:
        """Hear that a request has ended."""


async def bench(plan: Plan, watch: Watch | None = None) -> tuple[dict[str, Any], Run]:
    """Carry out a benchmark.

    Parameters
    ----------
    plan : Plan
        What to do.
    watch : Watch or None
        Told about progress.

    Returns
    -------
    tuple of (dict, Run)
        The result by its keys, without the lists per request, and the accounts.

    Raises
    ------
    EngineError
        When no server answers.
    ConfigError
        When the plan cannot work with this server.
    """
    watch = watch or Watch()
    planned = draw(replace(plan.load, slo_shares=plan.mix.shares))
    probe = Probe(plan.target)
    served = await probe.look(plan.wait_s)
    prompts = await probe.prompts(served, plan.prompt_kind, plan.prefix_tokens, plan.load.seed)
    context = plan.max_model_len or served.context_tokens
    fitted, num_capped = fit(planned, context, CHAT_SPARE_TOKENS if plan.target.is_chat else 0)
    if not context:
        watch.note("the server does not say how long its context is, so no length is capped; set --max-model-len")
    client = Client(replace(plan.target, model=served.model))
    try:
        await _warm_up(client, prompts, fitted, plan.num_warmups)
        run = await _replay(client, prompts, fitted, plan.max_concurrency, watch)
    finally:
        await client.close()
    facts = {"model_id": served.model, "context_tokens": context, "num_capped": num_capped, "prompt_kind": prompts.kind}
    return _result(plan, run, len(fitted), facts), run


async def _warm_up(client: Client, prompts: Prompts, planned: list[Planned], num: int) -> None:
    for number in range(num):
        like = replace(planned[number % len(planned)], id=f"warmup-{number}", at_s=0.0)
        run = await OpenLoop(client, prompts).run([like])
        if run.interrupted:
            raise asyncio.CancelledError
        if run.answers[0].error:
            raise EngineError(f"bench: warm-up requests must be answered, got: {run.answers[0].error}.")


async def _replay(
    client: Client, prompts: Prompts, planned: list[Planned], max_concurrency: int | None, watch: Watch
) -> Run:
    on_end: Callable[[Answer], None] = watch.ended
    watch.started(len(planned))
    return await OpenLoop(client, prompts, max_concurrency, on_end).run(planned)


def _result(plan: Plan, run: Run, num_prompts: int, facts: dict[str, Any]) -> dict[str, Any]:
    rate = plan.load.request_rate_per_s
    if rate is None and not plan.load.trace:
        rate = math.inf
    numbers = measure(run, plan.percentiles, plan.goodput_ms)
    left_out = tuple(f"_{metric}_ms" for metric in NAMES if metric not in plan.percentile_metrics)
    return {
        "date": datetime.now(UTC).strftime("%Y%m%d-%H%M%S"),
        "base_url": plan.target.base_url,
        "endpoint": plan.target.endpoint,
        **facts,
        "num_prompts": num_prompts,
        "request_rate": None if rate is None else "inf" if math.isinf(rate) else rate,
        "burstiness": plan.load.burstiness,
        "max_concurrency": plan.max_concurrency,
        "trace": plan.load.trace or None,
        "rate_scale": plan.load.rate_scale if plan.load.trace else None,
        "seed": plan.load.seed,
        "goodput_ms": plan.goodput_ms or None,
        **{key: value for key, value in numbers.items() if not left_out or not key.endswith(left_out)},
        "slo_classes_attained": attainment(run.answers, plan.mix),
        "errors_by_kind": errors_by_kind(run.answers),
        "interrupted": run.interrupted,
    }
