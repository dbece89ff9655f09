"""What is known of a vLLM engine."""

from __future__ import annotations

from msgspec import Struct


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
    max_adapters : int
        The most LoRA adapters that can be in use at once, >= 1; 0, the default, where there are none.
    index : int
        Its number among data-parallel engines, >= 0; 0 by default.
    """

    model: str
    version: str
    num_layers: int
    num_blocks: int
    block_size: int
    caching: bool
    max_seqs: int
    max_tokens: int
    max_adapters: int = 0
    index: int = 0
