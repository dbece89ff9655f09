"""A bench for vLLM's schedulers: the real object with a real configuration, stepped as `EngineCore` steps it.

No weights, no processes, no server: a step takes a fraction of a millisecond. Both orders of `vllm.v1.engine.core` are
there: `step` (schedule, execute, update) and `step_with_batch_queue` (two batches under way, so that a step is
scheduled before the output of the one before it is known).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from engines.vllm.model import STOP, NoModel
from headway.core.nouns import Seconds
from headway.sim.serving.price import StepPrice

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import ModelRunnerOutput
    from vllm.v1.request import Request

SYNC = "vllm.v1.core.sched.scheduler.Scheduler"
ASYNC = "vllm.v1.core.sched.async_scheduler.AsyncScheduler"
HOSTED = "headway.engines.vllm.scheduler.HeadwayScheduler"
VOCAB = 100
FAR_S = 4e9
BREATH_S = 1e-2
"""So long does a step take in which nothing was computed; `EngineCore` then sleeps for a millisecond at least."""


class HandClock:
    """A clock that somebody moves."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now_s(self) -> Seconds:
        """Return the present."""
        return self._now_s

    def move_to(self, at_s: Seconds) -> None:
        """Let it be `at_s`, unless it is later."""
        self._now_s = max(self._now_s, at_s)

    async def sleep_until(self, at_s: Seconds) -> None:
        """Nobody sleeps in a scheduler."""
        raise NotImplementedError


class Told(Struct):
    """What the API server has been told of a request."""

    id: str
    prompt_tokens: int
    expected: int
    tokens: list[int] = field(default_factory=list)
    finish: str = ""
    stop_reason: int | str | None = None
    cancelled: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more may come."""
        return bool(self.finish) or self.cancelled


class Rig:
    """A scheduler on the bench.

    Parameters
    ----------
    scheduler : str or type
        The class, or its dotted name, as in ``--scheduler-cls``.
    num_blocks : int
        KV blocks that requests can use; vLLM is given one more, which it keeps empty.
    block_size, max_seqs, max_batched_tokens, context_tokens : int
        vLLM's settings; a context is as long as the memory by default, at most 4096 tokens.
    caching : bool
        Whether prefixes are remembered.
    overlapped : bool
        Whether a step is scheduled before the one before it has ended.
    headway : mapping or None
        The section ``headway`` of ``--additional-config``.
    checks : bool
        Whether the model checks memory; see `NoModel`.
    tokens_with_new : bool
        Whether preempted requests are sent to the runner as new ones, as for vLLM's second model runner.
    price : StepPrice or None
        How long steps take; Headway's scheduler is then given a clock that moves by these times alone.
    on_executed : callable or None
        Called when a step has computed something, before its output is handed back.
    """

    def __init__(
        self,
        scheduler: str | type = SYNC,
        *,
        num_blocks: int = 256,
        block_size: int = 16,
        max_seqs: int = 64,
        max_batched_tokens: int = 2048,
        context_tokens: int | None = None,
        caching: bool = True,
        overlapped: bool = False,
        headway: Mapping[str, Any] | None = None,
        scheduling_policy: str = "fcfs",
        checks: bool = True,
        tokens_with_new: bool = False,
        price: StepPrice | None = None,
        on_executed: Callable[[], None] | None = None,
        **engine_args: Any,
    ) -> None:
        self.overlapped = overlapped
        self.config = _config(
            scheduler_cls=scheduler,
            block_size=block_size,
            max_num_seqs=max_seqs,
            max_num_batched_tokens=max(max_batched_tokens, max_seqs),
            max_model_len=context_tokens or min(4096, num_blocks * block_size),
            enable_prefix_caching=caching,
            scheduling_policy=scheduling_policy,
            additional_config={} if headway is None else {"headway": dict(headway)},
            **engine_args,
        )
        self.config.scheduler_config.async_scheduling = overlapped  # vLLM never overlaps on a CPU
        self.config.cache_config.num_gpu_blocks = num_blocks + 1
        self.model = NoModel(num_blocks + 1, block_size, checks)
        self.told: dict[str, Told] = {}
        self.requests: dict[str, Request] = {}
        self.num_calls = 0
        self.surprised = False
        self.num_free_at_start = num_blocks
        self._hasher = _hasher(self.config) if caching else None
        self.on_executed = on_executed
        self.clock = HandClock()
        self._price = price
        self._idle_s = 0.0  # when the model has run all that it was given
        self._queue: deque[tuple[SchedulerOutput, ModelRunnerOutput, Seconds]] = deque()
        self._aborts: list[str] = []
        self._again: list[str] = []
        self.scheduler = self._build(num_blocks + 1)
        if tokens_with_new:
            self.scheduler.use_v2_model_runner = True
        if price is not None:
            self._set_clock()

    def _build(self, num_blocks: int) -> Scheduler:
        from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes
        from vllm.v1.structured_output import StructuredOutputManager

        kv = _kv(num_blocks, self.config.cache_config.block_size)
        block_size, hash_block_size = resolve_kv_cache_block_sizes(kv, self.config)
        scheduler_class: Any = self.config.scheduler_config.get_scheduler_cls()
        built: Scheduler = scheduler_class(
            vllm_config=self.config,
            kv_cache_config=kv,
            structured_output_manager=StructuredOutputManager(self.config),
            block_size=block_size,
            hash_block_size=hash_block_size,
            include_finished_set=False,
            log_stats=True,
        )
        return built

    def _set_clock(self) -> None:
        hosted: Any = self.scheduler
        if hasattr(hosted, "host"):
            hosted._clock = hosted.host._clock = self.clock

    # What comes in ---------------------------------------------------------------------------------------------------

    def add(
        self,
        id: str,
        prompt: int | Sequence[int],
        max_tokens: int = 16,
        stops_at: int | None = None,
        priority: int = 0,
        xargs: Mapping[str, Any] | None = None,
        sampling: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Send a request: its prompt (or how many tokens of its own), and after how many tokens the model stops.

        `sampling` and `more` are what else vLLM's `SamplingParams` and `Request` take.
        """
        from vllm.sampling_params import SamplingParams
        from vllm.v1.request import Request

        tokens = prompt_of(id, prompt) if isinstance(prompt, int) else list(prompt)
        how: dict[str, Any] = dict(sampling or {})
        if stops_at is not None:
            how["stop_token_ids"] = [STOP]
        params = SamplingParams(max_tokens=max_tokens, extra_args=dict(xargs) if xargs else None, **how)
        room = self.config.model_config.max_model_len - len(tokens)
        self.told[id] = Told(id, len(tokens), min(max_tokens, stops_at or max_tokens, room))
        if stops_at is not None:
            self.model.stops_at[id] = stops_at
        arrival_s = None if self._price is None else FAR_S + self.clock.now_s()  # not before now, whenever that is
        request = Request(
            id, tokens, params, None, priority=priority, arrival_time=arrival_s, block_hasher=self._hasher, **more
        )
        self.requests[id] = request
        self.scheduler.add_request(request)

    def cancel(self, id: str) -> None:
        """Send that nobody waits for a request any more; as in `EngineCore`, it is heard twice."""
        self._aborts.append(id)
        if not self.told[id].over:
            self.told[id].cancelled = True

    # What happens ----------------------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether `EngineCore` would step."""
        return self.scheduler.has_requests() or bool(self._queue)

    @property
    def num_free(self) -> int:
        """Blocks that vLLM could give away now."""
        return self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()

    @property
    def num_in_flight(self) -> int:
        """Steps that were scheduled and whose output is not known."""
        return len(self._queue)

    def step(self) -> bool:
        """Step once; says whether a step was scheduled that computes something."""
        self._abort(self._again)
        self._again = []
        if not self.has_work:
            self._aborts = []  # as `EngineCore` does when nothing is left to abort
            return False
        self.num_calls += 1
        did = self._step_overlapped() if self.overlapped else self._step()
        if not did and self.scheduler.has_requests():
            self.clock.move_to(self.clock.now_s() + BREATH_S)
        return did

    def run(self, max_calls: int = 10_000) -> None:
        """Step until nothing is left to do.

        Raises
        ------
        AssertionError
            When something is left after `max_calls` steps.
        """
        for _ in range(max_calls):
            self.step()
            if not self.has_work and not self._aborts and not self._again:
                return
        left = [told.id for told in self.told.values() if not told.over]
        raise AssertionError(f"after {max_calls} steps these have not ended: {left}")

    def _step(self) -> bool:
        if not self.scheduler.has_requests():
            return False
        told = self.scheduler.schedule()
        self._update(told, *self._execute(told))
        return told.total_num_scheduled_tokens > 0

    def _step_overlapped(self) -> bool:
        did = False
        if self.scheduler.has_requests():
            told = self.scheduler.schedule()
            did = told.total_num_scheduled_tokens > 0
            self._queue.appendleft((told, *self._execute(told)))
            if len(self._queue) < 2 and (did or self.scheduler.has_requests()):
                return did
        if self._queue:
            self._update(*self._queue.pop())
        return did

    def _execute(self, told: SchedulerOutput) -> tuple[ModelRunnerOutput, Seconds]:
        """Hand a step to the model; returns what comes of it, and when."""
        self.scheduler.get_grammar_bitmask(told)
        output = self.model.run(told)
        self._idle_s = max(self._idle_s, self.clock.now_s())
        if self._price is not None and told.total_num_scheduled_tokens:
            self._idle_s += self._price.step_s(self.model.shape)
        return output, self._idle_s

    def _update(self, told: SchedulerOutput, output: ModelRunnerOutput, end_s: Seconds) -> None:
        self.clock.move_to(end_s)
        if self.on_executed is not None and told.total_num_scheduled_tokens:
            self.on_executed()
        self._abort(self._aborts)
        self._aborts, self._again = [], self._again + self._aborts
        for outputs in self.scheduler.update_from_output(told, output).values():
            for item in outputs.outputs:
                self._hear(item)

    def _abort(self, ids: list[str]) -> None:
        from vllm.v1.request import RequestStatus

        if ids:
            self.scheduler.finish_requests(ids, RequestStatus.FINISHED_ABORTED)

    def _hear(self, item: Any) -> None:
        told = self.told[item.request_id]
        assert not told.over, f"{told.id} has ended, and there is news of it"
        told.tokens += item.new_token_ids
        if item.finish_reason is not None:
            told.finish = str(item.finish_reason)
            told.stop_reason = item.stop_reason

    # What must hold --------------------------------------------------------------------------------------------------

    def check_all_ended(self) -> None:
        """Check that every request got what it was to get, and that nothing is left of any."""
        for told in self.told.values():
            assert told.over, f"{told.id} has not ended"
            if told.finish in ("stop", "length"):
                assert len(told.tokens) == told.expected, f"{told.id}: {len(told.tokens)} tokens, not {told.expected}"
        assert not self.scheduler.requests
        assert not self.scheduler.running
        assert self.scheduler.get_request_counts() == (0, 0)
        assert self.num_free == self.num_free_at_start, f"{self.num_free} of {self.num_free_at_start} blocks are free"


def prompt_of(id: str, length: int) -> list[int]:
    """Return a prompt that no other request has."""
    seed = sum(ord(char) * 131**place for place, char in enumerate(id))
    return [2 + (seed >> (position % 16) ^ seed * (position + 3)) % (VOCAB - 2) for position in range(length)]


def _hasher(config: VllmConfig) -> Any:
    from vllm.utils.hashing import get_hash_fn_by_name
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash

    hash_fn = get_hash_fn_by_name(config.cache_config.prefix_caching_hash_algo)
    init_none_hash(hash_fn)
    return get_request_block_hasher(config.cache_config.block_size, hash_fn)


def _kv(num_blocks: int, block_size: int) -> KVCacheConfig:
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec

    spec = FullAttentionSpec(block_size=block_size, num_kv_heads=1, head_size=64, dtype=torch.bfloat16)
    return KVCacheConfig(num_blocks, [], [KVCacheGroupSpec(["layer"], spec)])


def _config(**args: Any) -> VllmConfig:
    from vllm.engine.arg_utils import EngineArgs

    return EngineArgs(model=_model(), skip_tokenizer_init=True, disable_log_stats=False, **args).create_engine_config()


@lru_cache
def _model() -> str:
    """Write the configuration of a model that nobody runs, and return its folder."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = tempfile.mkdtemp(prefix="headway-no-model-")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "vocab_size": VOCAB,
        "max_position_embeddings": 1 << 16,
        "dtype": "bfloat16",
    }
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    return folder
