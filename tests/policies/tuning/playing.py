"""A tiny executor with made-up times, to see what a share seat decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from headway.core.actions import Action, Wake
from headway.core.events import Event, Woke
from headway.core.policy import Policy
from headway.core.slo import Slo, SloClass
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import JobArrived, Microbatch, Request, RequestArrived, Step, StepDone, TuneJob
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState

ONE = SloClass(name="default", slos=(Slo("ttft_s", 1.0), Slo("tpot_s", 0.05)))


def a_job(num: int = 1000, kv_blocks: int = 20, tokens: int = 256) -> TuneJob:
    batches = tuple(Microbatch(tokens, updates=number % 4 == 3) for number in range(num))
    return TuneJob(id="job", arrival_s=0.0, num_layers=8, microbatches=batches, kv_blocks=kv_blocks)


@dataclass
class Player:
    """Plays steps one after the other: pieces take `pieces_s`, a layer of a unit `layer_s` with all of the compute."""

    policy: Policy[ServingView]
    can: frozenset[str] = frozenset({"tune", "repeat"})
    slo: SloClass = ONE
    num_blocks: int = 400
    max_running: int = 64
    layer_s: float = 2e-3
    slow: Callable[[float], float] = lambda share: 1.0 / share
    steps: list[tuple[Step, StepDone]] = field(default_factory=list)

    def __post_init__(self) -> None:
        instance = InstanceState("i", BlockPool(self.num_blocks), num_layers=8, max_running=self.max_running)
        self.board = ServingBoard([instance], self.can, [self.slo])
        self.instance = instance
        self.wakes: list[Wake] = []
        self.refused: list[str] = []
        self.policy.reset(np.random.default_rng(0))

    def job(self, job: TuneJob) -> None:
        self.board.tuning.add(job)
        self.tell(JobArrived(at_s=self.board.now_s, work=job))

    def request(self, name: str, prompt: int = 32, output: int = 700) -> None:
        request = Request(id=name, arrival_s=self.board.now_s, prompt_tokens=prompt, max_tokens=output)
        self.board.add(request)
        self.tell(RequestArrived(at_s=self.board.now_s, work=request))

    def tell(self, event: Event) -> None:
        for action in list(self.policy.decide(event, self.board)):
            self._apply(action)
        while self.wakes and not self.instance.busy:
            wake = self.wakes.pop(0)
            self.board.now_s = max(self.board.now_s, wake.at_s)
            for action in list(self.policy.decide(Woke(at_s=self.board.now_s, tag=wake.tag), self.board)):
                self._apply(action)

    def run(self, num: int) -> None:
        """Run so many steps, as far as there are any."""
        for _ in range(num):
            if not self.instance.busy:
                return
            step = self.board._under_way["i"][0].step
            pieces_s = self._pieces_s(step)
            tune_s = self._unit_s(step)
            self.board.now_s += pieces_s
            self.board.advance(step, self.board.now_s)
            together = max(pieces_s, tune_s) if step.share < 1.0 else pieces_s + tune_s
            self.board.now_s += together - pieces_s
            self.board.end(step)
            done = StepDone(
                at_s=self.board.now_s,
                instance="i",
                step_s=together,
                num_tokens=step.num_tokens,
                tune_s=tune_s,
                pieces_s=pieces_s if step.tune else None,
            )
            self.steps.append((step, done))
            self.tell(done)

    def _pieces_s(self, step: Step) -> float:
        return (4e-3 + 1e-4 * step.num_tokens) * self.slow(step.share) if step.pieces else 0.0

    def _unit_s(self, step: Step) -> float:
        if not step.tune:
            return 0.0
        full_s = sum(len(range(*u.layers)) * self.layer_s * (2 if u.phase == "backward" else 1) for u in step.tune)
        return full_s / (1.0 - step.share) if step.share < 1.0 else full_s

    def _apply(self, action: Action) -> None:
        if isinstance(action, Wake):
            self.wakes.append(action)
            return
        why = self.board.apply(action)
        if why is not None:
            self.refused.append(why)
