"""vLLM's own schedulers, which write down what every step computes and when it begins and ends, and change nothing.

    PYTHONPATH=benchmarks HEADWAY_STEP_LOG=FILE python -m vllm.entrypoints.openai.api_server \
        --scheduler-cls fidelity.step_log.LoggedScheduler ...

The file has JSON lines: one of the server's settings, one for each arrival, one for each step. Times are seconds of the
machine's monotonic clock, which all processes share. Internals of vLLM 0.32 that are used: `add_request`, `schedule`,
`update_from_output`, `requests`, `running`, `waiting`, and of a request `num_computed_tokens`, `num_prompt_tokens` and
`num_tokens`.
"""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from time import perf_counter
from typing import Any

from vllm.platforms import current_platform
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

FILE = "HEADWAY_STEP_LOG"
Own: Any = Scheduler if current_platform.is_cpu() else AsyncScheduler


class StepLog:
    """Put before a scheduler, it logs what that one does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._log = Path(os.environ[FILE]).open("w", buffering=1)  # noqa: SIM115 (open as long as the server lives)
        self._open = deque[dict[str, Any]]()
        self._write({"facts": self._facts()})

    def add_request(self, request: Any) -> None:
        """Note when it came."""
        self._write({"arrived": request.request_id, "at_s": perf_counter()})
        super().add_request(request)  # type: ignore[misc]

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Note when the step was decided on, and of what it is made."""
        begin_s = perf_counter()
        given = super().schedule(*args, **kwargs)  # type: ignore[misc]
        self._open.append({"begin_s": begin_s, **self._shape(given.num_scheduled_tokens)})
        return given

    def update_from_output(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        """Note when its tokens were there, and who ended."""
        step = self._open.popleft()
        step["got_s"] = perf_counter()
        told = super().update_from_output(scheduler_output, *args, **kwargs)  # type: ignore[misc]
        step["ended"] = [name for name in scheduler_output.num_scheduled_tokens if name not in self._all()]
        step["end_s"], step["is_last"] = perf_counter(), not self._all()
        self._write(step)
        return told

    def _shape(self, tokens: dict[str, int]) -> dict[str, Any]:
        context, chunks, first = list[int](), list[tuple[int, int]](), list[str]()
        for name, num in tokens.items():
            request = self._all()[name]
            before = request.num_computed_tokens - num
            if num == 1 and before >= request.num_prompt_tokens:
                context.append(before)
                continue
            chunks.append((num, before))
            if before < request.num_prompt_tokens <= before + num:
                first.append(name)
        queue: Any = self
        return {
            "decodes": len(context), "context_tokens": sum(context), "chunks": chunks, "first": first,
            "running": len(queue.running), "waiting": len(queue.waiting),
        }  # fmt: skip

    def _facts(self) -> dict[str, Any]:
        its: Any = self
        return {
            "num_blocks": its.kv_cache_config.num_blocks - 1,  # one of them is never given away
            "block_size": its.block_size,
            "max_seqs": its.max_num_running_reqs,
            "max_batched_tokens": its.max_num_scheduled_tokens,
            "context_tokens": its.max_model_len,
            "num_layers": len(its.kv_cache_config.kv_cache_groups[0].layer_names),
            "is_async": bool(its.scheduler_config.async_scheduling),
            "dtype": str(its.vllm_config.model_config.dtype),
            "device": its.vllm_config.device_config.device_type,
            "model": its.vllm_config.model_config.model,
            "scheduler": type(self).__mro__[2].__name__,
        }

    def _all(self) -> dict[str, Any]:
        its: Any = self
        requests: dict[str, Any] = its.requests
        return requests

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line) + "\n")


class LoggedScheduler(StepLog, Own):  # type: ignore[misc]  # which one is known when it is imported
    """What vLLM itself takes here: on accelerators, the one that decides on the next step while one runs."""
