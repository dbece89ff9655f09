"""Stop strings in streaming text: found wherever they fall, never shown in part."""

from __future__ import annotations

from collections.abc import Sequence


class StopScan:
    """Lets text through up to the first stop string, and holds back only what could still become one.

    What comes out does not depend on how the text was cut into pieces: the stop string that is complete first counts,
    and of several that are complete at the same character the longest.

    Parameters
    ----------
    stops : sequence of str
        The stop strings, none of them empty.
    keep : bool
        Whether the stop string itself is shown.

    Attributes
    ----------
    found : str
        The stop string that ended the text, or empty.

    Examples
    --------
    >>> scan = StopScan(["END"])
    >>> scan.push("The E"), scan.push("N"), scan.push("d."), scan.push("EN"), scan.push("D and"), scan.found
    ('The ', '', 'ENd.', '', '', 'END')
    """

    def __init__(self, stops: Sequence[str], keep: bool = False) -> None:
        self.stops = tuple(stops)
        self.keep = keep
        self.found = ""
        self._held = ""
        self._longest = max(map(len, self.stops), default=0)

    def push(self, text: str) -> str:
        """Take the next piece of text; return what can be shown."""
        if not self.stops:
            return text
        if self.found:
            return ""
        text = self._held + text
        end = self._first_end(text)
        if end:
            self._held = ""
            return text[:end] if self.keep else text[: end - len(self.found)]
        cut = len(text) - self._num_held(text)
        self._held = text[cut:]
        return text[:cut]

    def pass_by(self, text: str) -> str:
        """Take text in which stop strings do not count."""
        return self.rest() + text

    def rest(self) -> str:
        """Return what was held back; the text ends here."""
        text, self._held = self._held, ""
        return text

    def _first_end(self, text: str) -> int:
        """Where the first stop string to be complete ends, or 0; notes which it is."""
        best = 0
        for stop in self.stops:
            start = text.find(stop)
            if start < 0:
                continue
            end = start + len(stop)
            if not best or end < best or (end == best and len(stop) > len(self.found)):
                best, self.found = end, stop
        return best

    def _num_held(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop string begins."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-size:]
            if any(stop.startswith(tail) for stop in self.stops):
                return size
        return 0
