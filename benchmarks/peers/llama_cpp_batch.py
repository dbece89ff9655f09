"""The contenders `llamacpp*`: llama.cpp's own batches through `llama-cpp-python`, bf16 or q8_0."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from window import Spec, contend

BATCH_TOKENS = 2048


def file(spec: Spec) -> Path:
    """Return where the converted model of this kind lives."""
    return Path(spec.cache) / f"{Path(spec.model).name}-{spec.kind}.gguf"


def prepare(spec: Spec) -> None:
    """Convert the checkpoint once."""
    if not file(spec).exists():
        from gguf_file import convert

        convert(Path(spec.model), file(spec), spec.kind)


class Batches:
    """A llama.cpp context with one KV stream per sequence."""

    def __init__(self, spec: Spec) -> None:
        self.version = f"llama-cpp-python {llama_cpp.__version__}"
        self._log = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        self.model: Any = llama_cpp.llama_model_load_from_file(
            str(file(spec)).encode(), llama_cpp.llama_model_default_params()
        )
        if not self.model:
            raise SystemExit(f"llama.cpp: could not load {file(spec)}")
        self.context: Any = llama_cpp.llama_init_from_model(self.model, self._params(spec))
        if not self.context:
            raise SystemExit("llama.cpp: could not make a context")
        self.batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self.vocab_size = spec.vocab_size

    @staticmethod
    def _params(spec: Spec) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_seq_max = spec.max_batch
        params.n_ctx = spec.max_batch * (-(-spec.max_tokens // 256) * 256)
        params.n_batch = BATCH_TOKENS
        params.n_threads = params.n_threads_batch = spec.threads
        return params

    def generate(self, prompts: list[list[int]], num_steps: int) -> list[float]:
        """Compute the prompts one after the other, then all sequences a token at a time."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        last = [int(self._decode([(i, pos, t) for pos, t in enumerate(p)], 1)[0]) for i, p in enumerate(prompts)]
        moments = [time.perf_counter()]
        for done in range(num_steps):
            rows = [(i, len(prompt) + done, last[i]) for i, prompt in enumerate(prompts)]
            last = [int(token) for token in self._decode(rows, len(rows))]
            moments.append(time.perf_counter())
        return moments

    def _decode(self, rows: list[tuple[int, int, int]], num_outputs: int) -> Any:
        """Compute rows (sequence, position, token) and return the likeliest next token of the last `num_outputs`."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (sequence, position, token) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = i >= len(rows) - num_outputs
        code = llama_cpp.llama_decode(self.context, batch)
        if code != 0:
            raise SystemExit(f"llama.cpp: llama_decode answered {code}")
        logits = llama_cpp.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (num_outputs, self.vocab_size)).argmax(-1)


if __name__ == "__main__":
    contend(Batches, prepare)
