"""Runs the rounds: in each, every contender has its turn, so that a noisy hour slows all sides alike."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Any

from peers.window import Spec
from race import lap
from race.roster import Entrant, is_present


@dataclass
class Record:
    """What one contender has shown so far.

    Parameters
    ----------
    entrant : Entrant
        Who.
    why_out : str
        Why it is not (or no longer) in the race; empty while it is.
    rounds : list of dict
        Samples of tokens per second by point, one entry per round.
    others_busy_frac : list of float
        Share of the processors that other work took meanwhile, one entry per round.
    """

    entrant: Entrant
    why_out: str = ""
    version: str = ""
    load_s: float = 0.0
    peak_rss_bytes: int = 0
    others_busy_frac: list[float] = field(default_factory=list)
    rounds: list[dict[str, list[float]]] = field(default_factory=list)

    def take(self, found: dict[str, Any]) -> None:
        """Add a round."""
        self.version, self.load_s = found["version"], found["load_s"]
        self.peak_rss_bytes = max(self.peak_rss_bytes, found["peak_rss_bytes"])
        self.others_busy_frac.append(found["others_busy_frac"])
        self.rounds.append(found["tokens_per_s"])


def race(entrants: list[Entrant], pythons: dict[str, str], spec: Spec, num_rounds: int, verbose: bool) -> list[Record]:
    """Let the contenders that are there prepare, then run all rounds."""
    records = [Record(entrant) for entrant in entrants]
    for record in records:
        python = pythons[record.entrant.peer]
        if is_present(record.entrant, python):
            _attempt(record, python, "prepare", spec, verbose)
        else:
            record.why_out = f"skipped: {record.entrant.module} is not installed in {python}. Try: {record.entrant.pip}"
            _say(f"{record.entrant.name}: {record.why_out}")
    for number in range(num_rounds):
        turn = number % len(records)
        # Nobody always goes first: whoever follows a hot or a cold neighbour changes from round to round.
        for record in records[turn:] + records[:turn]:
            if not record.why_out:
                _say(f"round {number + 1} of {num_rounds}: {record.entrant.name}")
                _attempt(record, pythons[record.entrant.peer], "measure", replace(spec, round=number), verbose)
    return records


def _attempt(record: Record, python: str, verb: str, spec: Spec, verbose: bool) -> None:
    entrant = record.entrant
    told = replace(spec, kind=entrant.kind, options=entrant.options)
    try:
        found = lap.run(entrant, python, verb, told, verbose)
    except lap.LapFailed as failure:
        record.why_out = f"failed to {verb}: {failure}"
        _say(f"{entrant.name}: {record.why_out}")
    else:
        if verb == "measure":
            record.take(found)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
