"""One contender's runs by the clock: vLLM's real scheduler, and no model; a step takes as long as it would on an A100.

Run with vLLM's interpreter; it reads orders, one JSON object per line, and answers each with a line. The scheduler is
the real object, set up as vLLM sets it up on a GPU, where a step is scheduled while the one before it is computed; the
bench is that of `tests/engines/vllm`. Requests, promises and prices are those of `examples/recipes/mixed-slo.toml`, at
full length. Neither HTTP nor processor time of schedulers counts here.
"""

from __future__ import annotations

import heapq
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import msgspec
import numpy as np

from engines.vllm.rig import ASYNC, HOSTED, Rig
from headway.core.nouns import Seconds
from headway.sim.serving.scenario import ServingScenario
from headway.traces.table import RequestTable
from mixed_slo import scenario
from vllm_race.workload import PRIORITIES, spec

MOST_OUTPUT_TOKENS = 4096
CONTEXT_TOKENS = 40_960
BLOCK_TOKENS = 16
MAX_SEQS = 256
BATCHED_TOKENS = 2048
"""vLLM's own settings of its server on an A100."""
TUNED_TOKENS = 512
LONGEST_S = 4000.0


class TimedRig(Rig):
    """A rig that notes when the first and the last token of every request came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.first_s: dict[str, Seconds] = {}
        self.last_s: dict[str, Seconds] = {}
        self.ended: list[str] = []

    def _hear(self, item: Any) -> None:
        super()._hear(item)
        if item.new_token_ids:
            self.first_s.setdefault(item.request_id, self.clock.now_s())
            self.last_s[item.request_id] = self.clock.now_s()
        if item.finish_reason is not None:
            self.ended.append(item.request_id)


class Run:
    """One run: the requests of a seed at a load, played to their end.

    Parameters
    ----------
    name : str
        The contender.
    table : RequestTable
        What arrives.
    setting : ServingScenario
        Promises and prices.
    """

    def __init__(self, name: str, table: RequestTable, setting: ServingScenario) -> None:
        self._table, self._setting, self._is_ours = table, setting, name.startswith("serving/")
        replica = setting.places[0].replica
        told = {"policy": name, "slo_classes": msgspec.to_builtins(setting.classes)}
        self._by_priority = name in ("vllm-priority", "vllm-tuned")
        self._rig = TimedRig(
            HOSTED if self._is_ours else ASYNC,
            num_blocks=replica.num_kv_tokens // BLOCK_TOKENS,
            block_size=BLOCK_TOKENS,
            max_seqs=MAX_SEQS,
            max_batched_tokens=TUNED_TOKENS if name == "vllm-tuned" else BATCHED_TOKENS,
            context_tokens=CONTEXT_TOKENS,
            overlapped=True,
            headway=told if self._is_ours else None,
            scheduling_policy="priority" if self._by_priority else "fcfs",
            checks=False,
            price=replica.price,
        )
        self._sent_s: dict[int, Seconds] = {}
        self._due = [(float(table.arrival_s[row]), row) for row in range(len(table)) if not self._waits(row)]
        self._followers: dict[int, list[int]] = {}
        for row in range(len(table)):
            if self._waits(row):
                self._followers.setdefault(int(table.after[row]), []).append(row)  # type: ignore[index]
        heapq.heapify(self._due)

    def play(self) -> dict[str, Any]:
        """Play, and count."""
        rig = self._rig
        while (self._due or rig.has_work) and rig.clock.now_s() < LONGEST_S:
            while self._due and self._due[0][0] <= rig.clock.now_s():
                self._send(*heapq.heappop(self._due))
            if not rig.has_work:
                rig.clock.move_to(self._due[0][0])
                continue
            rig.step()
            self._follow()
        return self._score()

    def _waits(self, row: int) -> bool:
        return self._table.after is not None and self._table.after[row] >= 0

    def _send(self, at_s: Seconds, row: int) -> None:
        table, slo_class = self._table, self._table.label("slo_class", row)
        self._sent_s[row] = at_s
        asks = {"headway_slo_class": slo_class, "headway_session": table.label("session", row)}
        self._rig.add(
            str(row),
            _prompt(table, row),
            max_tokens=MOST_OUTPUT_TOKENS,
            stops_at=int(table.output_tokens[row]),
            priority=PRIORITIES[slo_class] if self._by_priority else 0,
            xargs={name: value for name, value in asks.items() if value},
        )

    def _follow(self) -> None:
        """Send the calls of agents whose last call has ended."""
        for name in self._rig.ended:
            row = int(name)
            if self._is_served(row):
                for follower in self._followers.get(row, ()):
                    gap_s = 0.0 if self._table.gap_s is None else float(self._table.gap_s[follower])
                    heapq.heappush(self._due, (self._rig.clock.now_s() + gap_s, follower))
        self._rig.ended.clear()

    def _is_served(self, row: int) -> bool:
        told = self._rig.told.get(str(row))
        return told is not None and len(told.tokens) == int(self._table.output_tokens[row])

    def _score(self) -> dict[str, Any]:
        num, good, turned_away = Counter[str](), Counter[str](), 0
        promised = {one.name: one for one in self._setting.slo if one.ttft_s is not None or one.tpot_s is not None}
        for row in range(len(self._table)):
            slo_class = self._table.label("slo_class", row)
            told = self._rig.told.get(str(row))
            turned_away += told is not None and not told.tokens
            if slo_class in promised:
                num[slo_class] += 1
                good[slo_class] += self._is_good(row, promised[slo_class])
        return {
            "good_frac": good.total() / num.total(),
            "num": num.total(),
            "by_class": {name: {"num": num[name], "num_good": good[name]} for name in promised},
            "num_turned_away": turned_away,
            "num_steps": self._rig.model.num_steps,
            "took_s": self._rig.clock.now_s(),
            "is_hosted_to_the_end": not self._is_ours or self._rig.scheduler.host is not None,  # type: ignore[attr-defined]
        }

    def _is_good(self, row: int, promised: Any) -> bool:
        if not self._is_served(row):
            return False
        first_s, last_s = self._rig.first_s[str(row)], self._rig.last_s[str(row)]
        tpot_s = (last_s - first_s) / max(1, int(self._table.output_tokens[row]) - 1)
        return first_s - self._sent_s[row] <= promised.ttft_s and tpot_s <= promised.tpot_s


def _prompt(table: RequestTable, row: int) -> list[int]:
    """Return tokens; equal blocks of the trace become equal tokens."""
    num, parts = int(table.prompt_tokens[row]), []
    if table.prefixes is not None:
        size = table.prefixes.block_tokens
        parts = [np.random.default_rng([1, int(block)]).integers(2, 1 << 30, size) for block in table.prefixes[row]]
        parts = parts[: num // size]
    parts.append(np.random.default_rng([2, row]).integers(2, 1 << 30, num - sum(map(len, parts))))
    tokens: list[int] = np.concatenate(parts).tolist()
    return tokens


def main() -> None:
    """Answer orders until there are no more."""
    for line in sys.stdin:
        order = json.loads(line)
        data = Path(order["data"]) if order["data"] else None
        table = spec(order["num"], data).draw(order["seed"], order["load"])
        row = Run(order["name"], table, scenario("dev", data, 1)).play()
        print("row: " + json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
