"""Rules for one machine as expressions: a small language that can be read, searched, kept in a file and run fast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from headway.core.errors import ConfigError, missing_extra
from headway.numerics import nets

Floats = NDArray[np.float64]
Sequencing: TypeAlias = Callable[[Floats, Floats, float], NDArray[np.int64]]
"""(durations, due dates, when the machine is free) -> places of jobs in order."""

TERMS = ("p", "d", "t", "longest", "mean")
"""Duration and due date of a job, the present, the longest and the mean duration of what is left."""
PAIRS = ("+", "-", "*", "/", "max", "min")
WORDS = (*TERMS, "#", *PAIRS, "square")
"""In the order of the compiled machine's codes; ``#`` is a constant."""
MOST_WORDS = 64
SHIPPED = Path(__file__).parent / "weights" / "smtt_evolved.npz"


class Expression(Struct, frozen=True):
    """An expression in postfix.

    Parameters
    ----------
    words : tuple of int
        Places in `WORDS`.
    values : tuple of float
        Of the constants; 0 for other words.

    Examples
    --------
    >>> parse("(max (+ t p) d)").text
    '(max (+ t p) d)'
    """

    words: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def text(self) -> str:
        """The expression in prefix, with parentheses."""
        stack: list[str] = []
        for word, value in zip(self.words, self.values, strict=True):
            name = WORDS[word]
            if name in PAIRS:
                right, left = stack.pop(), stack.pop()
                stack.append(f"({name} {left} {right})")
            elif name == "square":
                stack.append(f"(square {stack.pop()})")
            else:
                stack.append(f"{value:.6g}" if name == "#" else name)
        (text,) = stack
        return text

    @property
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The expression as arrays, for a file."""
        return {"words": np.array(self.words, dtype=np.float64), "values": np.array(self.values)}


def parse(text: str) -> Expression:
    """Read an expression in prefix, such as ``(max (+ t p) d)``.

    Raises
    ------
    ConfigError
        When it is none.
    """
    tokens = text.replace("(", " ( ").replace(")", " ) ").split()
    words: list[int] = []
    values: list[float] = []
    rest = _read(tokens, 0, words, values)
    if rest != len(tokens) or len(words) > MOST_WORDS:
        raise _no_expression(text)
    return Expression(tuple(words), tuple(values))


def from_arrays(arrays: dict[str, NDArray[np.float64]]) -> Expression:
    """Read an expression from the arrays of a file.

    Raises
    ------
    ConfigError
        When they hold none.
    """
    words = tuple(int(word) for word in arrays.get("words", np.empty(0)))
    values = tuple(float(value) for value in arrays.get("values", np.empty(0)))
    depth, is_one = 0, len(words) == len(values) and 0 < len(words) <= MOST_WORDS
    for word in words:
        is_one = is_one and 0 <= word < len(WORDS)
        depth += (1 if word < len(TERMS) + 1 else 0) - (1 if is_one and WORDS[word] in PAIRS else 0)
        is_one = is_one and depth >= 1
    if not is_one or depth != 1:
        raise _no_expression(str(words))
    return Expression(words, values)


def sequencing(expression: Expression) -> Sequencing:
    """Return the rule that takes the job for which the expression is least; of equal ones the shortest.

    Raises
    ------
    MissingExtra
        When numba is not installed.
    """
    try:
        from headway.policies.shop.smtt_expression_kernel import least_first
    except ModuleNotFoundError as error:
        raise missing_extra("numba", "shop", "to compile sequencing rules") from error
    words, values = np.array(expression.words), np.array(expression.values)

    def in_order(durations: Floats, due: Floats, begin: float) -> NDArray[np.int64]:
        first = np.lexsort((due, durations))
        order: NDArray[np.int64] = first[least_first(words, values, durations[first], due[first], begin)]
        return order

    return in_order


def evolved(path: str = "") -> Sequencing:
    """Return the rule that a file holds, or the one shipped.

    Raises
    ------
    ConfigError
        When it holds none.
    """
    return sequencing(from_arrays(nets.load(Path(path) if path else SHIPPED)))


def _read(tokens: list[str], at: int, words: list[int], values: list[float]) -> int:
    """Append the expression that begins at a token; returns where it ends."""
    token = tokens[at] if at < len(tokens) else ""
    if token != "(":
        words.append(WORDS.index(token if token in TERMS else "#"))
        values.append(0.0 if token in TERMS else _number(token))
        return at + 1
    name, end = tokens[at + 1 : at + 2], at + 2
    if not name or name[0] not in (*PAIRS, "square"):
        raise _no_expression(" ".join(tokens))
    for _ in range(1 if name[0] == "square" else 2):
        end = _read(tokens, end, words, values)
    if tokens[end : end + 1] != [")"]:
        raise _no_expression(" ".join(tokens))
    words.append(WORDS.index(name[0]))
    values.append(0.0)
    return end + 1


def _number(token: str) -> float:
    try:
        return float(token)
    except ValueError as error:
        raise _no_expression(token) from error


def _no_expression(text: str) -> ConfigError:
    known = " ".join((*TERMS, *PAIRS, "square"))
    return ConfigError(
        f"shop/smtt-eddc-mddc: an expression must be made of {known} and numbers, at most {MOST_WORDS} words, "
        f"got {text!r}. Write it as (max (+ t p) d)."
    )
