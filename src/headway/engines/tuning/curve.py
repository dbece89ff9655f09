"""The loss curve of a run on disk: one line of JSON per step and validation."""

from __future__ import annotations

from pathlib import Path

import msgspec

from headway.core.writing import replacing
from headway.engines.tuning.folder import telling_disk_trouble
from headway.engines.tuning.news import TuneNews

CURVE = "curve.jsonl"


class Curve:
    """Appends to the curve in a folder.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CURVE

    def append(self, news: TuneNews) -> None:
        """Add a point."""
        with telling_disk_trouble(self._path), self._path.open("ab") as file:
            file.write(msgspec.json.encode(news) + b"\n")

    def cut(self, step: int, valid_step: int) -> None:
        """Forget what came after a step, and after the step that was last followed by a validation: it comes again."""
        last = {"step": step, "validated": valid_step}
        kept = [news for news in read_curve(self._path.parent) if news.step <= last.get(news.what, -1)]
        with telling_disk_trouble(self._path), replacing(self._path) as path:
            path.write_bytes(b"".join(msgspec.json.encode(news) + b"\n" for news in kept))


def read_curve(folder: Path) -> list[TuneNews]:
    """Return the points of the curve in a folder; a line that was not written to its end is left out."""
    try:
        lines = (folder / CURVE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=TuneNews))
        except msgspec.DecodeError:
            continue
    return found
