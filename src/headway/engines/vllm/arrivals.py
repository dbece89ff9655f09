"""Requests of vLLM's, as policies know them."""

from __future__ import annotations

import time
from typing import Any

from headway.core.nouns import Id, Seconds
from headway.engines.vllm.asks import asks_of
from headway.engines.vllm.chain import number
from headway.engines.vllm.settings import Settings
from headway.policies.serving.nouns import Request


class Arrivals:
    """Reads the requests that vLLM hands over.

    Parameters
    ----------
    settings : Settings
        What requests can name.
    max_model_len : int
        The most tokens of a request, >= 1.
    """

    def __init__(self, settings: Settings, max_model_len: int) -> None:
        self._priorities = {promise.name: promise.priority for promise in settings.slo_classes}
        self._default_slo_class = settings.default_slo_class
        self._max_model_len = max_model_len

    def read(self, request: Any, now_s: Seconds) -> Request:
        """Return a request of vLLM's as it is known to policies; `now_s` is the present by their clock."""
        asks = asks_of(request.sampling_params.extra_args)
        arrival_s = now_s - max(0.0, time.time() - request.arrival_time)
        slo_class = asks.slo_class if asks.slo_class in self._priorities else self._default_slo_class
        priority = asks.priority
        if priority is None:  # in vLLM smaller goes first, and 0 says nothing
            priority = -request.priority or self._priorities.get(slo_class, 0)
        return Request(
            id=request.request_id,
            arrival_s=arrival_s,
            prompt_tokens=request.num_prompt_tokens,
            max_tokens=max(1, min(request.max_tokens, self._max_model_len - request.num_prompt_tokens)),
            hashes=_hashes_of(request),
            adapter=_adapter_of(request),
            slo_class=slo_class,
            priority=priority,
            tenant=asks.tenant or "default",
            session=asks.session or request.session_id or "",
            stage=asks.stage,
            ttft_s=asks.ttft_s,
            tpot_s=asks.tpot_s,
            deadline_s=None if asks.deadline_s is None else arrival_s + asks.deadline_s,
        )


def _hashes_of(request: Any) -> tuple[int, ...]:
    """Return by what its prompt is found in the cache; some may not read it, for example for `prompt_logprobs`."""
    return () if request.skip_reading_prefix_cache else tuple([number(hash_) for hash_ in request.block_hashes])


def _adapter_of(request: Any) -> Id:
    """Return the name of its adapter and its number, for a name may be given to another while it is in use."""
    lora = request.lora_request
    return "" if lora is None else f"{lora.lora_name}:{lora.lora_int_id}"
