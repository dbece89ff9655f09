"""How long SLOs-Serve takes to decide, at moments made for it."""

from __future__ import annotations

import gc
import time

import numpy as np

from headway.core.actions import Move, Start
from headway.core.nouns import Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Request, Step
from headway.policies.serving.seats import Batch
from headway.policies.serving.slos_planner import Planner
from headway.policies.serving.slos_serve import SlosServe
from headway.policies.serving.state import InstanceState

TPOTS_S = (0.05, 0.1, 0.2, 0.4)


class Moment:
    """An idle instance at which many run and some have just arrived.

    Parameters
    ----------
    num_new, num_running : int
        How many, >= 0; every tenth of those that run is amid its prompt.
    num_tiers : int
        How many times per token there are, 1 to 4.
    seed : int
        Of lengths, promises and ages.
    """

    def __init__(self, num_new: int, num_running: int, num_tiers: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, num_new, num_running, num_tiers])
        self._num_tiers = num_tiers
        self.instance = InstanceState("gpu", BlockPool(32_768), num_layers=40, pool="gpu")
        self.board = ServingBoard([self.instance], frozenset({"repeat", "speculate"}))
        self._run(num_running)
        self._arrive(num_new, "new")

    def _arrive(self, num: int, name: str) -> None:
        for number in range(num):
            request = Request(
                id=f"{name}{number}",
                arrival_s=self.board.now_s,
                prompt_tokens=int(self._rng.integers(50, 1500)),
                max_tokens=int(self._rng.integers(50, 500)),
                ttft_s=float(self._rng.uniform(0.2, 4.0)),
                tpot_s=float(self._rng.choice(TPOTS_S[: self._num_tiers])),
            )
            self.board.add(request)
            self.board.apply(Move(request.id, "gpu"))

    def _run(self, num: int) -> None:
        self._arrive(num, "old")
        for name, state in list(self.instance.waiting.items()):
            self.board.apply(Start(name, {"gpu": {"kv_tokens": state.known_tokens}}))
        if num:
            parts = [s.known_tokens if number % 10 else 10 for number, s in enumerate(self.instance.running.values())]
            pieces = [Piece(s.id, n) for s, n in zip(self.instance.running.values(), parts, strict=True)]
            step = Step(instance="gpu", pieces=tuple(pieces))
            self.board.apply(step)
            self.board.now_s = 0.1
            self.board.advance(step, self.board.now_s)
            self.board.end(step)

    def decide(self, seat: Batch) -> Seconds:
        """Let a seat form the next step, those who run having their places; returns how long it took.

        Counted is the time of the thread, in seconds, so that others at work on the machine are not.
        """
        if isinstance(seat, SlosServe):
            seat.reset(self._rng)
            planner: Planner = seat.planner
            planner.speculates = True
            for state in self.instance.running.values():
                planner.keep(state)
        draft = InstanceDraft(self.instance)
        gc.disable()  # what there is to be collected was left by the making of moments
        start_s = time.thread_time()
        seat.form(self.instance, draft, self.board.now_s)
        took_s = time.thread_time() - start_s
        gc.enable()
        return took_s


def times_s(
    seat: Batch,
    *,
    num_new: int = 10,
    num_running: int = 200,
    num_tiers: int = 2,
    num_moments: int = 200,
    first_seed: int = 0,
) -> np.ndarray:
    """Return how long a seat takes to decide at each of many moments, in seconds of its thread, `[moments]`."""
    seeds = range(first_seed, first_seed + num_moments)
    return np.array([Moment(num_new, num_running, num_tiers, seed).decide(seat) for seed in seeds])
