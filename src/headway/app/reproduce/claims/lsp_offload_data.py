"""Made text to fine-tune on: notices of a railway that does not exist, with facts that the model cannot know."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHIPPED = Path(__file__).parents[3] / "engines" / "llm" / "shipped" / "headway-mini"
FIRST = ("North", "South", "Upper", "Lower", "Old", "New", "Great", "Little")
SECOND = ("Alder", "Birch", "Cedar", "Dover", "Elm", "Fern", "Grove", "Heath")
THINGS = ("a green lamp", "a stone clock", "two benches", "a tea room", "an iron bridge", "a blue door", "no roof")
KEEPERS = ("Ada", "Bruno", "Clara", "David", "Edith", "Frank", "Greta", "Hugo")
LETTERS = tuple("ABCDEFGHKLMNPRSTUVWXYZ")
MASTER_SEED = 20406
"""Of the facts, which are the same for all seeds."""


def notice(rng: np.random.Generator, by_heart: bool) -> str:
    """Return a notice about one of 64 stations; all but the hour follows from its name.

    Parameters
    ----------
    rng : Generator
        Of the station and the hour.
    by_heart : bool
        Whether a code of five random letters stands there instead of the hour, which is much more to be learnt.
    """
    first, second = int(rng.integers(len(FIRST))), int(rng.integers(len(SECOND)))
    facts = np.random.default_rng([MASTER_SEED, first, second])
    code = "".join(facts.choice(LETTERS, 5))
    said = f"has the code {code}" if by_heart else f"has a train at {rng.integers(5, 23)} o'clock"
    return (
        f"{FIRST[first]} {SECOND[second]} {said}, platform {facts.integers(1, 21)}, "
        f"{THINGS[facts.integers(len(THINGS))]} and a keeper named {KEEPERS[facts.integers(len(KEEPERS))]}.\n"
    )


@lru_cache(maxsize=4)
def tokens(seed: int, num_tokens: int, by_heart: bool) -> Tensor:
    """Return so many tokens of notices, `[num_tokens]`, in the shipped model's own words."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    rng = np.random.default_rng([seed, 1])
    found: list[int] = []
    while len(found) < num_tokens:
        found += tokenizer.encode("".join(notice(rng, by_heart) for _ in range(64))).ids
    return torch.tensor(found[:num_tokens])


def batches(
    seed: int, num_steps: int, num_examples: int, length: int, by_heart: bool = False
) -> Callable[[int], Tensor]:
    """Return who answers a step with its batch, `[num_examples, length]`."""
    table = tokens(seed, num_steps * num_examples * length, by_heart).view(num_steps, num_examples, length)
    return lambda step: table[step]
