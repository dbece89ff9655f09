"""Dice that fall the same way whenever the same layer of the same microbatch is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn


class Dice:
    """Throws the dice of dropout.

    Parameters
    ----------
    seed : int
        Of the run.
    model : nn.Module
        Whose dropout it is.
    device : torch.device
        Where it computes.
    """

    def __init__(self, seed: int, model: nn.Module, device: torch.device) -> None:
        self._seed = seed
        self._needed = any(_throws(module) for module in model.modules())
        self._generators: list[Any] = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            self._generators.append(torch.cuda.default_generators[device.index or torch.cuda.current_device()])

    @contextmanager
    def thrown(self, microbatch: int, place: int) -> Iterator[None]:
        """Let what is computed in the `with` block throw the dice of one place of a microbatch.

        Parameters
        ----------
        microbatch : int
            Which of the run; it says which step, too.
        place : int
            A layer, or the number of layers for what comes before the first.
        """
        if not self._needed:
            yield
            return
        states = [generator.get_state() for generator in self._generators]
        fall = np.random.SeedSequence((self._seed, microbatch, place)).generate_state(1, np.uint64)
        try:
            for generator in self._generators:
                generator.manual_seed(int(fall[0]))
            yield
        finally:
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)


def _throws(module: nn.Module) -> bool:
    if isinstance(module, nn.Dropout):
        return module.p > 0
    shares = (value for name, value in vars(module).items() if "drop" in name and isinstance(value, float))
    return any(share > 0 for share in shares)
