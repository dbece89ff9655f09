"""The drawing libraries, imported when something is drawn and not before."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from headway.core.errors import missing_extra


def library(name: str, why: str) -> Any:
    """Import a module of the extra ``plan``.

    Parameters
    ----------
    name : str
        Its import name, for example ``"matplotlib.figure"``.
    why : str
        What needs it, as a short clause.

    Raises
    ------
    MissingExtra
        When its package is not installed; names the pip line.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise missing_extra(package, "plan", why) from error


def has(package: str) -> bool:
    """Say whether a package is installed."""
    try:
        return find_spec(package) is not None
    except ValueError:  # what stands in its place has no specification: it was put there to forbid it
        return False


@cache
def plotly_script() -> str:
    """Return plotly.js, the whole of it."""
    script: str = library("plotly.offline", "to draw interactive charts").get_plotlyjs()
    # A page keeps it in a script element, which must not end early.
    return script.replace("</script", "<\\/script")
