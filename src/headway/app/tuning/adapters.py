"""Adapters on the disk: which are whole, and which models they fit."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from headway.app.tuning.records import ModelRecord

log = logging.getLogger(__name__)

PASSING = ("_name_or_path", "transformers_version")
"""What stands in a model's configuration and says nothing of its shape."""


def fingerprint(model: str) -> str:
    """Tell models of unlike shapes apart: the hash of a folder's configuration, or the hub id."""
    try:
        config = json.loads((Path(model) / "config.json").read_bytes())
        text = json.dumps({name: config[name] for name in sorted(config) if name not in PASSING}, sort_keys=True)
    except (OSError, ValueError, TypeError):
        return model
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def fitting(models: Iterable[ModelRecord], base: str, model: str) -> dict[str, ModelRecord]:
    """Those tuned models that can be served on a base, by name.

    Parameters
    ----------
    models : iterable of ModelRecord
        All that were ever tuned and not deleted.
    base : str
        The name of the model that is served.
    model : str
        Its folder or hub id.
    """
    fits, found = fingerprint(model), dict[str, ModelRecord]()
    for one in models:
        if (one.base, one.fits) != (base, fits):
            log.info("tuning: %s is not offered, for it is an adapter of another model", one.name)
        elif not whole(Path(one.folder)):
            log.warning("tuning: %s is not offered, for its adapter in %s is not whole", one.name, one.folder)
        else:
            found[one.name] = one
    return found


def whole(folder: Path) -> bool:
    """Whether an adapter is there, and its file of weights as long as it says it is."""
    try:
        json.loads((folder / "adapter_config.json").read_bytes())
        weights = folder / "adapter_model.safetensors"
        with weights.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, 1 << 26)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return bool(ends) and weights.stat().st_size == 8 + size + max(ends)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
