"""A family to study, as another package would bring it: a counter at which each customer takes a known time.

It is written to a folder and put on the path, so that worker processes find it as they would find any other package.
"""

from __future__ import annotations

from pathlib import Path

CATALOGUE = """
[family]
name = "counter"
about = "Who is served next at one counter."
scenario = "counter_family.scenario:Counter"

[[mechanism]]
id = "counter/even"
class = "counter_family.scenario:Even"
seat = "policy"
title = "Takes the same time for everybody"
authors = "A. Clerk"
year = 2020

[[mechanism]]
id = "counter/bad"
class = "counter_family.scenario:Bad"
seat = "policy"
title = "Cannot be played"
authors = "A. Clerk"
year = 2021
"""

SCENARIO = '''
"""A queue in closed form: Lindley's recursion over seeded arrivals."""
import os
import time

import numpy as np
from msgspec import Struct

from headway.core.errors import PolicyFailed
from headway.core.events import Arrived, Failed, Finished
from headway.core.nouns import Work
from headway.core.report import Report
from headway.core.scenario import Outcome
from headway.core.session import arrival_stream
from headway.core.slo import SloRow


class TraceSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source: str = ""
    max_requests: int = 200


class Promise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = "default"
    e2e_s: float = 2.0
    quantile: float = 0.9


class Even:
    name = "counter/even"

    def __init__(self, *, run_s: float = 0.5, noise_s: float = 0.0) -> None:
        self.run_s = run_s
        self.noise_s = noise_s

    def reset(self, rng):
        self.rng = rng

    def decide(self, event, view):
        return ()


class Bad(Even):
    name = "counter/bad"


class Counter:
    def __init__(self, *, trace: TraceSpec = TraceSpec(), slo: tuple[Promise, ...] = (Promise(),), slow_s: float = 0.0):
        self.trace = trace
        self.slo = slo
        self.slow_s = slow_s

    def play(self, policy, *, seed=0, load=1.0, trace=None, instruments=(), on_progress=None):
        if policy.name == "counter/bad":
            raise PolicyFailed("counter/bad: failed on purpose")
        time.sleep(self.slow_s)
        num = self.trace.max_requests
        arrival_s = np.cumsum(arrival_stream(seed).exponential(1.0, num)) / load
        run_s = np.full(num, policy.run_s) + np.random.default_rng(seed).uniform(0, 1, num) * policy.noise_s
        end_s, last_s = np.empty(num), 0.0
        for row in range(num):
            last_s = end_s[row] = max(last_s, arrival_s[row]) + run_s[row]
        works = {"arrival_s": arrival_s, "queue_s": end_s - run_s - arrival_s, "e2e_s": end_s - arrival_s}
        met = works["e2e_s"] <= self.slo[0].e2e_s
        for row in range(num):
            work = Work(id=f"w{row}", kind="customer", arrival_s=arrival_s[row], tenant=self.slo[0].name)
            for listener in instruments:
                listener.on_event(Arrived(at_s=arrival_s[row], work=work))
                listener.on_event(Ended(at_s=end_s[row], id=f"w{row}", e2e_s=end_s[row] - arrival_s[row]))
            if on_progress is not None:
                on_progress(row + 1, num)
        numbers = {"num_requests": float(num), "num_finished": float(num), "goodput_frac": float(met.mean())}
        numbers |= {"pid": float(os.getpid()), "busy_frac": float(run_s.sum() / last_s)}
        for name in ("queue_s", "e2e_s"):
            numbers[f"mean_{name}"] = float(works[name].mean())
            for percent in (50, 90, 95, 99):
                numbers[f"p{percent}_{name}"] = float(np.quantile(works[name], percent / 100))
        row = SloRow(slo_class=self.slo[0].name, metric="e2e_s", bound=self.slo[0].e2e_s, quantile=self.slo[0].quantile,
                     met=int(met.sum()), missed=int((~met).sum()))
        report = Report(policy=policy.name, seed=seed, duration_s=float(last_s), num_events=2 * num, num_actions=num,
                        num_refused=0, refused={}, decide_s={}, numbers=numbers, slos=[row])
        samples = {"at_s": arrival_s, "resource": np.full(num, "c"), "waiting": np.zeros(num)}
        spans = {"start_s": end_s - run_s, "end_s": end_s, "resource": np.full(num, "c"), "name": np.full(num, "serve")}
        return Outcome(report, works, samples, spans)


class Ended(Finished, frozen=True, gc=False, kw_only=True):
    e2e_s: float
'''


def open_shop(folder: Path) -> None:
    """Write the package into a folder, with the entry point by which it is found."""
    package, facts = folder / "counter_family", folder / "counter_family-1.0.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").write_text("")
    (package / "catalogue.toml").write_text(CATALOGUE)
    (package / "scenario.py").write_text(SCENARIO)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: counter_family\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[headway.policies]\ncounter = counter_family\n")
