"""Small made traces that come with the package, so that a first command needs no download.

They were drawn by ``tools/make_traces.py`` from the statistics in ``statistics.toml``; no row is one of the data.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from msgspec import Struct, convert

from headway.core.errors import unknown_name

FOLDER = Path(__file__).parent


class Shipped(Struct, frozen=True):
    """What is known of one shipped trace.

    Parameters
    ----------
    file : str
        Its file in this folder.
    about : str
        What it looks like, in one sentence.
    source : str
        Whose statistics it follows.
    licence : str
        Of that source.
    """

    file: str
    about: str
    source: str
    licence: str


@cache
def catalogue() -> dict[str, Shipped]:
    """Return all shipped traces by name."""
    content = tomllib.loads((FOLDER / "statistics.toml").read_text(encoding="utf-8"))
    return {name: convert(entry, Shipped) for name, entry in content.items()}


def names() -> tuple[str, ...]:
    """Return the names of all shipped traces."""
    return tuple(catalogue())


def path(name: str) -> Path:
    """Return the file of a shipped trace.

    Raises
    ------
    UnknownName
        When there is none of that name.
    """
    if name not in catalogue():
        raise unknown_name("trace", name, names())
    return FOLDER / catalogue()[name].file
