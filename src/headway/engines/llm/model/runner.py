"""Run steps of many sequences through one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headway.core.errors import ConfigError, unknown_name
from headway.engines.llm.model import loader
from headway.engines.llm.model.layout import build_step
from headway.engines.llm.model.lent import check_can_lend
from headway.engines.llm.model.lora import attach_adapters
from headway.engines.llm.model.rows import Columns, Row
from headway.engines.llm.model.served import ServedModel
from headway.engines.llm.model.slots import Ints, SlotTable

if TYPE_CHECKING:
    from torch import Tensor

    from headway.engines.llm.config import EngineConfig
    from headway.engines.llm.model.holder import Holder


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
    fused : bool
        Whether decoder layers run as fused kernels.
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
    fused: bool
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
        self._served = ServedModel(checkpoint, config, progress)
        self.block_size = config.block_size
        self.num_blocks = self._served.num_blocks
        self._table = SlotTable(config.max_seqs, checkpoint.context_tokens, self.block_size)
        self._served.pools.lent = self._table.lent
        self._folders = dict(config.adapters)
        self.facts = Facts(
            name=config.name or config.model.rstrip("/").rsplit("/", 1)[-1],
            context_tokens=checkpoint.context_tokens,
            vocab_size=self._served.vocab_size,
            eos_ids=checkpoint.eos_ids,
            num_layers=self._served.num_layers,
            dtype=str(checkpoint.model.dtype).removeprefix("torch."),
            device=str(checkpoint.model.device),
            kernels=self._served.kernels.name,
            fused=self._served.fused,
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

        Raises
        ------
        UnknownName
            When there is no such adapter.
        """
        return self._table.open(prompt, self._adapter_index(adapter))

    def append(self, slots: Sequence[int] | Ints | int, tokens: Sequence[int] | Ints | int) -> None:
        """Add one known token to each of several different slots, all at once.

        Parameters
        ----------
        slots : sequence of int, or int
            Which slots. Lists or numpy arrays; or a single slot.
        tokens : sequence of int, or int
            One token for each.
        """
        self._table.append(slots, tokens)

    def set_blocks(self, slot: int, blocks: Sequence[int], first: int = 0) -> None:
        """Say which KV blocks hold the positions of a slot, to be called when they change.

        Parameters
        ----------
        slot : int
            Which slot.
        blocks : sequence of int
            All its blocks, in order.
        first : int
            How many of them, from the front, are as they were; 0 by default.
        """
        self._table.set_blocks(slot, blocks, first)

    def lend(self, slot: int, num_blocks: int, holder: Holder) -> bool:
        """Let a holder keep the oldest of a slot's blocks that are still here; attention stays exact.

        Parameters
        ----------
        slot : int
            Whose.
        num_blocks : int
            How many, >= 1; all their tokens must be computed, and the place of the next token stays here.
        holder : Holder
            Who.

        Returns
        -------
        bool
            Whether it had room. If so, the blocks are the caller's to use for something else; their entries in
            `set_blocks` are not read any more.

        Raises
        ------
        ConfigError
            When some layer of the model sees a window alone.
        """
        lent = self._table.lent
        check_can_lend(self._served.sliding_windows)
        first, pools = lent.num_blocks(slot), self._served.pools
        blocks = self._table.blocks[slot, first : first + num_blocks]
        return lent.lend(slot, blocks, holder, list(zip(pools.keys, pools.values, strict=True)))

    def close(self, slot: int) -> None:
        """Forget a slot's sequence. Its blocks are the caller's and keep their content."""
        self._served.stored.drop(slot)
        self._table.close(slot)

    @property
    def kv_sides(self) -> list[Tensor]:
        """The KV memory as bytes: uint8 `[num_blocks, bytes]` per layer, keys and values apart."""
        import torch

        pools = self._served.pools
        return [side.view(self.num_blocks, -1).view(torch.uint8) for side in (*pools.keys, *pools.values)]

    @property
    def num_shares(self) -> int:
        """Into how many parts the compute can be split: threads on a CPU; a GPU has no streams of its own here."""
        import torch

        return torch.get_num_threads() if self._served.model.device.type == "cpu" else 1

    def adopt(self, name: str, folder: str) -> None:
        """Serve one more LoRA adapter from now on, or the same again.

        Parameters
        ----------
        name : str
            What requests call it.
        folder : str
            Where it lies, in `peft` format.

        Raises
        ------
        ConfigError
            When it cannot be read, does not fit the model, or another has its name.
        """
        known = self._folders.get(name)
        if known == folder:
            return
        if known is not None or name == self.facts.name:
            raise ConfigError(f"adapter {name}: its name must be new, but it is taken. Choose another name.")
        attach_adapters(self._served.model, {name: folder}, first=1 + len(self._folders))
        self._folders[name] = folder
        self.facts = replace(self.facts, adapters=(*self.facts.adapters, name))

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
        return self._served.forward(build_step(self._table, columns, self.facts.num_layers))

    def _adapter_index(self, adapter: str) -> int:
        if not adapter:
            return 0
        if adapter not in self.facts.adapters:
            raise unknown_name("adapter", adapter, self.facts.adapters)
        return 1 + self.facts.adapters.index(adapter)
