"""The contender `openvino`: OpenVINO GenAI's continuous batching, bf16, weights as exported or in int8."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from window import Spec, contend

MODEL = "openvino_model.xml"
ELEMENTS = {"bf16": ("bf16",), "int8": ("u8", "i8")}


def folder(spec: Spec) -> Path:
    """Return where the exported model of this kind lives."""
    return Path(spec.cache) / f"{Path(spec.model).name}-openvino-{spec.kind}"


def prepare(spec: Spec) -> None:
    """Export the checkpoint once, compress it where int8 is wanted, and look whether that is what came out."""
    if not (folder(spec) / MODEL).exists():
        # Made aside and moved in one go: another run may be exporting the same model at this moment.
        with tempfile.TemporaryDirectory(dir=spec.cache) as aside:
            _export(spec, Path(aside) / "model")
            with suppress(OSError):  # the other run was first
                (Path(aside) / "model").rename(folder(spec))
    _check(spec)


def _export(spec: Spec, path: Path) -> None:
    import nncf
    import openvino
    from optimum.exporters.openvino import main_export

    main_export(spec.model, path, task="text-generation-with-past", convert_tokenizer=False, stateful=True)
    if spec.kind == "int8":
        # `main_export` does not compress, whatever its configuration says; its command line does so afterwards.
        model = nncf.compress_weights(openvino.Core().read_model(path / MODEL), mode=nncf.CompressWeightsMode.INT8_ASYM)
        openvino.save_model(model, path / "compressed.xml", compress_to_fp16=False)
        del model  # it maps the file that is replaced next
        (path / "compressed.bin").replace(path / MODEL.replace(".xml", ".bin"))
        (path / "compressed.xml").replace(path / MODEL)


def _check(spec: Spec) -> None:
    """Refuse a model whose matrices are not of the kind the scoreboard will name."""
    import openvino

    sizes: Counter[str] = Counter()
    for node in openvino.Core().read_model(folder(spec) / MODEL).get_ops():
        if node.get_type_name() == "Constant":
            sizes[node.get_element_type().get_type_name()] += math.prod(node.get_output_shape(0))
    most = max(sizes, key=sizes.__getitem__)
    if most not in ELEMENTS[spec.kind]:
        raise SystemExit(f"openvino: weights must be {spec.kind}, got {most} in {folder(spec)}. Delete that folder.")


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
