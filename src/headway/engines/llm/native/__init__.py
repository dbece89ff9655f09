"""CPU kernels of the LLM engine: C++ where a compiler and AVX-512 BF16 exist, pure torch elsewhere."""

from __future__ import annotations

from headway.engines.llm.native.batch import RaggedBatch
from headway.engines.llm.native.choose import kernels
from headway.engines.llm.native.layer import DecoderLayer
from headway.engines.llm.native.packed import Packed, WeightKind
from headway.engines.llm.native.protocol import Kernels

__all__ = ["DecoderLayer", "Kernels", "Packed", "RaggedBatch", "WeightKind", "kernels"]
