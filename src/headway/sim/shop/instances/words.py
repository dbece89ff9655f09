"""Text of instance files as numbers, with complaints that name the line."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from headway.core.errors import ConfigError

ADVICE = "Mend the file"
CUT_OFF = "It seems to be cut off"
LARGEST = 10**9
"""Of any number in a file: sums of such numbers are still far from the end of 64 bits."""
LONGEST = 40
"""Of a number, in characters."""
SHOWN = 160
"""So much of what came is shown in a complaint."""
MOST = 10**6
"""Of jobs, machines, activities and resources in a file."""


class Line(Struct, frozen=True):
    """A line that says something.

    Parameters
    ----------
    number : int
        From 1.
    words : tuple of str
        What stands between its spaces.
    """

    number: int
    words: tuple[str, ...]


def lines(text: str, comment: str = "#") -> list[Line]:
    """Return the lines that are neither empty nor comments."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = tuple(line.split(comment, 1)[0].split())
        if words:
            found.append(Line(number, words))
    return found


def wrong(where: str, must: str, came: str, line: int | None = None, advice: str = ADVICE) -> ConfigError:
    """Build the error for an instance that cannot be read."""
    place = where if line is None else f"{where}: line {line}"
    shown = came if len(came) <= SHOWN else f"{came[:SHOWN]}..."
    return ConfigError(f"{place}: {must}, got {shown}. {advice}.")


def is_whole(word: str) -> bool:
    """Say whether a word is a whole number, as ``3``, ``-3`` or ``3.0``, and not beyond all reason."""
    digits = word.removeprefix("-").removesuffix(".0")
    return digits.isascii() and digits.isdigit() and len(digits) <= LONGEST


class Numbers:
    """The whole numbers of some lines, one after the other.

    Parameters
    ----------
    where : str
        The file, for complaints.
    source : sequence of Line
        What is read.
    span : str
        What ends with the last of them: ``"file"`` or ``"row"``.
    """

    def __init__(self, where: str, source: Sequence[Line], span: str = "file") -> None:
        self.where = where
        self.span = span
        self.line = source[0].number if source else 1
        self._words = [(word, line.number) for line in source for word in line.words]
        self._next = 0

    @property
    def num_left(self) -> int:
        """How many are still to come."""
        return len(self._words) - self._next

    def take(self, what: str, low: int = 0, high: int = LARGEST) -> int:
        """Return the next number.

        Parameters
        ----------
        what : str
            Its name in complaints.
        low, high : int
            Its range.

        Raises
        ------
        ConfigError
            When the file ends, the word is no whole number, or the number is out of range.
        """
        if not self.num_left:
            raise self.wrong(f"{what} must follow", f"the end of the {self.span}", CUT_OFF)
        word, self.line = self._words[self._next]
        self._next += 1
        if not is_whole(word):
            raise self.wrong(f"{what} must be a whole number", repr(word))
        number = int(float(word)) if "." in word else int(word)
        if not low <= number <= high:
            span = f"must be >= {low}" if number < low and high >= MOST else f"must be in {low}..{high}"
            raise self.wrong(f"{what} {span}", str(number))
        return number

    def end(self, after: str) -> None:
        """Raise when something is left."""
        if self.num_left:
            word, self.line = self._words[self._next]
            raise self.wrong(f"the {self.span} must end after {after}", repr(word))

    def wrong(self, must: str, came: str, advice: str = ADVICE) -> ConfigError:
        """Build an error about the line that was read last."""
        return wrong(self.where, must, came, self.line, advice)


def all_numbers(line: Line) -> bool:
    """Say whether a line holds whole numbers alone."""
    return all(is_whole(word) for word in line.words)
