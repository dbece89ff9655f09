"""The contenders `headway*`: the engine's own runner and greedy sampling, as the engine's loop drives them."""

from __future__ import annotations

import time

import torch
from window import Spec, contend

import headway
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.model.rows import Columns
from headway.engines.llm.model.runner import Runner
from headway.engines.llm.sampling.sample import greedy

KV_BYTES = 1 << 30


class Headway:
    """Headway's runner."""

    def __init__(self, spec: Spec) -> None:
        torch.set_num_threads(spec.threads)
        self.runner = Runner(
            EngineConfig(
                model=spec.model,
                device="cpu",
                dtype="bfloat16",
                quantize="int8" if spec.kind == "int8" else "none",
                kv_bytes=KV_BYTES,
                context_tokens=spec.max_tokens,
                max_seqs=spec.max_batch,
                native=spec.options["native"],
            )
        )
        kernels = self.runner.facts.kernels
        if spec.options["native"] and kernels != "native":
            raise SystemExit("headway: the compiled kernels could not be used here; see `headway doctor`")
        self.version = f"headway {headway.__version__} ({kernels} kernels), torch {torch.__version__}"

    def generate(self, prompts: list[list[int]], num_steps: int) -> list[float]:
        """Compute the prompts one after the other, then all sequences a token at a time."""
        runner = self.runner
        slots, lengths = self._open(prompts, num_steps), [len(prompt) for prompt in prompts]
        for slot, length in zip(slots, lengths, strict=True):
            self._step([slot], [0], [length])
        moments = [time.perf_counter()]
        for done in range(num_steps):
            self._step(slots, [length + done for length in lengths], [1] * len(slots))
            moments.append(time.perf_counter())
        for slot in slots:
            runner.close(slot)
        return moments

    def _open(self, prompts: list[list[int]], num_steps: int) -> list[int]:
        slots, first = [], 0
        for prompt in prompts:
            num_blocks = -(-(len(prompt) + num_steps) // self.runner.block_size)
            slots.append(self.runner.open(prompt))
            self.runner.set_blocks(slots[-1], range(first, first + num_blocks))
            first += num_blocks
        return slots

    def _step(self, slots: list[int], starts: list[int], tokens: list[int]) -> None:
        logits = self.runner.run(Columns(slots, starts, tokens))
        assert logits is not None
        self.runner.append(slots, greedy(logits))


if __name__ == "__main__":
    contend(Headway)
