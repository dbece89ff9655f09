"""One frozen model with several adapters beside each of its linear layers, all computed in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headway.core.errors import ConfigError
from headway.engines.tuning import lorafusion_attention as attention
from headway.engines.tuning.lorafusion_function import Run, fused_multi_lora
from headway.engines.tuning.lorafusion_packing import Packed, draw_mask

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

_PREFIX = "base_model.model."
"""What `peft` writes before the name of a module."""


class SharedModel:
    """A frozen model and its adapters; weights are made and written by `peft`, and computed by `fused_multi_lora`.

    Parameters
    ----------
    model : PreTrainedModel
        The base model; its linear layers are replaced.
    settings : mapping of str to LoraConfig
        By job. Names of jobs may have no dot.
    seeds : mapping of str to int
        Of the first weights of each adapter, by job.

    Attributes
    ----------
    weights : dict of str to dict of str to nn.Parameter
        Of each adapter, by job, and by the names that they have in the files of `peft`.

    Raises
    ------
    ConfigError
        When a name has a dot.
    """

    def __init__(self, model: PreTrainedModel, settings: Mapping[str, LoraConfig], seeds: Mapping[str, int]) -> None:
        from peft import inject_adapter_in_model

        for job in settings:
            if "." in job:
                raise ConfigError(f"tune: the name of a job must have no dot, got {job!r}. Leave it out.")
        self.model: Any = model.requires_grad_(False)
        self._packed: list[Packed] = []
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are what is wanted
            for job, config in settings.items():
                torch.manual_seed(seeds[job])
                inject_adapter_in_model(config, self.model, job)
        self.weights = self._collect(settings)
        self._replace()
        self._attend()
        self.train(True)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.model.device  # type: ignore[no-any-return]

    def train(self, mode: bool) -> None:
        """Say whether adapters drop some of their inputs; what the base model would drop itself is kept."""
        self.model.eval()
        for module in self.model.modules():
            if isinstance(module, SharedLinear):
                module.train(mode)

    def losses(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Compute the loss of every trained token of a row, in nats, and whether it was guessed; both `[labels]`."""
        self._packed[:] = [packed]
        self._lengths[:] = packed.sequences
        logits = self.model(
            input_ids=packed.ids,
            position_ids=packed.positions,
            attention_mask=None,
            use_cache=False,
            logits_to_keep=packed.before,
        ).logits[0]
        right = logits.detach().argmax(-1) == packed.labels
        return nn.functional.cross_entropy(logits.float(), packed.labels, reduction="none"), right

    def _collect(self, jobs: Iterable[str]) -> dict[str, dict[str, nn.Parameter]]:
        """Find the weights of each adapter, and let all of them be trained, also those that `peft` put to rest."""
        found: dict[str, dict[str, nn.Parameter]] = {job: {} for job in jobs}
        for name, weight in self.model.named_parameters():
            for job, weights in found.items():
                if f".{job}." in name:
                    weight.data = weight.data.float()
                    weights[_PREFIX + name.replace(f".{job}.", ".")] = weight.requires_grad_(True)
        return found

    def _replace(self) -> None:
        from peft.tuners.lora import LoraLayer

        adapted = [(name, module) for name, module in self.model.named_modules() if isinstance(module, LoraLayer)]
        for place, (name, module) in enumerate(adapted):
            parent, _, last = name.rpartition(".")
            setattr(self.model.get_submodule(parent), last, SharedLinear(module, self._packed, place))

    def _attend(self) -> None:
        self._lengths: list[int] = []
        attention.register()
        self.model.set_attn_implementation(attention.NAME)
        for module in self.model.modules():
            setattr(module, attention.LENGTHS, self._lengths)


class SharedLinear(nn.Module):
    """A frozen linear layer with several adapters, each for rows of its own.

    Parameters
    ----------
    layer : LoraLayer
        The layer as `peft` made it.
    packed : list of Packed
        Leads to the row that is computed.
    place : int
        Which layer it is, for dice.
    """

    def __init__(self, layer: Any, packed: list[Packed], place: int) -> None:
        super().__init__()
        base = layer.get_base_layer()
        self._weight = base.weight.t() if type(base).__name__ == "Conv1D" else base.weight
        self._bias = base.bias
        self._a = {job: one.weight for job, one in layer.lora_A.items()}
        self._b = {job: one.weight for job, one in layer.lora_B.items()}
        self._dropout = {job: float(getattr(one, "p", 0.0)) for job, one in layer.lora_dropout.items()}
        self._scale = {job: float(layer.scaling[job]) for job in self._a}
        self._packed = packed
        self._place = place

    def forward(self, x: Tensor) -> Tensor:
        """Compute `[..., in]` to `[..., out]`, with tokens in the dimensions before."""
        (packed,) = self._packed
        mine = {job: share.at for job, share in packed.shares.items() if job in self._a}
        dropout = self._dropout if self.training else {}
        runs = [Run(at.start, at.stop, self._scale[job] / (1.0 - dropout.get(job, 0.0))) for job, at in mine.items()]
        y = fused_multi_lora(
            x.reshape(-1, x.shape[-1]),
            self._weight,
            self._bias,
            runs,
            [self._a[job] for job in mine],
            [self._b[job] for job in mine],
            draw_mask(packed, dropout, x.shape[-1], self._place),
        )
        return y.view(*x.shape[:-1], y.shape[-1])
