"""A decoder-only model taken apart: what comes before its layers, each layer by itself, and what comes after them.

The model's own code computes all of it. To stop it between two layers, their forward methods are replaced for the time
of a call: what comes before the layers runs until the last of them has been asked, and its questions are kept; what
comes after them runs on a single token whose hidden state is replaced by those that are wanted. Nothing there mixes
tokens, so that is all the same to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headway.core.errors import ConfigError
from headway.engines import pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PROBED = 5
"""Tokens of the sequence with which a model is tried."""


@dataclass
class Call:
    """How the model asks one of its layers, beside the hidden states."""

    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    keyword: str = ""

    def tensors(self) -> Iterator[Tensor]:
        """All tensors that come with the question."""
        yield from _tensors((self.args, self.options))


class _Asked(Exception):
    """All layers have been asked."""


class Anatomy:
    """The parts of a model.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model; its layers stay where they are.

    Attributes
    ----------
    layers : list of nn.Module
        The decoder layers, first to last.
    vocab_size : int
        Width of the logits.

    Raises
    ------
    ConfigError
        When its layers are not one list, or are more than a chain.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: Any = model
        found = pretrained.find_layers(model, model.config.get_text_config(decoder=True).num_hidden_layers)
        if found is None:
            raise self._cannot("they are not one list of modules")
        self.layers: list[nn.Module] = found
        self.vocab_size = 0
        self._tuples = [False] * len(found)
        self._probe()

    def enter(self, ids: Tensor) -> tuple[Tensor, list[Call]]:
        """Compute what comes before the layers.

        Parameters
        ----------
        ids : Tensor
            Tokens `[rows, tokens]`; shorter rows end in padding, which no token before it sees.

        Returns
        -------
        tuple
            Hidden states `[rows, tokens, width]`, and how each layer is to be asked.
        """
        entered: list[Tensor] = []
        calls = [Call() for _ in self.layers]

        def ask(index: int, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
            keyword = "" if args else "hidden_states"
            hidden = options.pop(keyword) if keyword else args[0]
            entered.append(hidden)
            calls[index] = Call(args[1:], options, keyword)
            if index == len(self.layers) - 1:
                raise _Asked
            return self._answer(index, hidden)

        with self._replaced(ask), torch.no_grad():
            try:
                self._model(input_ids=ids, use_cache=False)
            except _Asked:
                return entered[0], calls
        raise self._cannot("the last of them is not asked")

    def layer(self, index: int, hidden: Tensor, call: Call) -> Tensor:
        """Compute one layer: hidden states `[rows, tokens, width]` in and out."""
        if call.keyword:
            out = self.layers[index](**{call.keyword: hidden}, **call.options)
        else:
            out = self.layers[index](hidden, *call.args, **call.options)
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result

    def leave(self, hidden: Tensor) -> Tensor:
        """Compute what comes after the layers: hidden states `[tokens, width]` in, logits `[tokens, vocab]` out."""

        def ask(index: int, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
            asked = args[0] if args else options["hidden_states"]
            return self._answer(index, hidden[None] if index == len(self.layers) - 1 else asked)

        with self._replaced(ask):
            first = torch.zeros(1, 1, dtype=torch.int64, device=hidden.device)
            logits: Tensor = self._model(input_ids=first, use_cache=False).logits
        return logits.flatten(0, 1)

    def _answer(self, index: int, hidden: Tensor) -> Any:
        return (hidden,) if self._tuples[index] else hidden

    @contextmanager
    def _replaced(self, ask: Callable[[int, tuple[Any, ...], dict[str, Any]], Any]) -> Iterator[None]:
        for index, layer in enumerate(self.layers):
            layer.forward = _asking(ask, index)
        try:
            yield
        finally:
            for layer in self.layers:
                del layer.forward

    def _probe(self) -> None:
        """Compute a few tokens whole and in parts: both must come to the same."""
        try:
            self._compare()
        except ConfigError:
            raise
        except Exception:  # what the faster ways to attend cannot do, the plain one can
            self._model.set_attn_implementation("eager")
            try:
                self._compare()
            except ConfigError:
                raise
            except Exception as error:
                raise self._cannot(f"running a few tokens failed with {pretrained.first_line(error)}") from error

    def _compare(self) -> None:
        vocab = self._model.get_input_embeddings().weight.shape[0]
        ids = (torch.arange(_PROBED, device=self._model.device) % vocab)[None]
        was_training = self._model.training
        self._model.eval()
        with torch.no_grad():
            hooks = [layer.register_forward_hook(self._note_form(index)) for index, layer in enumerate(self.layers)]
            whole = self._model(input_ids=ids, use_cache=False).logits[0]
            self.vocab_size = whole.shape[-1]
            for hook in hooks:
                hook.remove()
            hidden, calls = self.enter(ids)
            for index, call in enumerate(calls):
                hidden = self.layer(index, hidden, call)
            parts = self.leave(hidden[0])
        self._model.train(was_training)
        wide = 1e-3 if whole.dtype == torch.float32 else 0.1
        if whole.shape != parts.shape or (whole - parts).abs().max() > wide * whole.abs().max():
            raise self._cannot("something passes between them beside the hidden states")

    def _note_form(self, index: int) -> Callable[[nn.Module, Any, Any], None]:
        def note(_: nn.Module, __: Any, out: Any) -> None:
            self._tuples[index] = isinstance(out, tuple)

        return note

    def _cannot(self, why: str) -> ConfigError:
        return ConfigError(
            f"model {self._model.name_or_path}: to be tuned in units its layers must be a chain, but in "
            f"{type(self._model).__name__} {why}. Choose another architecture."
        )


def _asking(ask: Callable[[int, tuple[Any, ...], dict[str, Any]], Any], index: int) -> Callable[..., Any]:
    return lambda *args, **options: ask(index, args, options)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            yield from _tensors(one)
