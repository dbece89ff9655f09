"""Optional packages that some verbs need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from headway.core.errors import missing_extra


def need(package: str, extra: str, why: str) -> Any:
    """Import a package of an extra.

    Parameters
    ----------
    package : str
        Its import name.
    extra : str
        The extra of Headway that brings it.
    why : str
        What needs it, as a short clause.

    Raises
    ------
    MissingExtra
        When it is not installed; names the pip line.
    """
    try:
        return import_module(package)
    except ImportError as error:
        if error.name != package:
            raise
        raise missing_extra(package, extra, why) from error
