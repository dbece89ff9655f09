"""The settings of Continuum's evaluation, and how its numbers are measured here.

Turns per session and times of tools are those that Li et al. (arXiv 2511.02230) publish of SWE-Bench and BFCL; how long
prompts are is a guess (`headway.traces.generate.named_sessions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.continuum_parts import DearerReload, KnowsPauses
from headway.policies.serving.continuum import Continuum
from headway.policies.serving.stack import Stack
from headway.policies.serving.vllm_v1 import VllmV1
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.named_sessions import NAMED_SESSIONS
from headway.traces.generate.sessions import AgentSessions, Tool
from headway.traces.spec import TraceSpec

TOLD = ("mean_jct_s", "p90_jct_s", "p95_jct_s", "sessions_per_s", "prefix_hit_frac")
SWE_PER_S, BFCL_PER_S = 0.4, 0.5
"""Sessions per second at which vLLM's memory has just become too small for those that are under way."""
PRESSED_PER_S = 0.5
"""So many that who loses memory waits for long, so that the queue weighs in the benefit."""
LOADS_PER_S = (0.2, 0.3, 0.4)
TURNS = (1, 3)


def named(name: str) -> AgentSessions:
    """Return the sessions of a name."""
    found = NAMED_SESSIONS[name]
    assert isinstance(found, AgentSessions)
    return found


def scenario(sessions: AgentSessions, rate_per_s: float, quick: bool) -> ServingScenario:
    """Return sessions on one A100; fewer of them when it is to be quick."""
    return ServingScenario(
        trace=TraceSpec(sessions=sessions, num_sessions=80 if quick else 100, rate_per_s=rate_per_s),
        model=ModelSpec(name="llama-3.1-8b"),
        fleet=(FleetSpec(accelerator="a100-40gb-sxm"),),
    )


def stack(seat: Continuum | None) -> Stack:
    """Put a seat onto vLLM's engine; without one, that engine as it is."""
    batch = VllmV1(max_batched_tokens=2048)
    return Stack(batch=batch) if seat is None else Stack(batch=batch, order=seat, evict=seat, route=seat)


SEATS: Mapping[str, Callable[[], Continuum | None]] = {
    "vllm": lambda: None,
    "program-fcfs": lambda: Continuum(ttl="none"),
    "fixed": lambda: Continuum(ttl="fixed"),
    "continuum": Continuum,
    "dearer-reload": lambda: DearerReload(times=16.0),
}


def play(where: ServingScenario, seat: Continuum | None, seed: int) -> dict[str, float]:
    """Play one contestant."""
    numbers = where.play(stack(seat), seed=seed).report.numbers
    return {metric: numbers[metric] for metric in TOLD}


def jct(name: str, rate_per_s: float, seed: int, quick: bool) -> Numbers:
    """Measure how long sessions take."""
    where = scenario(named(name), rate_per_s, quick)
    return {who: play(where, SEATS[who](), seed) for who in ("vllm", "program-fcfs", "continuum")}


def ablation(seed: int, quick: bool) -> Numbers:
    """Measure the parts of the mechanism, and other times to live."""
    where = scenario(named("swe-bench"), SWE_PER_S, quick)
    found = {who: play(where, SEATS[who](), seed) for who in ("program-fcfs", "fixed", "continuum", "dearer-reload")}
    table = where.trace.draw(seed)
    assert table.after is not None
    assert table.gap_s is not None
    rows = (table.after >= 0).nonzero()[0].tolist()
    pauses_s = {str(table.after[row]): float(table.gap_s[row]) for row in rows}
    return found | {"knows-pauses": play(where, KnowsPauses(pauses_s=pauses_s), seed)}


def loads(seed: int, quick: bool) -> Numbers:
    """Measure how the gain grows with the load."""
    found: dict[str, dict[str, float]] = {}
    for who in ("vllm", "continuum"):
        found[who] = {}
        for rate_per_s in LOADS_PER_S:
            numbers = play(scenario(named("swe-bench"), rate_per_s, quick), SEATS[who](), seed)
            found[who][f"mean_jct_at_{round(rate_per_s * 10)}_per_10_s"] = numbers["mean_jct_s"]
    return found


def turns(seed: int, quick: bool) -> Numbers:
    """Measure sessions of more turns with fewer tokens each."""
    base = named("swe-bench")
    found: dict[str, dict[str, float]] = {"vllm": {}, "continuum": {}}
    for times in TURNS:
        sessions = msgspec.structs.replace(
            base,
            mean_turns=base.mean_turns * times,
            max_turns=base.max_turns * times,
            answer_tokens=base.answer_tokens / times,
            output_tokens=base.output_tokens / times,
        )
        for who, metrics in found.items():
            numbers = play(scenario(sessions, LOADS_PER_S[0], quick), SEATS[who](), seed)
            metrics[f"mean_jct_x{times}_s"] = numbers["mean_jct_s"]
    return found


def long_tools(seed: int, quick: bool) -> Numbers:
    """Measure tools that take so long that keeping anything for them is of no use."""
    sessions = msgspec.structs.replace(named("swe-bench"), tools={"build": Tool(mean_s=60.0, cv=1.0)})
    where = scenario(sessions, SWE_PER_S, quick)
    return {who: play(where, SEATS[who](), seed) for who in ("program-fcfs", "fixed", "continuum")}


def memory(seed: int, quick: bool) -> Numbers:
    """Measure the time to live where all sessions have as many turns, and where turns done say little of those left."""
    found = {}
    for who, turns_cv in (("equal", 0.0), ("varied", 1.0)):
        sessions = msgspec.structs.replace(named("swe-bench"), turns_cv=turns_cv, max_turns=100)
        seat = DearerReload()
        scenario(sessions, PRESSED_PER_S, quick).play(stack(seat), seed=seed)
        late = seat.told_s[len(seat.told_s) // 2 :]  # once there are samples
        found[who] = {"eta": seat.eta, "mean_ttl_s": sum(late) / len(late)}
    return found
