"""Reads what `fidelity.step_log` has written: measured steps, and when each request came and got its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from headway.app.bench.answer import Answer
from headway.app.calibrate.recording import Sent
from headway.app.calibrate.steps import MeasuredStep
from headway.sim.serving.price import BatchShape, Chunk


@dataclass(frozen=True)
class Line:
    """A step as it was logged: what it computed, from when to when, and how many ran and waited beside it."""

    begin_s: float
    took_s: float
    decodes: int
    context_tokens: int
    chunks: tuple[tuple[int, int], ...]
    running: int
    waiting: int

    @property
    def end_s(self) -> float:
        """When its tokens were there, and the next could begin."""
        return self.begin_s + self.took_s

    @property
    def shape(self) -> BatchShape:
        """What its price depends on."""
        chunks = tuple(Chunk(tokens, before) for tokens, before in self.chunks)
        return BatchShape(self.decodes, self.context_tokens, chunks)

    @property
    def measured(self) -> MeasuredStep:
        """What a price is fitted to."""
        return MeasuredStep(
            tokens=self.decodes + sum(tokens for tokens, _ in self.chunks),
            decodes=self.decodes,
            context_tokens=float(self.context_tokens),
            chunks=len(self.chunks),
            pairs=sum(tokens * (before + 0.5 * tokens) for tokens, before in self.chunks),
            took_s=self.took_s,
            at_s=self.end_s,
        )


@dataclass(frozen=True)
class Log:
    """What one server logged.

    Parameters
    ----------
    facts : dict
        Its settings.
    lines : list of Line
        Its steps, those that computed nothing left out.
    sent : dict of str to Sent
        Its requests, by the id of the answer.
    """

    facts: dict[str, Any]
    lines: list[Line] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)

    def of(self, answers: list[Answer]) -> Log:
        """Return the part of some requests, from the coming of the first to the end of the last."""
        sent = {answer.answer_id: self.sent[answer.answer_id] for answer in answers}
        first_s, last_s = min(one.arrival_s for one in sent.values()), max(one.last_s for one in sent.values())
        return Log(self.facts, [line for line in self.lines if first_s <= line.begin_s <= last_s], sent)

    @property
    def steps(self) -> list[MeasuredStep]:
        """All steps, as prices are fitted to them."""
        return [line.measured for line in self.lines]


def read_log(path: Path) -> Log:
    """Read a log; a last line that is still being written is left out."""
    whole = path.read_text().rpartition("\n")[0].splitlines()
    rows = [json.loads(line) for line in whole]
    log = Log(rows[0]["facts"])
    timed = list(_overlapping(rows[1:]) if log.facts["is_async"] else _in_turn(rows[1:]))
    log.sent.update({_answer(row["arrived"]): Sent(row["at_s"]) for row in rows if "arrived" in row})
    for row, took_s in timed:
        end_s = row["begin_s"] + took_s
        for name in row["first"]:
            log.sent[_answer(name)].first_s = end_s
        for name in row["ended"]:
            log.sent[_answer(name)].last_s = end_s
        if row["decodes"] or row["chunks"]:
            log.lines.append(_line(row, took_s))
    return log


def _in_turn(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield each step with how long it held up the next.

    It lasts until the next is decided on, or, if nobody was left, until its tokens were handed over. Where nobody was
    there before, it begins with the first arrival, and who came while it was being decided on came then, too.
    """
    steps, came = list[dict[str, Any]](), list[dict[str, Any]]()
    for row in rows:
        if "arrived" in row:
            came.append(row)
            continue
        if came and (not steps or steps[-1]["is_last"]):
            row["begin_s"] = came[0]["at_s"]
            for arrival in came:
                arrival["at_s"] = row["begin_s"]
        steps.append(row)
        came.clear()
    for step, after in pairwise([*steps, {}]):
        end_s = step["end_s"] if step["is_last"] or not after else after["begin_s"]
        yield step, end_s - step["begin_s"]


def _overlapping(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield each step with how long it held up the next: it begins no sooner than the one before it ends."""
    before_s = 0.0
    for row in rows:
        if "begin_s" in row:
            begin_s = max(before_s, row["begin_s"])
            before_s = row["got_s"]
            yield {**row, "begin_s": begin_s}, before_s - begin_s


def _line(row: dict[str, Any], took_s: float) -> Line:
    chunks = tuple((tokens, before) for tokens, before in row["chunks"])
    return Line(
        row["begin_s"], took_s, row["decodes"], row["context_tokens"], chunks, row["running"], row["waiting"]
    )  # fmt: skip


def _answer(name: str) -> str:
    """Return the answer's id: the server puts the number of the choice and some random digits behind it."""
    return name.rsplit("-", 2)[0]


def overheads(answers: list[Answer], log: Log) -> dict[str, float]:
    """Return what requests took longer for their client than in the engine, in seconds: medians over some requests."""
    pairs = [(answer, log.sent[answer.answer_id]) for answer in answers]
    first = np.array([answer.ttft_s - (sent.first_s - sent.arrival_s) for answer, sent in pairs])
    last = np.array([answer.e2e_s - (sent.last_s - sent.arrival_s) for answer, sent in pairs])
    low, high = np.quantile(first, [0.25, 0.75])
    return {
        "first_token_s": float(np.median(first)),
        "last_token_s": float(np.median(last)),
        "scatter_s": float(high - low),
    }
