"""Many adapters on their way to other bases, in virtual time."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Sequence

import msgspec
import numpy as np

from headway.core.actions import Action, Reject, Wake
from headway.core.errors import ConfigError
from headway.core.events import Arrived, Event, Finished, Woke
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.tuning.trans_lora_board import TransferBoard
from headway.policies.tuning.trans_lora_nouns import Base, Judged, Run, RunDone, Transfer
from headway.sim.tuning.trans_lora_prices import StagePrice


class TrueTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer and its hidden truth.

    Parameters
    ----------
    transfer : Transfer
        What is known of it.
    accept_frac : float
        Chance that the discriminator keeps a text, in [0, 1].
    seed : int
        Of these chances; which texts are kept does not depend on how runs are cut.
    """

    transfer: Transfer
    accept_frac: float
    seed: int = 0


class TransferWorld:
    """Plays transfers on devices that do one run at a time.

    Parameters
    ----------
    transfers : sequence of TrueTransfer
        What arrives.
    devices : sequence of Resource
        On what, with ``capacity["memory_bytes"]``.
    bases : sequence of Base
        All bases, with the memory they take.
    price : StagePrice
        What runs take.

    Raises
    ------
    ConfigError
        When a transfer needs a base that no device has room for.

    Notes
    -----
    A run takes the time to bring its base where the device does not hold it, something fixed, and something for each
    text (each epoch of each text where it trains). Runs of several devices do not slow each other down, adapters take
    no memory and no time to bring, and devices do not fail.
    """

    def __init__(
        self, transfers: Sequence[TrueTransfer], devices: Sequence[Resource], bases: Sequence[Base], price: StagePrice
    ) -> None:
        self.view = TransferBoard(devices, bases)
        self.price = price
        self.finished_s: dict[Id, Seconds] = {}
        self.spent_s: defaultdict[str, Seconds] = defaultdict(float)  # by stage, and "load"
        self.num_runs: Counter[str] = Counter()
        self.num_loads = 0
        self._true = {true.transfer.id: true for true in transfers}
        self._dice = {true.transfer.id: np.random.default_rng([5, true.seed]) for true in transfers}
        self._order = itertools.count()
        self._heap: list[tuple[Seconds, int, Wake | Transfer | Id]] = []
        self._began_s: dict[Id, Seconds] = {}
        self._news: deque[Event] = deque()
        for true in transfers:
            self._check(true.transfer)
            self._at(true.transfer.arrival_s, true.transfer)

    def numbers(self) -> dict[str, float]:
        """Return what the run came to."""
        ended = [state for state in self.view.ended.values() if state.is_done]
        jct_s = [self.finished_s[state.transfer.id] - state.transfer.arrival_s for state in ended]
        return {
            "makespan_s": max(self.finished_s.values(), default=0.0),
            "mean_jct_s": float(np.mean(jct_s)) if jct_s else 0.0,
            "num_finished": len(ended),
            "num_given_up": len(self.view.ended) - len(ended),
            "num_drawn": sum(state.drawn for state in ended),
            "drawn_over_expected": self._drawn_over_expected(),
            "num_runs": sum(self.num_runs.values()),
            "num_loads": self.num_loads,
            "load_s": self.spent_s["load"],
            "device_s": sum(self.spent_s.values()),
        }

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        while not self._news:
            if not self._heap:
                return None
            self._advance()
        return self._news.popleft()

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Wake):
            self._at(max(action.at_s, self.view.now_s), action)
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Run):
            self._at(self.view.now_s + self._price(action), action.device)
            self._began_s[action.device] = self.view.now_s
        elif why is None and isinstance(action, Reject):
            self.finished_s.pop(action.id, None)
        return why

    def _check(self, transfer: Transfer) -> None:
        for stage in ("generate", "filter", "train"):
            base = transfer.base(stage)
            if base not in self.view.bases or not any(self.view.most(one, stage, base) for one in self.view.devices):
                raise ConfigError(
                    f"transfer {transfer.id}: some device must have room to {stage} with {base!r}, none has. "
                    "Give more memory, or a smaller base."
                )

    def _at(self, at_s: Seconds, what: Wake | Transfer | Id) -> None:
        heapq.heappush(self._heap, (at_s, next(self._order), what))

    def _price(self, run: Run) -> Seconds:
        load_s = self.view.devices[run.device].load_bytes / self.price.load_bytes_per_s
        transfer = self._true[run.parts[0].transfer].transfer
        num = sum(part.num for part in run.parts)
        if run.stage == "train":
            num *= self.view.transfers[transfer.id].labelled
        run_s = self.price.run_s(run.stage, transfer.base(run.stage), num)
        self.num_loads += load_s > 0
        self.num_runs[run.stage] += 1
        self.spent_s["load"] += load_s
        self.spent_s[run.stage] += run_s
        return load_s + run_s

    def _advance(self) -> None:
        self.view.now_s, _, what = heapq.heappop(self._heap)
        if isinstance(what, Wake):
            self._news.append(Woke(at_s=self.view.now_s, tag=what.tag))
        elif isinstance(what, Transfer):
            self.view.add(what)
            self._news.append(Arrived(at_s=self.view.now_s, work=what))
        else:
            self._end(what)

    def _end(self, device: Id) -> None:
        run, now_s = self.view.devices[device].run, self.view.now_s
        assert run is not None, "only a run ends"
        took_s = now_s - self._began_s.pop(device)
        kept = tuple(self._kept(part.transfer, part.num) for part in run.parts) if run.stage == "filter" else ()
        done = self.view.finish(device, kept)
        if run.stage == "filter":
            self._news.append(Judged(at_s=now_s, id=device, parts=run.parts, accepted=kept, took_s=took_s))
        else:
            self._news.append(RunDone(at_s=now_s, device=device, stage=run.stage, parts=run.parts, took_s=took_s))
        for transfer in done:
            self.finished_s[transfer] = now_s
            self._news.append(Finished(at_s=now_s, id=transfer))

    def _kept(self, transfer: Id, num: int) -> int:
        return int((self._dice[transfer].random(num) < self._true[transfer].accept_frac).sum())

    def _drawn_over_expected(self) -> float:
        """How many texts were generated, over the wanted ones divided by the chance to be kept."""
        ended = [state for state in self.view.ended.values() if state.is_done]
        expected = [state.transfer.wanted / self._true[state.transfer.id].accept_frac for state in ended]
        return sum(state.drawn for state in ended) / sum(expected) if expected else 0.0
