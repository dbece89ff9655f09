"""Run steps of many sequences through one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from headway.core.errors import ConfigError
from headway.engines.llm import loader, memory
from headway.engines.llm.attention import KvPools
from headway.engines.llm.gates import Gate, StoredStates
from headway.engines.llm.linears import pack_linears, pack_one
from headway.engines.llm.native import kernels as choose_kernels
from headway.engines.llm.plugging import find_attention, find_layers, plug_attention
from headway.engines.llm.rows import Columns, Row
from headway.engines.llm.slots import Ints, SlotTable
from headway.engines.llm.step import StepBatch, build_step, under_way

if TYPE_CHECKING:
    from headway.engines.llm.config import EngineConfig
    from headway.engines.llm.native import Kernels
    from headway.engines.llm.native.protocol import WeightKind


@dataclass(frozen=True)
class Facts:
    """What is known of a loaded model.

    Attributes
    ----------
    name : str
        The name it is served under.
    context_tokens : int
        Longest prompt plus output.
    vocab_size : int
        Width of the logits; a tokenizer may know fewer tokens.
    eos_ids : tuple of int
        Tokens that end an output.
    num_layers : int
        Decoder layers.
    dtype, device, kernels, quantize : str
        What it computes in, where, with which kernels (``"native"`` or ``"torch"``), on what kind of weights.
    adapters : tuple of str
        Names of the LoRA adapters that `Runner.open` accepts.
    """

    name: str
    context_tokens: int
    vocab_size: int
    eos_ids: tuple[int, ...]
    num_layers: int
    dtype: str
    device: str
    kernels: str
    quantize: str
    adapters: tuple[str, ...]


def _silently(what: str) -> None:
    del what


class Runner:
    """A loaded model with its KV memory, and slots that remember the sequences it works on.

    Policies and requests are unknown here: a runner computes the pieces it is told to, with the blocks it is given.

    Parameters
    ----------
    config : EngineConfig
        Which model, on what, with how much memory.
    progress : callable
        Is told in a few words what is being done while the model loads.

    Attributes
    ----------
    facts : Facts
        What is known of the model.
    num_blocks, block_size : int
        The KV pool: so many blocks of so many tokens each.

    Raises
    ------
    ConfigError
        In one sentence, before any work is lost, when something cannot work.
    """

    def __init__(self, config: EngineConfig, progress: Callable[[str], None] = _silently) -> None:
        checkpoint = loader.load(config, progress)
        self._model = checkpoint.model
        self.block_size = config.block_size
        self._kernels = _kernels_for(config, self._model.device)
        num_layers = int(checkpoint.config.num_hidden_layers)
        attending = find_attention(self._model, num_layers)
        shapes = [shape for _, shape in attending]
        like = next(self._model.parameters())
        self.num_blocks = _num_blocks(config, checkpoint.context_tokens, shapes, like)
        self._pools = KvPools.allocate(self._kernels, shapes, self.num_blocks, self.block_size, like)
        plug_attention(self._model, attending, self._pools)
        self._stored = StoredStates()
        layers = find_layers(self._model, num_layers)
        self._gates = [Gate(index, layer, self._stored) for index, layer in enumerate(layers)]
        progress("packing weights")
        head = _pack(self._model, self._kernels, config)
        self._table = SlotTable(config.max_seqs, checkpoint.context_tokens, self.block_size)
        self.facts = Facts(
            name=config.name or config.model.rstrip("/").rsplit("/", 1)[-1],
            context_tokens=checkpoint.context_tokens,
            vocab_size=head.out_features,
            eos_ids=checkpoint.eos_ids,
            num_layers=num_layers,
            dtype=str(like.dtype).removeprefix("torch."),
            device=str(self._model.device),
            kernels=self._kernels.name,
            quantize=config.quantize,
            adapters=tuple(config.adapters),
        )

    def open(self, prompt: Sequence[int], adapter: str = "") -> int:
        """Take a slot for a sequence that begins with `prompt`.

        Parameters
        ----------
        prompt : sequence of int
            Its known tokens, 1 to `facts.context_tokens` of them, each in ``[0, vocab_size)``. A list or a numpy array.
        adapter : str
            The LoRA adapter it runs with; empty for the base model.
        """
        return self._table.open(prompt, self._adapter_index(adapter))

    def append(self, slots: Sequence[int] | Ints, tokens: Sequence[int] | Ints) -> None:
        """Add one known token to each of several different slots, all at once.

        Parameters
        ----------
        slots : sequence of int
            Which slots. Lists or numpy arrays.
        tokens : sequence of int
            One token for each.
        """
        self._table.append(slots, tokens)

    def set_blocks(self, slot: int, blocks: Sequence[int]) -> None:
        """Say which KV blocks hold the positions of a slot, from the first on. To be called when they change."""
        self._table.set_blocks(slot, blocks)

    def close(self, slot: int) -> None:
        """Forget a slot's sequence. Its blocks are the caller's and keep their content."""
        self._stored.drop(slot)
        self._table.close(slot)

    def run(self, rows: Sequence[Row] | Columns) -> Tensor | None:
        """Compute one step.

        Parameters
        ----------
        rows : sequence of Row, or Columns
            The pieces, at least one, at most one per slot. Columns are the fast way.

        Returns
        -------
        Tensor or None
            float32 logits `[sampled, vocab_size]` in the order of the rows that sample; None when none does. They are
            the caller's to change.
        """
        columns = rows if isinstance(rows, Columns) else Columns.of(rows)
        step = build_step(self._table, columns, self.facts.num_layers)
        with torch.inference_mode(), under_way(step):
            return self._forward(step)

    def _forward(self, step: StepBatch) -> Tensor | None:
        inputs: dict[str, Any] = {
            "input_ids": step.input_ids.unsqueeze(0),
            "position_ids": step.positions.unsqueeze(0),
            "use_cache": False,
        }
        if step.sampled is None:
            self._model.base_model(**inputs)
            return None
        logits = self._model(**inputs, logits_to_keep=step.sampled).logits
        return cast(Tensor, logits)[0].float()

    def _adapter_index(self, adapter: str) -> int:
        return 1 + self.facts.adapters.index(adapter) if adapter else 0


def _kernels_for(config: EngineConfig, device: torch.device) -> Kernels:
    return choose_kernels("native" if config.native and device.type == "cpu" else "torch")


def _num_blocks(config: EngineConfig, context_tokens: int, shapes: Any, like: Tensor) -> int:
    block_bytes = memory.bytes_per_block(shapes, config.block_size, like.dtype)
    most = config.max_seqs * -(-context_tokens // config.block_size)
    return memory.num_blocks(config.kv_bytes, memory.free_bytes(like.device), block_bytes, most)


def _pack(model: Any, kernels: Kernels, config: EngineConfig) -> Any:
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ConfigError(f"model {config.model}: must have a linear output layer, got {type(head).__name__}.")
    kind: WeightKind | None = "int8" if config.quantize == "int8" else None
    packed = pack_one(head, kernels, kind, torch.float32)
    model.set_output_embeddings(packed)
    pack_linears(model, kernels, kind)
    return packed
