"""The model that comes with the package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

SHIPPED = "headway-mini"
"""The name of the model that comes with the package."""


def shipped_folder() -> Path:
    """Return the folder of the shipped model, whether or not it is there."""
    spec = find_spec("headway.engines.llm")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return Path(folders[0] if folders else ".") / "shipped" / SHIPPED
