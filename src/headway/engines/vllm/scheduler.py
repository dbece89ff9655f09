"""The scheduler that vLLM loads. The only file that imports vLLM; what is internal to it, only this one changes.

    vllm serve MODEL --scheduler-cls headway.engines.vllm.scheduler.HeadwayScheduler \\
        --additional-config '{"headway": {"policy": "serving/headway"}}'

vLLM's own scheduler still allocates its memory, prepares the model's input and books what comes out. What it asks us
is who is in the next step, and with how many tokens. Three of its seams carry that in: the queue of those who wait
shows only whom the plan starts, in the plan's order (`Waiting`); a hook through which every request of a step passes
limits its tokens to those of the plan; whom the plan preempts is preempted before the step is put together. It is built
on the asynchronous scheduler, so that the next step is decided on while the one before it is computed.

If hosting the policy fails, by our fault or by a change of vLLM, vLLM's own order serves from then on, first come,
first served, and nothing is lost.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import vllm
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreEventType, EngineCoreOutput, EngineCoreOutputs, FinishReason
from vllm.v1.request import Request as VllmRequest
from vllm.v1.request import RequestStatus

from headway.core.clock import WallClock
from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.engines.vllm.arrivals import Arrivals
from headway.engines.vllm.asks import asks_of, rejection
from headway.engines.vllm.chain import Chain
from headway.engines.vllm.facts import Facts
from headway.engines.vllm.host import Host
from headway.engines.vllm.internals import check_attributes, check_methods
from headway.engines.vllm.plan import NO_TOKENS, Plan, Run
from headway.engines.vllm.settings import build_policy, settings_of
from headway.engines.vllm.versions import check
from headway.engines.vllm.waiting import Waiting

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput

log = logging.getLogger(__name__)

REASONS = {
    RequestStatus.FINISHED_STOPPED: "stop",
    RequestStatus.FINISHED_LENGTH_CAPPED: "length",
    RequestStatus.FINISHED_IGNORED: "length",
    RequestStatus.FINISHED_REPETITION: "stop",
    RequestStatus.FINISHED_ABORTED: "cancelled",
    RequestStatus.FINISHED_ERROR: "error",
}
NUM_ENDED = 256
"""Of so many requests that have ended, the hashes are kept, so that what they leave in the cache can be pinned."""


class HeadwayScheduler(AsyncScheduler):  # type: ignore[misc]  # vLLM has no types that a strict reading could follow
    """vLLM's scheduler, in which a policy of ours decides.

    The parameters are those of vLLM's own scheduler. What is told to Headway stands in vLLM's additional configuration
    (`Settings`).

    Raises
    ------
    ConfigError
        When this release of vLLM was not tested, the policy needs what vLLM cannot do, or vLLM is set up for
        something that is not hosted.
    """

    host: Host | None = None
    """Who decides; None once vLLM decides by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check(vllm.__version__)
        check_methods(AsyncScheduler, vllm.__version__)
        super().__init__(*args, **kwargs)
        check_attributes(self, vllm.__version__)
        refuse_what_is_not_hosted(self)
        settings = settings_of(self.vllm_config.additional_config)
        policy = build_policy(settings)
        self.waiting = self._queue = Waiting[VllmRequest]()
        self._overlaps = bool(self.scheduler_config.async_scheduling)
        self._reserves_full_isl = bool(self.scheduler_config.scheduler_reserve_full_isl)
        self.scheduler_reserve_full_isl = False  # whether a prompt fits is the policy's business
        self._arrivals = Arrivals(settings, self.max_model_len)
        self._cap = NO_TOKENS
        self._tickets: deque[tuple[Run | None, Seconds]] = deque()
        self._heard_s: Seconds = 0.0
        self._compiling: dict[Id, VllmRequest] = {}
        self._turned: list[tuple[int, EngineCoreOutput]] = []
        self._ended: OrderedDict[Id, list[bytes]] = OrderedDict()
        self._kept: dict[Id, list[Any]] = {}
        self._clock = WallClock()
        self.host = Host(settings, policy, facts_of(self), self._clock, self)
        log.info("Headway: %s decides.", settings.policy)

    # Requests --------------------------------------------------------------------------------------------------------

    def add_request(self, request: VllmRequest) -> None:
        """Take in a request, and tell of it as soon as it can be run."""
        super().add_request(request)
        if self.host is None:
            return
        if request.resumable:
            self._end_with(request, rejection("sessions of streamed input are not scheduled by Headway"))
        elif request.status == RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR:
            self._compiling[request.request_id] = request
        else:
            self._welcome(request)

    def _welcome(self, request: VllmRequest) -> None:
        try:
            self._tell_arrival(request)
        except Exception:
            self._step_aside()

    def _tell_arrival(self, request: VllmRequest) -> None:
        work = self._arrivals.read(request, self._clock.now_s())
        if self.host is not None:
            self.host.arrive(work, Chain(request.block_hashes, len(work.hashes)))

    def _free_request(self, request: VllmRequest, delay_free_blocks: bool = False) -> Any:
        """Hear of every end of a request, whoever caused it."""
        if self.host is not None:
            try:
                self._note_end(self.host, request)
            except Exception:
                self._step_aside()
        return super()._free_request(request, delay_free_blocks)

    def _note_end(self, host: Host, request: VllmRequest) -> None:
        name = request.request_id
        self._compiling.pop(name, None)
        self._ended[name] = request.block_hashes
        if len(self._ended) > NUM_ENDED:
            self._ended.popitem(last=False)
        reason = REASONS[request.status]
        if reason == "cancelled" and request.num_output_tokens and request.sampling_params.stop:
            reason = "stop"  # stop strings are found by the API server, which then cancels
        host.end(name, reason, request.num_output_tokens, asks_of(request.sampling_params.extra_args).calls)

    def _end_with(self, request: VllmRequest, why: str) -> None:
        """End a request that waits, and tell its sender why."""
        self.finish_requests(request.request_id, RequestStatus.FINISHED_ABORTED)
        if self.log_stats and not request.num_preemptions:  # or vLLM's metrics would say that it waited since ever
            request.record_event(EngineCoreEventType.SCHEDULED)
        told = EngineCoreOutput(
            request_id=request.request_id,
            new_token_ids=_last_word(request),
            finish_reason=FinishReason.ABORT,
            stop_reason=why,
            events=request.take_events(),
            trace_headers=request.trace_headers,
        )
        self._turned.append((request.client_index, told))

    # Steps -----------------------------------------------------------------------------------------------------------

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        """Ask the policy, and let vLLM put its step together."""
        if self.host is None or self._pause_state == PauseState.PAUSED_ALL:
            self._tickets.append((None, 0.0))
            return super().schedule(throttle_prefills)
        plan = self._prepare(self.host)
        output = super().schedule(throttle_prefills)
        run = self._settle(self.host, plan, output) if self.host is not None and plan is not None else None
        self._tickets.append((run, self._clock.now_s()))
        return output

    def _prepare(self, host: Host) -> Plan | None:
        try:
            if self._compiling:
                self._welcome_compiled()
            if self.host is None:
                return None
            plan = host.plan()
            self._carry_out(plan)
        except Exception:
            self._step_aside()
            return None
        self._cap = plan.tokens
        self._queue.show(plan.starts)
        return plan

    def _carry_out(self, plan: Plan) -> None:
        for name in plan.preempts:
            request = self.requests.get(name)
            if request is not None and request.status == RequestStatus.RUNNING:
                self.running.remove(request)
                super()._preempt_request(request, time.monotonic(), drop_stale_output=self.requires_kv_delivery)
        for name, why, retry_after_s in plan.turned:
            if name in self.requests:
                self._end_with(self.requests[name], rejection(why, retry_after_s))

    def _settle(self, host: Host, plan: Plan, output: SchedulerOutput) -> Run | None:
        try:
            done = output.num_scheduled_tokens
            found = {}
            for name in plan.starts:
                if name in done:
                    found[name] = self.requests[name].num_computed_tokens - done[name]
            return host.settle(plan, done, output.total_num_scheduled_tokens, found)
        except Exception:
            self._step_aside()
            return None

    def _welcome_compiled(self) -> None:
        """Tell of requests whose grammar is ready."""
        for name, request in list(self._compiling.items()):
            if self._handle_blocked_waiting_request(request):
                self._compiling.pop(name, None)
                self.deferred_waiting.discard(request)
                self._welcome(request)

    def _reserve_prefill_lookahead(self, request: VllmRequest, num_computed_tokens: int, num_new_tokens: int) -> int:
        """Limit the tokens of a request in a step to those of the plan. Every request of a step passes here."""
        if self.host is None:
            return int(super()._reserve_prefill_lookahead(request, num_computed_tokens, num_new_tokens))
        planned = self._cap.get(request.request_id, 0)
        return planned if planned < num_new_tokens else num_new_tokens

    def _preempt_request(self, request: VllmRequest, timestamp: float, drop_stale_output: bool = False) -> None:
        """Hear of a request that vLLM itself preempts."""
        super()._preempt_request(request, timestamp, drop_stale_output)
        if self.host is not None:
            try:
                self.host.lose(request.request_id)
            except Exception:
                self._step_aside()

    def update_from_output(self, scheduler_output: SchedulerOutput, model_runner_output: Any) -> Any:
        """Hear what came of a step, and book it."""
        run, begun_s = self._tickets.popleft()
        if run is not None and self.host is not None:
            now_s = self._clock.now_s()
            self._hear(self.host, run, now_s - max(begun_s, self._heard_s))
            self._heard_s = now_s
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        if self._turned:
            self._tell_turned(outputs)
        return outputs

    # Where steps do not overlap (on a CPU they never do), placeholders for tokens to come are only work.

    def _update_after_schedule(self, scheduler_output: SchedulerOutput) -> None:
        if self._overlaps:
            super()._update_after_schedule(scheduler_output)
        else:
            Scheduler._update_after_schedule(self, scheduler_output)

    def _update_request_with_output(
        self, request: VllmRequest, new_token_ids: list[int], is_stale: bool = False
    ) -> Any:
        if self._overlaps:
            return super()._update_request_with_output(request, new_token_ids, is_stale)
        return Scheduler._update_request_with_output(self, request, new_token_ids, is_stale)

    def _hear(self, host: Host, run: Run, took_s: Seconds) -> None:
        try:
            host.ran(run, took_s)
        except Exception:
            self._step_aside()

    def _tell_turned(self, outputs: dict[int, EngineCoreOutputs]) -> None:
        for client, told in self._turned:
            outputs.setdefault(client, EngineCoreOutputs()).outputs.append(told)
        self._turned = []

    def _step_aside(self) -> None:
        """Let vLLM decide by itself from now on."""
        log.exception("Headway could not go on. vLLM's own order serves from now on, first come, first served.")
        host, self.host = self.host, None
        self._queue.own_order = True
        self.scheduler_reserve_full_isl = self._reserves_full_isl
        self._compiling.clear()
        for owner in list(self._kept):
            self.let_go(owner)
        if host is not None:
            _quietly(host.close)

    # Memory that is pinned -------------------------------------------------------------------------------------------

    def keep(self, owner: Id, request: Id, num_blocks: int) -> None:
        """Hold the first blocks of a request that runs or has just ended, as far as they are cached."""
        living = self.requests.get(request)
        hashes = living.block_hashes if living is not None else self._ended.get(request, [])
        pool, blocks = self.kv_cache_manager.block_pool, []
        for hash_ in hashes[:num_blocks]:
            found = pool.get_cached_block(hash_, [0])
            if not found:
                break
            blocks += found
        pool.touch(blocks)
        self.let_go(owner)
        self._kept[owner] = blocks

    def let_go(self, owner: Id) -> None:
        """Let go of what is held for an owner."""
        blocks = self._kept.pop(owner, None)
        if blocks:
            self.kv_cache_manager.block_pool.free_blocks(reversed(blocks))

    def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        """Forget all prefixes, those that are pinned among them."""
        for owner in list(self._kept):
            self.let_go(owner)
        return bool(super().reset_prefix_cache(reset_running_requests, reset_connector))

    def shutdown(self) -> None:
        """End the session, then vLLM's scheduler."""
        if self.host is not None:
            _quietly(self.host.close)
        super().shutdown()


def _last_word(request: VllmRequest) -> list[int]:
    """Return a token that says nothing: vLLM's API keeps the end of a stream to itself that comes without a token.

    A token whose log-probabilities are asked for and not there would be an error.
    """
    if request.sampling_params.logprobs is not None:
        return []
    return [getattr(request.sampling_params, "_eos_token_id", None) or 0]


def _quietly(close: Any) -> None:
    try:
        close()
    except Exception:
        log.exception("Headway: the session could not be closed")


def facts_of(scheduler: Scheduler) -> Facts:
    """Return what is known of a vLLM engine by its scheduler."""
    config = scheduler.vllm_config
    num_layers = config.model_config.get_num_layers(config.parallel_config)
    return Facts(
        model=str(config.model_config.served_model_name or config.model_config.model),
        version=vllm.__version__,
        num_layers=max(1, num_layers),
        num_blocks=scheduler.cache_config.num_gpu_blocks - 1,  # one is nobody's
        block_size=scheduler.block_size,
        caching=bool(scheduler.cache_config.enable_prefix_caching),
        max_seqs=scheduler.max_num_active_reqs,
        max_tokens=scheduler.max_num_scheduled_tokens,
        max_adapters=scheduler.lora_config.max_loras if scheduler.lora_config is not None else 0,
        index=config.parallel_config.data_parallel_index,
    )


def refuse_what_is_not_hosted(scheduler: Scheduler) -> None:
    """Refuse to start where a policy could not be told what happens.

    Raises
    ------
    ConfigError
        With one sentence on what to leave out.
    """
    config = scheduler.vllm_config
    groups = scheduler.kv_cache_config.kv_cache_groups
    refused = {
        "speculative decoding; leave --speculative-config out": config.speculative_config is not None,
        "models that do not generate": config.model_config.runner_type != "generate",
        "encoder-decoder models": scheduler.is_encoder_decoder,
        "a KV or encoder connector; leave its --...-transfer-config out": (
            scheduler.connector is not None or scheduler.ec_connector is not None
        ),
        "pipeline parallelism; set --pipeline-parallel-size 1": config.parallel_config.pipeline_parallel_size > 1,
        "a context split over devices; set --decode-context-parallel-size 1": scheduler.dcp_world_size > 1,
        "whole prompts only; leave --no-enable-chunked-prefill out": (
            not scheduler.scheduler_config.enable_chunked_prefill
        ),
        "a prefix cache of model states; set --no-enable-prefix-caching": scheduler.need_mamba_block_aligned_split,
        "images computed in one piece; set --language-model-only, or leave --disable-chunked-mm-input out": (
            scheduler.scheduler_config.disable_chunked_mm_input and config.model_config.supports_multimodal_inputs
        ),
        "several kinds of KV memory; try --disable-hybrid-kv-cache-manager": len(groups) != 1,
    }
    for what, is_so in refused.items():
        if is_so:
            raise ConfigError(f"vllm: Headway's scheduler does not go with {what}.")
