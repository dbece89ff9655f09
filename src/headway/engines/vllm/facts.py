"""What is known of a vLLM engine, and the trace that begins with it."""

from __future__ import annotations

from msgspec import Struct

from headway.core.trace import FileTrace, TraceHeader
from headway.engines.vllm.settings import Settings


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of a vLLM engine.

    Parameters
    ----------
    model : str
        Its name.
    version : str
        vLLM's.
    num_layers : int
        Layers of the model, >= 1.
    num_blocks, block_size : int
        Blocks of KV memory and tokens per block, >= 1.
    caching : bool
        Whether prefixes are remembered.
    max_seqs : int
        The most requests that can run at once, >= 1.
    max_tokens : int
        The most tokens of one step, >= `max_seqs`.
    """

    model: str
    version: str
    num_layers: int
    num_blocks: int
    block_size: int
    caching: bool
    max_seqs: int
    max_tokens: int


def trace_of(settings: Settings, facts: Facts) -> FileTrace | None:
    """Open the trace that the settings ask for, if any; its first line says what decides, and in what engine."""
    if not settings.trace:
        return None
    about: dict[str, str | int] = {
        "engine": f"vllm {facts.version}",
        "model": facts.model,
        "num_layers": facts.num_layers,
    }
    header = TraceHeader(
        family="serving",
        policy=settings.policy,
        params=settings.policy_params,
        seed=settings.seed,
        facts={**about, "num_blocks": facts.num_blocks, "block_size": facts.block_size, "max_seqs": facts.max_seqs},
    )
    trace = FileTrace(settings.trace, header)
    trace.flush()  # vLLM may be ended without a word
    return trace
