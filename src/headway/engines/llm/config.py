"""What an LLM engine is told before it starts."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.slo import SloClass


class EngineConfig(Struct, frozen=True, kw_only=True):
    """One engine: which model, on what, with how much memory, under which policy.

    Parameters
    ----------
    model : str
        A local folder or a hub id of a decoder-only checkpoint that `transformers` can load.
    name : str
        The name it is served under; the model's own by default.
    adapters : dict of str to str
        LoRA adapters in `peft` format, folder by name.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    dtype : str
        ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``. Automatic is bfloat16 where the
        processor computes in it.
    quantize : str
        ``"none"`` or ``"int8"`` (weights only).
    kv_bytes : int
        KV memory in bytes; 0 takes a quarter of what is free (at most what `max_seqs` full contexts need).
    block_size : int
        Tokens per KV block, a multiple of 8; 16 by default.
    context_tokens : int
        Longest prompt plus output; 0 takes the model's own.
    max_seqs : int
        The most requests that run at once, >= 1.
    policy : str
        Catalogue id of the policy or of a batch seat.
    policy_params : dict
        Its parameters.
    tuner : str
        Catalogue id of who says when fine-tuning runs beside serving, ``"tuning/harli"``; empty for no fine-tuning.
    tuner_params : dict
        Its parameters.
    slo_classes : tuple of SloClass
        The promises that requests can name.
    prefix_caching : bool
        Whether prefixes are remembered.
    native : bool
        Whether compiled kernels may be used.
    seed : int
        Of sampling and of the policy.
    trace : str
        A file to write the trace to; empty for none.
    """

    model: str
    name: str = ""
    adapters: dict[str, str] = {}
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = "none"
    kv_bytes: int = 0
    block_size: int = 16
    context_tokens: int = 0
    max_seqs: int = 64
    policy: str = "serving/sarathi"
    policy_params: dict[str, Any] = {}
    tuner: str = "tuning/harli"
    tuner_params: dict[str, Any] = {}
    slo_classes: tuple[SloClass, ...] = ()
    prefix_caching: bool = True
    native: bool = True
    seed: int = 0
    trace: str = ""

    def __post_init__(self) -> None:
        _one_of("device", self.device, ("auto", "cpu", "cuda"))
        _one_of("dtype", self.dtype, ("auto", "float32", "bfloat16", "float16"))
        _one_of("quantize", self.quantize, ("none", "int8"))
        if self.block_size < 8 or self.block_size % 8:
            raise ConfigError(f"engine: block_size must be a multiple of 8, got {self.block_size}. Try 16.")
        if self.max_seqs < 1:
            raise ConfigError(f"engine: max_seqs must be >= 1, got {self.max_seqs}. Try 64.")


def _one_of(what: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ConfigError(f"engine: {what} must be one of {', '.join(legal)}, got {value!r}.")
