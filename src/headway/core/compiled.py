"""Compiled copies of the modules in which simulations spend their time.

The copies are made by mypyc from the very same sources, so that there is nothing to keep in step: with them a
simulation runs about three times as fast, and comes to the same result to the last bit. They are looked for when their
package is imported, under a hash of the sources; a copy of other sources is never used. ``HEADWAY_NATIVE=0`` turns them
off.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
from pathlib import Path

MODULES = {
    "headway.core": ("quantiles", "session"),
    "headway.policies.serving": (
        "board", "cohort", "draft", "kv", "memory", "recompute", "state", "survey",
    ),
    "headway.sim.serving": (
        "agenda", "energy", "gaps", "log", "machine", "run", "sampler", "table_requests", "truth", "world",
    ),
}  # fmt: skip
"""By package, the modules of which there can be a compiled copy.

Whatever is a policy or a seat is not among them: its class must be open to signatures, pickles and subclasses.
"""
ROOT = Path(__file__).parents[2]
PREBUILT = Path(__file__).parent / "prebuilt"
"""Where a wheel brings the copies."""


def sources() -> list[Path]:
    """Return the files of `MODULES`."""
    return [ROOT.joinpath(*package.split("."), f"{name}.py") for package, names in MODULES.items() for name in names]


def path_of(package: str, path: list[str]) -> list[str]:
    """Return where the modules of a package are to be looked for: compiled copies first, where there are any."""
    folder = in_use()
    return [str(folder.joinpath(*package.split("."))), *path] if folder is not None else path


@functools.cache
def in_use() -> Path | None:
    """Return the folder of the compiled copies in use, or None."""
    if os.environ.get("HEADWAY_NATIVE") == "0":
        return None
    for folder in folders():
        if (folder / "ready").exists():
            _load_shared_part(folder)
            return folder
    return None


def folders() -> list[Path]:
    """Return where copies of exactly these sources, for this Python, would be: with the package, or in the cache."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}-{sys.platform}".encode())
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = digest.hexdigest()[:16]
    return [PREBUILT / key, cache / "headway" / "compiled" / key]


def _load_shared_part(folder: Path) -> None:
    """Load the library that all copies share; they ask for it by its name alone."""
    for library in folder.glob("*__mypyc*"):
        name = library.name.partition(".")[0]
        spec = importlib.util.spec_from_file_location(name, library)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[name] = module
