"""A loaded model with our parts plugged in: paged attention, gates, packed and fused layers, adapters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from headway.core.errors import ConfigError
from headway.engines.llm.model import memory, probe
from headway.engines.llm.model.attention import KvPools
from headway.engines.llm.model.fused import FusedLayers
from headway.engines.llm.model.gates import Gate
from headway.engines.llm.model.lora import attach_adapters
from headway.engines.llm.model.packing import head_of, pack_model
from headway.engines.llm.model.plugging import Attending, find_attention, find_layers, plug_attention
from headway.engines.llm.model.recognise import recognise
from headway.engines.llm.model.rotary import RotaryTable, tabulate
from headway.engines.llm.model.shortcut import Shortcut, has_only_known_parts
from headway.engines.llm.model.step import StepBatch, under_way
from headway.engines.llm.model.stored import StoredStates
from headway.engines.llm.native import kernels as choose_kernels

if TYPE_CHECKING:
    from headway.engines.llm.config import EngineConfig
    from headway.engines.llm.model.loader import Checkpoint

log = logging.getLogger(__name__)


class ServedModel:
    """A model of `transformers` that computes ragged steps over paged memory.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model as loaded; it is changed in place and belongs to this object from now on.
    config : EngineConfig
        How it is to be served.
    progress : callable
        Is told in a few words what is being done.

    Attributes
    ----------
    num_blocks : int
        Blocks of the KV pool.
    vocab_size : int
        Width of the logits.
    kernels : Kernels
        Who computes.
    fused : bool
        Whether decoder layers run as fused kernels.
    pools : KvPools
        The paged memory.
    sliding_windows : tuple of int
        How far each layer sees; 0 where it sees the whole context.
    stored : StoredStates
        Pieces that wait between two layers.

    Raises
    ------
    ConfigError
        When the model cannot be served this way.
    """

    def __init__(self, checkpoint: Checkpoint, config: EngineConfig, progress: Callable[[str], None]) -> None:
        self.model = checkpoint.model
        self.num_layers = int(checkpoint.config.num_hidden_layers)
        device = self.model.device
        progress("preparing kernels")
        self.kernels = choose_kernels("native" if config.native and device.type == "cpu" else "torch")
        attending = find_attention(self.model, self.num_layers)
        self.sliding_windows = tuple(layer.sliding_window for layer in attending)
        self._like = next(self.model.parameters())
        self.num_blocks = self._take_memory(checkpoint, config, attending)
        self.vocab_size = head_of(self.model).out_features
        room_tokens = min(checkpoint.context_tokens, self.num_blocks * config.block_size)
        test = probe.Probe(self.vocab_size, room_tokens, config.block_size, self.num_layers)
        self.model.set_attn_implementation("eager")
        expected = probe.own_logits(self.model, test.tokens.to(device))
        plug_attention(self.model, attending, self.pools)
        self.stored = StoredStates()
        layers = find_layers(self.model, self.num_layers)
        self._gates = [Gate(index, layer, self.stored) for index, layer in enumerate(layers)]
        self._shortcut: Shortcut | None = None
        self._check_attention(test, expected)
        tables = tabulate(self.model, checkpoint.context_tokens)
        progress("packing weights")
        pack_model(self.model, self.kernels, "int8" if config.quantize == "int8" else None)
        self.fused = self._adopt_fused(layers, attending, tables, test, checkpoint)
        if config.adapters:
            progress("loading adapters")
            attach_adapters(self.model, config.adapters)

    def forward(self, step: StepBatch) -> Tensor | None:
        """Compute one step: float32 logits `[sampled, vocab]`, or None when nothing is sampled."""
        if self._like.device.type != "cpu":
            step = step.on(self._like.device)
        with torch.no_grad(), under_way(step):
            if self._shortcut is not None and step.fusable:
                return self._shortcut.forward(step)
            return self._long_way(step)

    def _long_way(self, step: StepBatch) -> Tensor | None:
        """Compute one step through the forward of `transformers`."""
        inputs: dict[str, Any] = {
            "input_ids": step.input_ids.unsqueeze(0),
            "position_ids": step.positions.unsqueeze(0),
            "use_cache": False,
        }
        if step.sampled is None:
            self.model.base_model(**inputs)
            return None
        return cast(Tensor, self.model(**inputs, logits_to_keep=step.sampled).logits)[0].float()

    def _take_memory(self, checkpoint: Checkpoint, config: EngineConfig, attending: list[Attending]) -> int:
        shapes = [layer.kv for layer in attending]
        block_bytes = memory.bytes_per_block(shapes, config.block_size, self._like.dtype)
        most = config.max_seqs * -(-checkpoint.context_tokens // config.block_size)
        count = memory.num_blocks(config.kv_bytes, memory.free_bytes(self._like.device), block_bytes, most)
        self.pools = KvPools(self.kernels, choose_kernels("torch"))
        self.pools.allocate(shapes, count, config.block_size, self._like)
        return count

    def _check_attention(self, test: probe.Probe, expected: Tensor) -> None:
        limit = probe.LIMITS[self._like.dtype]
        try:
            *_, ours = [self.forward(step) for step in test.steps()]
            apart = probe.logits_apart(cast(Tensor, ours), expected)
            why = f"are {apart:.2g} apart (limit {limit:g})" if apart > limit else ""
        except RuntimeError as error:
            why = f"cannot be computed ({str(error).splitlines()[0]})"
        if why:
            raise ConfigError(
                f"model {self.model.name_or_path}: its logits must stay the same with paged attention, but those of "
                f"{type(self.model).__name__} {why}. Choose another architecture."
            )

    def _adopt_fused(
        self,
        layers: list[nn.Module],
        attending: list[Attending],
        tables: list[RotaryTable],
        test: probe.Probe,
        checkpoint: Checkpoint,
    ) -> bool:
        """Let the fused kernel run the layers if it knows their build and computes the same."""
        kind = type(self.model).__name__
        with torch.no_grad():
            known = [recognise(layer, how) for layer, how in zip(layers, attending, strict=True)]
        described = [layer for layer in known if layer is not None]
        if len(described) < len(layers) or len(tables) != 1:
            log.info("the layers of %s are not of a build that can be fused; its own code runs them", kind)
            return False
        kinds = tables[0].kinds(getattr(checkpoint.config, "layer_types", None), self.num_layers)
        fused = FusedLayers(described, self.pools, tables[0], kinds)
        apart, limit = (
            probe.layers_apart(layers, self.forward, test.steps(), fused),
            probe.LAYER_LIMITS[self._like.dtype],
        )
        if apart > limit:
            log.info("fused layers are %.2g off those of %s (limit %g); its own code runs them", apart, kind, limit)
            return False
        for gate in self._gates:
            gate.fused = fused
        self._adopt_shortcut(fused, test)
        return True

    def _adopt_shortcut(self, fused: FusedLayers, test: probe.Probe) -> None:
        """Leave out the forward of `transformers` around the layers if the logits stay the same without it."""
        if not has_only_known_parts(self.model):
            return
        shortcut = Shortcut(self.model, fused, self.stored, self.kernels)
        for step in test.steps():
            expected = self.forward(step)
            with torch.no_grad(), under_way(step):
                ours = shortcut.forward(step)
        if probe.logits_apart(cast(Tensor, ours), cast(Tensor, expected)) < probe.LAYER_LIMITS[self._like.dtype]:
            self._shortcut = shortcut
