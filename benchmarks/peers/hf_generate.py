"""The contender `transformers`: `generate` in bf16 with its default attention and cache."""

from __future__ import annotations

import time
from typing import Any

import torch
import transformers
from window import Spec, contend


class Stopwatch(transformers.StoppingCriteria):  # type: ignore[misc]
    """Notes when each step of `generate` is done, and stops nothing."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ARG002
        """Note the moment."""
        self.moments.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class Generate:
    """`transformers` and its `generate`."""

    def __init__(self, spec: Spec) -> None:
        torch.set_num_threads(spec.threads)
        self.version = f"transformers {transformers.__version__}, torch {torch.__version__}"
        self.model = transformers.AutoModelForCausalLM.from_pretrained(spec.model, dtype=torch.bfloat16).eval()

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], num_steps: int) -> list[float]:
        """Generate a batch, noting the moments."""
        watch, input_ids = Stopwatch(), torch.tensor(prompts)
        self.model.generate(
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            max_new_tokens=num_steps + 1,
            min_new_tokens=num_steps + 1,
            do_sample=False,
            pad_token_id=0,
            stopping_criteria=transformers.StoppingCriteriaList([watch]),
        )
        return watch.moments


if __name__ == "__main__":
    contend(Generate)
