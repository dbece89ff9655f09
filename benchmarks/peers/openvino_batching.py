"""The contender `openvino`: OpenVINO GenAI's continuous batching, bf16, weights as exported or in int8."""

from __future__ import annotations

import time
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from window import Spec, contend

DONE = "exported"


def folder(spec: Spec) -> Path:
    """Return where the exported model of this kind lives."""
    return Path(spec.cache) / f"{Path(spec.model).name}-openvino-{spec.kind}"


def prepare(spec: Spec) -> None:
    """Export the checkpoint once, as `optimum-cli export openvino` does."""
    if (folder(spec) / DONE).exists():
        return
    from optimum.exporters.openvino import main_export
    from optimum.intel import OVConfig, OVWeightQuantizationConfig

    config = OVConfig(quantization_config=OVWeightQuantizationConfig(bits=8)) if spec.kind == "int8" else None
    main_export(
        spec.model,
        folder(spec),
        task="text-generation-with-past",
        ov_config=config,
        convert_tokenizer=False,
        stateful=True,
    )
    (folder(spec) / DONE).touch()


class Pipeline:
    """A continuous batching pipeline, stepped by hand."""

    def __init__(self, spec: Spec) -> None:
        import openvino
        import openvino_genai

        self.openvino: Any = openvino
        self.genai: Any = openvino_genai
        self.version = f"openvino-genai {version('openvino-genai')}"
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = 1
        scheduler.max_num_seqs = spec.max_batch
        scheduler.enable_prefix_caching = False
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(folder(spec)),
            scheduler,
            "CPU",
            {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": spec.threads, "PERFORMANCE_HINT": "LATENCY"},
        )
        self.ids = count()

    def generate(self, prompts: list[list[int]], num_steps: int) -> list[float]:
        """Step the pipeline until every sequence has its tokens, then drop what ran ahead."""
        wanted = num_steps + 1
        config = self.genai.GenerationConfig(max_new_tokens=wanted + 2 * len(prompts), ignore_eos=True, do_sample=False)
        handles = [
            self.pipeline.add_request(next(self.ids), self.openvino.Tensor([prompt]), config) for prompt in prompts
        ]
        tokens = [0] * len(handles)
        moments: list[float] = []
        while len(moments) < wanted:
            self.pipeline.step()
            for i, handle in enumerate(handles):
                while handle.can_read():
                    tokens[i] += sum(len(output.generated_ids) for output in handle.read().values())
            moments += [time.perf_counter()] * (min(tokens) - len(moments))
        for handle in handles:
            handle.cancel()
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()
        return moments[:wanted]


if __name__ == "__main__":
    contend(Pipeline, prepare)
