"""Headway's turn: the serving world of `headway run`, with everything that it keeps for its report."""

from __future__ import annotations

import importlib.metadata

from case import BLOCK_SIZE, MAX_SEQS, NUM_BLOCKS, TOKEN_BUDGET, Case, Timed
from watchful import Watchful

from headway.core import compiled
from headway.core.scenario import Outcome
from headway.policies.serving.prefix_route import PrefixRoute
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.arrivals import Poisson
from headway.traces.generate.lengths import Fixed
from headway.traces.spec import TraceSpec

CONTEXT_TOKENS = 8_192
NUM_AT_ONCE, STEP_PROMPT_TOKENS, STEP_OUTPUT_TOKENS = 64, 512, 4_000


def trace_of(case: Case) -> TraceSpec:
    """Say which requests arrive."""
    if case.steps:
        lengths = Fixed(prompt_tokens=STEP_PROMPT_TOKENS, output_tokens=STEP_OUTPUT_TOKENS)
        return TraceSpec(lengths=lengths, num_requests=case.num_requests)
    if case.prefixes != "none":
        return TraceSpec(source=case.requests_file)
    return TraceSpec(
        source=case.trace,
        extend_to=case.num_requests,
        arrivals=Poisson(rate_per_s=case.rate_per_s),
        max_tokens=CONTEXT_TOKENS,
    )


def scenario_of(case: Case) -> ServingScenario:
    """Set the scene."""
    blocks = NUM_AT_ONCE * (STEP_PROMPT_TOKENS + STEP_OUTPUT_TOKENS) // BLOCK_SIZE + 1024 if case.steps else NUM_BLOCKS
    fleet = FleetSpec(
        accelerator=case.accelerator,
        instances=case.instances,
        kv_blocks=blocks,
        block_size=BLOCK_SIZE,
        max_running=NUM_AT_ONCE if case.steps else MAX_SEQS,
    )
    return ServingScenario(trace=trace_of(case), fleet=(fleet,))


def main() -> None:
    """Simulate, and print what it took."""
    case, timed = Case.told(), Timed()
    scenario = scenario_of(case)
    sarathi = SarathiServe(token_budget=TOKEN_BUDGET, max_seqs=MAX_SEQS)
    watchful = Watchful(seat=sarathi)
    policy = Stack(
        batch=watchful if case.steps else sarathi, route=PrefixRoute() if case.instances > 1 else None, name="sarathi"
    )
    if scenario.trace.source:  # reading is not simulating; the wall time of the process has it
        scenario.trace.read(case.seed)
    assert scenario.places  # nor is looking up what hardware and model cost
    num_steps = 0
    for load in case.loads:
        outcome: Outcome = timed.run(lambda load=load: scenario.play(policy, seed=case.seed, load=load))
        num_steps += watchful.num_steps
        _count(timed, outcome)
    timed.tell(
        num_steps=num_steps, compiled=compiled.in_use() is not None, version=importlib.metadata.version("headway")
    )


def _count(timed: Timed, outcome: Outcome) -> None:
    numbers = outcome.report.numbers
    timed.count(
        int(numbers["num_finished"]),
        int(outcome.works["output_tokens"].sum()),
        offered_per_s=numbers["num_requests"] / float(outcome.works["arrival_s"].max() or 1.0),
        finished_per_s=numbers["requests_per_s"],
        busy_frac=numbers["busy_frac"],
        kv_used_frac=numbers["kv_used_frac"],
        prefix_hit_frac=numbers["prefix_hit_frac"],
        p50_queue_s=numbers["p50_queue_s"],
        p99_queue_s=numbers["p99_queue_s"],
        num_preemptions=numbers["num_preemptions"],
        mean_present=numbers["requests_per_s"] * numbers["mean_e2e_s"],  # by Little's law
    )


if __name__ == "__main__":
    main()
