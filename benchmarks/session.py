"""How many events a second one core takes through a session, with a trivial policy.

    python benchmarks/session.py [--json] [--events N] [--runs N]

Measured are a bare loop that calls the policy directly, the session, and the session with a trace file; each run takes
them in turn, and medians over the runs are reported, with ratios to the bare loop of the same run. The policy answers
every event with one action, the same each time, so nothing but the session's own work is in the difference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from headway.core.actions import Action, Wake
from headway.core.events import Arrived, Event, Finished
from headway.core.nouns import Work
from headway.core.session import Session
from headway.core.slo import WorkAccounts
from headway.core.trace import FileTrace
from headway.core.view import Board

BAR_EVENTS_PER_S = 100_000


class Trivial:
    """Answers every event with the same action."""

    def reset(self, rng: np.random.Generator) -> None:  # noqa: ARG002
        """Make the answer."""
        self._answer = [Wake(1.0, "again")]

    def decide(self, event: Event, view: Board) -> Iterable[Action]:  # noqa: ARG002
        """Give the answer."""
        return self._answer


def events(num: int) -> list[Event]:
    """Make arrivals and ends of plain work, in turn."""
    works = [Work(id=f"w{n}", kind="job", arrival_s=n * 1e-3) for n in range(num // 2)]
    return [
        event
        for work in works
        for event in (Arrived(at_s=work.arrival_s, work=work), Finished(at_s=work.arrival_s + 5e-4, id=work.id))
    ]


def bare(told: Sequence[Event]) -> None:
    """Call the policy directly."""
    policy, view = Trivial(), Board([])
    policy.reset(np.random.default_rng(0))
    for event in told:
        list(policy.decide(event, view))


def session(told: Sequence[Event], trace: FileTrace | None = None, accounts: WorkAccounts | None = None) -> None:
    """Let a session call it."""
    run = Session(Trivial(), Board([]), trace=trace, accounts=accounts)
    for event in told:
        run.feed(event)
    run.close()


def per_s(call: Callable[[], None], num: int) -> float:
    """Time one call in process time, which other processes do not disturb; returns events per second."""
    start_s = time.process_time()
    call()
    return num / (time.process_time() - start_s)


def measure(num_events: int, num_runs: int) -> dict[str, float]:
    """Run everything in turn, several times; returns medians."""
    told = events(num_events)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        for _ in range(num_runs):
            rates = {
                "bare": per_s(lambda: bare(told), len(told)),
                "session": per_s(lambda: session(told), len(told)),
                "session_accounts": per_s(lambda: session(told, accounts=WorkAccounts()), len(told)),
                "session_trace": per_s(lambda: session(told, FileTrace(path)), len(told)),
            }
            for name, rate in rates.items():
                found.setdefault(f"{name}_events_per_s", []).append(rate)
                found.setdefault(f"{name}_over_bare", []).append(rate / rates["bare"])
    del found["bare_over_bare"]
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Print one object, or a few lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--events", type=int, default=100_000, help="events per run")
    parser.add_argument("--runs", type=int, default=7, help="runs of which the median is taken")
    asked = parser.parse_args()
    found = measure(asked.events, asked.runs)
    slowest = min(found["session_events_per_s"], found["session_trace_events_per_s"])
    outcome = {**found, "bar_events_per_s": BAR_EVENTS_PER_S, "bar_met": slowest >= BAR_EVENTS_PER_S}
    if asked.json:
        print(json.dumps(outcome))
        return
    for name, value in outcome.items():
        print(f"{name:32} {value:,.2f}" if isinstance(value, float) else f"{name:32} {value}")


if __name__ == "__main__":
    main()
