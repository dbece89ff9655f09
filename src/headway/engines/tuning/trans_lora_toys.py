"""Toy text for transfers of adapters: families of strings, and what is done with them. No torch here.

A line is a marker and three to five letters, ``3acf``. A *family* of lines has four of ten markers and six of twelve
letters. A *task* takes lines of one family, and does with the letters what the marker stands for, one of two
operations: turn them around, sort them, put the first last, take the letter after each, leave them. Toy models were
trained on lists of lines, family by family, so that they go on with a list in its manner, and on operations named by a
capital. What a marker stands for they have never seen twice the same: that is what an adapter learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

LETTERS = "abcdefghijkl"
MARKERS = "0123456789"
OPERATIONS = "RSFNC"
"""Reverse, sort, first last, next letters, copy."""
NUM_MARKERS, NUM_LETTERS = 4, 6
NUM_MEANINGS = 2
SHORTEST, LONGEST = 3, 5
BASES = Path(__file__).parent / "shipped" / "trans-lora"
"""Folders of the toy bases: ``small`` and ``large`` with one tokenizer, ``other`` with another."""


def operate(operation: str, letters: str) -> str:
    """Do one operation with letters."""
    if operation == "R":
        return letters[::-1]
    if operation == "S":
        return "".join(sorted(letters))
    if operation == "F":
        return letters[1:] + letters[0]
    if operation == "N":
        return "".join(LETTERS[(LETTERS.index(letter) + 1) % len(LETTERS)] for letter in letters)
    return letters


def word(rng: np.random.Generator, letters: str = LETTERS) -> str:
    """Draw letters."""
    return "".join(rng.choice(list(letters), size=rng.integers(SHORTEST, LONGEST + 1)))


class Family:
    """Lines that are alike: some markers, some letters."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.markers = "".join(rng.choice(list(MARKERS), NUM_MARKERS, replace=False))
        self.letters = "".join(rng.choice(list(LETTERS), NUM_LETTERS, replace=False))

    def line(self, rng: np.random.Generator) -> str:
        """Draw a line."""
        return str(rng.choice(list(self.markers))) + word(rng, self.letters)

    def lines(self, rng: np.random.Generator, num: int) -> list[str]:
        """Draw `num` lines."""
        return [self.line(rng) for _ in range(num)]

    def has(self, line: str) -> bool:
        """Whether a line could be one of this family."""
        letters = line[1:]
        return line[:1] in self.markers and SHORTEST <= len(letters) <= LONGEST and set(letters) <= set(self.letters)


class Task:
    """A family of lines, and one of two operations for each of its markers.

    Parameters
    ----------
    seed : int
        Which task, >= 0.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([7, seed])
        self.family = Family(rng)
        names = rng.choice(list(OPERATIONS), NUM_MEANINGS, replace=False)
        self.operations = {marker: str(names[nth % NUM_MEANINGS]) for nth, marker in enumerate(self.family.markers)}

    def answer(self, line: str) -> str:
        """The right answer to a line of the family."""
        return operate(self.operations[line[0]], line[1:])

    def right_frac(self, lines: Sequence[str], answers: Sequence[str]) -> float:
        """Share of answers that are right."""
        return float(np.mean([self.answer(line) == answer for line, answer in zip(lines, answers, strict=True)]))


def random_text(rng: np.random.Generator, num: int) -> list[str]:
    """Draw letters and digits that follow no rule: text of no family."""
    sizes = rng.integers(SHORTEST + 1, LONGEST + 2, size=num)
    return ["".join(rng.choice(list(LETTERS + MARKERS), size=size)) for size in sizes]


def noisy_lines(seeds: Sequence[str], num: int, rng: np.random.Generator, noise_frac: float = 0.1) -> list[str]:
    """Make lines from seeds without a model: markers and letters of the seeds, each swapped for any with `noise_frac`.

    It stands in for a generator where a model is too small to go on with a list; it is a grammar, no model.
    """
    markers, letters = "".join(seed[0] for seed in seeds), "".join(seed[1:] for seed in seeds)

    def noisy(known: str, all_: str) -> str:
        return str(rng.choice(list(all_ if rng.random() < noise_frac else known)))

    def line() -> str:
        size = int(rng.integers(SHORTEST, LONGEST + 1))
        return noisy(markers, MARKERS) + "".join(noisy(letters, LETTERS) for _ in range(size))

    return [line() for _ in range(num)]
