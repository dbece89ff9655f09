"""What attention in several places costs beyond attention in one: combining, messages, and a whole step.

One decode attends over a context that is cut into parts. Measured are, in turns and as medians:

- ``combine``: joining the parts, as a share of computing them (all in one process, plain torch);
- ``bytes``: what one step of a decode sends to one holder and gets back, all layers, beside the keys and values that
  would have to be moved instead;
- ``step``: a decode step of the shipped model with half of its context in another process, as a multiple of the same
  step with all of it here. The steps at home go layer by layer in both, as steps with memory elsewhere must.

    python benchmarks/split_attention.py [--json] [--context N] [--parts N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from headway.engines.llm.config import EngineConfig
from headway.engines.llm.model.holder import KvHolder
from headway.engines.llm.model.holder_wire import RemoteHolder
from headway.engines.llm.model.rows import Row
from headway.engines.llm.model.runner import Runner
from headway.engines.llm.model.split_attention import attend_part, combine

MODEL = Path(__file__).resolve().parents[1] / "src/headway/engines/llm/shipped/headway-mini"
HEADS, KV_HEADS, DIM = 32, 32, 128
"""One layer of a 7 B model."""


def timed(work: Callable[[], object]) -> float:
    """Return how long one call takes, in seconds."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def combining(context: int, num_parts: int, rounds: int) -> dict[str, float]:
    """Measure parts and their combination in one layer of a 7 B model."""
    q, keys, values = (torch.randn(n, h, DIM) for n, h in ((1, HEADS), (context, KV_HEADS), (context, KV_HEADS)))
    pieces = list(zip(keys.chunk(num_parts), values.chunk(num_parts), strict=True))
    parts = [attend_part(q, k, v, DIM**-0.5) for k, v in pieces]
    whole = combine([attend_part(q, keys, values, DIM**-0.5)])
    apart = float((combine(parts) - whole).abs().max())
    parts_s, combine_s = [], []
    for _ in range(rounds):
        parts_s.append(timed(lambda: [attend_part(q, k, v, DIM**-0.5) for k, v in pieces]))
        combine_s.append(timed(lambda: combine(parts)))
    spent_s, joined_s = statistics.median(parts_s), statistics.median(combine_s)
    return {"parts_s": spent_s, "combine_s": joined_s, "combine_frac": joined_s / spent_s, "largest_difference": apart}


def stepping(rounds: int) -> dict[str, float]:
    """Measure a decode step of the shipped model with half of its context in another process."""
    runner = Runner(EngineConfig(model=str(MODEL), max_seqs=4, kv_bytes=1 << 27))
    tokens = runner.facts.context_tokens - runner.block_size
    num_blocks = tokens // runner.block_size
    remote, near = RemoteHolder(tokens), KvHolder(tokens)
    slots = []
    for number in range(2):
        slot = runner.open([3 + i % 97 for i in range(tokens)])
        runner.set_blocks(slot, [number * (num_blocks + 1) + i for i in range(num_blocks + 1)])
        runner.run([Row(slot, 0, tokens)])
        slots.append(slot)
    away, home = slots
    moved = remote.line.sent_bytes
    assert runner.lend(away, num_blocks // 2, remote)
    assert runner.lend(home, 1, near)  # a single block, so that it goes layer by layer as well
    moved = remote.line.sent_bytes - moved
    sent, received = remote.line.sent_bytes, remote.line.received_bytes
    runner.run([Row(away, tokens - 1, 1)])
    sent, received = remote.line.sent_bytes - sent, remote.line.received_bytes - received
    home_s, away_s = [], []
    for _ in range(rounds):
        home_s.append(timed(lambda: runner.run([Row(home, tokens - 1, 1)])))
        away_s.append(timed(lambda: runner.run([Row(away, tokens - 1, 1)])))
    for slot in slots:
        runner.close(slot)
    remote.close()
    return {
        "context_tokens": tokens,
        "bytes_out_per_step": sent,
        "bytes_back_per_step": received,
        "kv_bytes_instead": moved,
        "step_s": statistics.median(home_s),
        "step_with_holder_s": statistics.median(away_s),
        "ratio": statistics.median(a / h for a, h in zip(away_s, home_s, strict=True)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--context", type=int, default=16384)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=30)
    asked = parser.parse_args()
    found = {"combine": combining(asked.context, asked.parts, asked.rounds), "step": stepping(asked.rounds)}
    if asked.json:
        print(json.dumps(found))
        return
    for what, numbers in found.items():
        print(what, *(f"{name}={value:.4g}" for name, value in numbers.items()), sep="\n  ")


if __name__ == "__main__":
    main()
