"""The base model with a LoRA adapter grafted on by `peft`, and the files such an adapter is kept in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headway.core.errors import ConfigError, TuneError
from headway.engines import pretrained
from headway.engines.tuning.anatomy import Anatomy

if TYPE_CHECKING:
    from headway.engines.tuning.spec import TuneSpec

_PREFIX = "base_model.model."
"""What `peft` writes before the name of a module."""

_ADAPTER = "default"
"""The name an adapter has within `peft`."""

_EXPERTS = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})
"""What `peft` takes for experts in a model that keeps all its experts in single weights."""


@dataclass
class Grafted:
    """A frozen base model with an adapter to be trained.

    Attributes
    ----------
    model : nn.Module
        The base model; its adapted linears have the adapter beside them.
    anatomy : Anatomy
        Its parts.
    by_layer : list of list of nn.Parameter
        Weights of the adapter in each layer.
    names : list of str
        What `peft` calls the weights, layer by layer.
    settings : object
        The `LoraConfig`.
    device : torch.device
        Where everything is.
    context_tokens : int
        Longest sequence; 0 when the model does not say.
    """

    model: nn.Module
    anatomy: Anatomy
    by_layer: list[list[nn.Parameter]]
    names: list[str]
    settings: Any
    device: torch.device
    context_tokens: int

    @property
    def num_embedded(self) -> int:
        """How many different tokens it takes."""
        model: Any = self.model
        return int(model.get_input_embeddings().weight.shape[0])

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All weights of the adapter."""
        return [parameter for layer in self.by_layer for parameter in layer]

    def copies(self) -> dict[str, Tensor]:
        """Return copies of the weights of the adapter as they are now, by the names they have in files."""
        with torch.no_grad():
            return {
                name: weight.detach().to("cpu", copy=True)
                for name, weight in zip(self.names, self.parameters, strict=True)
            }

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Set the weights of the adapter to those of a file.

        Raises
        ------
        TuneError
            When they are those of another adapter.
        """
        known = dict(zip(self.names, self.parameters, strict=True))
        if {name: weight.shape for name, weight in weights.items()} != {n: w.shape for n, w in known.items()}:
            raise TuneError("tune: the checkpoint must hold the weights of this adapter, got others. Delete it.")
        with torch.no_grad():
            for name, weight in weights.items():
                known[name].copy_(weight)

    def write(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write weights of the adapter into a folder, as `peft` does."""
        from safetensors.torch import save_file

        save_file(dict(weights), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        self.settings.save_pretrained(str(folder))


@dataclass
class Base:
    """A frozen base model; the attributes are those of `Grafted`."""

    model: Any
    anatomy: Anatomy
    device: torch.device
    context_tokens: int


def graft(spec: TuneSpec) -> Grafted:
    """Load the base model of a run and graft a new adapter on.

    Raises
    ------
    ConfigError
        When there is no such model, or it has no such linear layers.
    """
    from peft import inject_adapter_in_model

    base = load_base(spec)
    settings = lora_settings(spec, base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        inject_adapter_in_model(settings, base.model, _ADAPTER)
    for weight in base.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return _grafted(base, settings)


def load_base(spec: TuneSpec) -> Base:
    """Load the base model of a run.

    Raises
    ------
    ConfigError
        When there is no such model, or it cannot be trained there.
    """
    described = pretrained.read_config(spec.model)
    pretrained.check_decoder_only(spec.model, described)
    device = pretrained.choose_device(spec.device, "tune")
    if spec.dtype == "float16" and device.type == "cpu":
        raise ConfigError("tune: dtype on a CPU must be float32 or bfloat16, got float16. Use float32.")
    dtype: torch.dtype = getattr(torch, spec.dtype)
    # While it loads, `transformers` makes its type the default one of all threads, which others would feel.
    beside = threading.current_thread() is not threading.main_thread()
    model: Any = pretrained.load_weights(spec.model, described, torch.get_default_dtype() if beside else dtype, device)
    model.requires_grad_(False)
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    for module in model.modules():
        if hasattr(module, "layerdrop"):
            module.layerdrop = 0.0  # units know how many layers there are
    context_tokens = pretrained.own_context_tokens(described.get_text_config(decoder=True))
    return Base(model, Anatomy(model), device, context_tokens)


def lora_settings(spec: TuneSpec, base: Base) -> Any:
    """Return what `peft` is told of a run's adapter, a `LoraConfig`.

    Raises
    ------
    ConfigError
        When the model has no such linear layers.
    """
    from peft import LoraConfig

    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules=_targets(spec, base.model, base.anatomy),
        lora_dropout=spec.dropout,
        task_type="CAUSAL_LM",
        base_model_name_or_path=spec.model,
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in base.model.modules()),
    )  # type: ignore[no-untyped-call, unused-ignore]


def _grafted(base: Base, settings: Any) -> Grafted:
    of = {id(parameter): name for name, parameter in base.model.named_parameters() if parameter.requires_grad}
    by_layer = [[weight for weight in layer.parameters() if weight.requires_grad] for layer in base.anatomy.layers]
    names = [_PREFIX + of[id(weight)].replace(f".{_ADAPTER}.", ".") for layer in by_layer for weight in layer]
    return Grafted(base.model, base.anatomy, by_layer, names, settings, base.device, base.context_tokens)


def _targets(spec: TuneSpec, model: nn.Module, anatomy: Anatomy) -> list[str]:
    """Name the linears to adapt by their last parts where those say enough, else by their whole names."""
    names = {id(module): name for name, module in model.named_modules()}
    inside = {names[id(module)] for module in _linears(anatomy)}
    found = {name for name in inside if not spec.targets or name.rpartition(".")[2] in spec.targets}
    last = {name.rpartition(".")[2] for name in found}
    if not found or set(spec.targets) - last:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in inside}))
        wrong = ", ".join(sorted(set(spec.targets) - last)) or "none"
        raise ConfigError(
            f"tune: targets must be linear layers within the decoder layers of the model ({known}), got {wrong}. "
            "Leave targets out for all of them."
        )
    meant = {name for name in names.values() if name.rpartition(".")[2] in last}
    return sorted(last if meant == found else found)


def _linears(anatomy: Anatomy) -> Iterator[nn.Module]:
    """All linears in the layers that can have an adapter of their own."""
    has_experts = any(weight.dim() > 2 for layer in anatomy.layers for weight in layer.parameters())
    for layer in anatomy.layers:
        for name, module in layer.named_modules():
            if _is_linear(module) and not (has_experts and name.rpartition(".")[2] in _EXPERTS):
                yield module


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
