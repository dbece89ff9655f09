"""What was measured on vLLM beside the same requests in virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from fidelity import live_score
from fidelity.step_reading import Line, overheads
from fidelity.virtual import Twin
from fidelity.vllm_runs import OWN, Piece
from headway.app.bench.answer import Answer
from headway.app.calibrate.calibration import machine
from headway.app.calibrate.fit import errors as step_errors
from headway.app.calibrate.fit import fit, shape_of
from headway.core.events import Event
from headway.policies.serving.nouns import StepDone
from headway.sim.serving.cost.fitted import Calibration
from headway.traces.table import RequestTable

THE_SAME = "serving/vllm-v1"
"""The policy that decides as vLLM's own scheduler does."""
SAME_S = 1e-6
NOTHING = {"first_token_s": 0.0, "last_token_s": 0.0}


def calibration_of(pieces: Sequence[Piece], threads: int) -> Calibration:
    """Fit prices to bursts, and what lies outside of steps to those of one request."""
    facts = pieces[0].log.facts
    steps = [step for piece in pieces for step in piece.log.steps]
    made = fit(steps)
    alone = [(piece, answer) for piece in pieces for answer in _alone(piece.answers)]
    beside = [overheads([answer], piece.log) for piece, answer in alone]
    return Calibration(
        price=made.price,
        num_layers=facts["num_layers"],
        num_kv_tokens=facts["num_blocks"] * facts["block_size"],
        block_size=facts["block_size"],
        max_seqs=facts["max_seqs"],
        model=facts["model"],
        engine=f"vLLM, {facts['dtype']}, {facts['device']}",
        machine=machine(threads),
        errors=made.errors,
        overheads={name: float(np.median([one[name] for one in beside])) for name in ("first_token_s", "last_token_s")},
    )


def at_level(calibration: Calibration, pieces: Sequence[Piece]) -> tuple[Calibration, float]:
    """Return it at the speed that the machine had during some of the bursts, and how much slower that was."""
    steps = [step for piece in pieces for step in piece.log.steps]
    slower = float(np.median([step.took_s / calibration.price.step_s(shape_of(step)) for step in steps]))
    price = calibration.price
    rest = {name: getattr(price, name) * slower for name in ("decode_s", "context_s", "chunk_s", "pair_s")}
    scaled = msgspec.structs.replace(price, knots=tuple((at, time_s * slower) for at, time_s in price.knots), **rest)
    return msgspec.structs.replace(calibration, price=scaled), slower


def _alone(answers: Sequence[Answer]) -> list[Answer]:
    """Return the requests of bursts of one: the engine takes them in at once."""
    bursts: dict[str, list[Answer]] = {}
    for answer in answers:
        bursts.setdefault(answer.id.rpartition("-")[0], []).append(answer)
    return [burst[0] for burst in bursts.values() if len(burst) == 1]


def twin(calibration: Calibration, name: str, params: Mapping[str, Any], facts: Mapping[str, Any]) -> Twin:
    """Return who decides in virtual time as `name` does inside vLLM."""
    if name != OWN:
        return Twin(calibration, name, params)
    return Twin(calibration, THE_SAME, own_params(facts) | {"ahead": facts["is_async"]})


def own_params(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return vLLM's settings as the parameters of the policy that decides alike."""
    return {"max_batched_tokens": facts["max_batched_tokens"], "max_seqs": facts["max_seqs"]}


def capacity_per_s(twin: Twin, table: RequestTable) -> float:
    """Return how many requests a second it serves when all are there at once."""
    at_once = RequestTable(np.zeros(len(table)), table.prompt_tokens, table.output_tokens)
    return float(twin.play(at_once).report.numbers["requests_per_s"])


class Steps:
    """Hears the steps of a played run."""

    hears = (StepDone,)

    def __init__(self) -> None:
        self.heard: list[StepDone] = []

    def on_event(self, event: Event) -> None:
        """Keep one."""
        if isinstance(event, StepDone):
            self.heard.append(event)

    def account(self) -> dict[str, float]:
        """Say how many there were, and how long and large they were."""
        took_s, tokens, runs = (
            np.array([getattr(step, name) for step in self.heard], float)
            for name in ("step_s", "num_tokens", "num_runs")
        )
        return _account(took_s, tokens, runs)


def account(lines: Sequence[Line]) -> dict[str, float]:
    """Say how many steps vLLM made, and how long and large they were."""
    steps = [line.measured for line in lines]
    took_s, tokens = (np.array([getattr(step, name) for step in steps], float) for name in ("took_s", "tokens"))
    return _account(took_s, tokens, np.ones(len(steps)))


def _account(took_s: Any, tokens: Any, runs: Any) -> dict[str, float]:
    return {
        "num_steps": float(runs.sum()),
        "busy_s": float(took_s.sum()),
        "tokens_per_step": float(tokens.sum() / runs.sum()),
        "longest_s": float((took_s / runs).max()),
    }


def compare(
    calibration: Calibration, name: str, params: Mapping[str, Any], load: float, piece: Piece
) -> dict[str, Any]:
    """Play what was sent, and hold what clients felt against it."""
    mine = piece.answers
    ours, heard = twin(calibration, name, params, piece.log.facts), Steps()
    table = _table([answer.sent_s for answer in mine], mine)
    virtual = _honest(ours.seen(ours.play(table, [heard]), table), table)
    felt = {metric: np.array([getattr(answer, metric) for answer in mine]) for metric in live_score.METRICS}
    live = _honest(felt, table)
    rates = {key: tokens_per_s(table, felt) for key, felt in (("live", live), ("virtual", virtual))}
    return {
        "policy": name,
        "load_frac": load,
        "rate_per_s": piece.rate_per_s,
        "num_requests": len(mine),
        "others_busy_frac": piece.others_busy_frac,
        "live": live_score.percentiles(live) | {"tokens_per_s": rates["live"]},
        "virtual": live_score.percentiles(virtual) | {"tokens_per_s": rates["virtual"]},
        "errors": live_score.errors(virtual, live) | {"tokens_per_s": rates["virtual"] / rates["live"] - 1},
        "median_request_error": live_score.request_errors(virtual, live),
        "steps": step_errors(calibration.price, piece.log.steps),
        "live_steps": account(piece.log.lines) | _queue(piece.log.lines),
        "virtual_steps": heard.account(),
        **_inside(ours, piece),
    }


def _inside(ours: Twin, piece: Piece) -> dict[str, Any]:
    """Play what came to the engine when it came, with steps as long as its own, and hold its times against it."""
    sent, heard = piece.log.sent, Steps()
    mine = sorted(piece.answers, key=lambda answer: sent[answer.answer_id].arrival_s)
    seats = [sent[answer.answer_id] for answer in mine]
    start_s, table = seats[0].arrival_s, _table([seat.arrival_s for seat in seats], mine)
    bare = replace(ours, calibration=msgspec.structs.replace(ours.calibration, overheads=NOTHING))
    timed = bare.with_times_of([(line.begin_s, line.took_s, line.shape) for line in piece.log.lines], start_s)
    ttft_s, e2e_s = (np.array([getattr(seat, key) - seat.arrival_s for seat in seats]) for key in ("first_s", "last_s"))
    live = {"ttft_s": ttft_s, "e2e_s": e2e_s, "tpot_s": (e2e_s - ttft_s) / np.maximum(table.output_tokens - 1, 1)}
    live, virtual = _honest(live, table), _honest(timed.seen(timed.play(table, [heard]), table), table)
    off = tokens_per_s(table, virtual) / tokens_per_s(table, live) - 1
    worst_s = max(float(np.abs(virtual[name] - live[name]).max()) for name in ("ttft_s", "e2e_s"))
    same = {"same_frac": _same_frac(heard.heard, piece.log.lines, start_s), "worst_request_s": worst_s}
    return {
        "errors_inside": live_score.errors(virtual, live) | {"tokens_per_s": off},
        "steps_inside": heard.account() | same,
    }


def _same_frac(played: Sequence[StepDone], live: Sequence[Line], start_s: float) -> float:
    """Return the share of steps that end at the same microsecond and compute as many tokens."""
    alike = [
        one.num_tokens == line.measured.tokens and abs(one.at_s - (line.end_s - start_s)) < SAME_S
        for one, line in zip(played, live, strict=False)
    ]
    return sum(alike) / max(len(played), len(live))


def _table(arrivals_s: Sequence[float], answers: Sequence[Answer]) -> RequestTable:
    return RequestTable(
        np.array(arrivals_s) - arrivals_s[0],
        np.array([answer.input_tokens for answer in answers]),
        np.array([answer.output_tokens for answer in answers]),
    )


def _honest(felt: dict[str, Any], table: RequestTable) -> dict[str, Any]:
    """Leave out the time per further token where there is none, or where two came at once."""
    is_known = (table.output_tokens > 1) & (felt["tpot_s"] > 0)
    return felt | {"tpot_s": np.where(is_known, felt["tpot_s"], np.nan)}


def tokens_per_s(table: RequestTable, felt: Mapping[str, Any]) -> float:
    """Return the output tokens per second from the first sending to the last end."""
    return float(table.output_tokens.sum() / (table.arrival_s + felt["e2e_s"]).max())


def _queue(lines: Sequence[Line]) -> dict[str, float]:
    """Return how many ran and waited, in the mean over the time that the engine worked."""
    took_s = np.array([line.took_s for line in lines])
    return {
        name: float(np.average([getattr(line, name) for line in lines], weights=took_s))
        for name in ("running", "waiting")
    }
