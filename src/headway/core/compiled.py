"""Compiled copies of the modules in which simulations spend their time.

The copies are made by mypyc from the very same sources, so that there is nothing to keep in step: with them a
simulation runs about three times as fast, and comes to the same result to the last bit. They are looked for when their
package is imported, under a hash of the sources; a copy of other sources is never used, nor one that cannot be loaded
here. ``HEADWAY_NATIVE=0`` turns them off.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import sys
from pathlib import Path

MODULES = {
    "headway.core": ("quantiles", "session"),
    "headway.policies.serving": (
        "board", "cohort", "draft", "jobs", "kv", "lanes", "memory", "recompute", "state", "survey",
    ),
    "headway.policies.shop": ("board", "remaining", "round", "states"),
    "headway.sim.serving": (
        "agenda", "energy", "gaps", "lanes", "log", "machine", "machines", "run", "sampler", "side_by_side",
        "table_requests", "truth", "tune_machine", "world",
    ),
    "headway.sim.shop": ("world",),
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
        # A path that may not be looked at (another user's home) is as good as none.
        if os.path.exists(folder / "ready") and _load_shared_part(folder):
            return folder
    return None


def folders() -> list[Path]:
    """Return where copies of exactly these sources, for this Python, would be: with the package, or in the cache."""
    place = (str(sys.implementation.cache_tag), sys.platform, platform.machine())
    digest = hashlib.sha256("-".join(place).encode())
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    key = digest.hexdigest()[:16]
    return [PREBUILT / key, *(cache / "headway" / "compiled" / key for cache in _caches())]


def _caches() -> list[Path]:
    """Return the user's cache, if there is one: a user without a home has none."""
    try:
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")]
    except RuntimeError:
        return []


def _load_shared_part(folder: Path) -> bool:
    """Load the library that all copies share, which ask for it by its name alone; says whether it could be."""
    for library in folder.glob("*__mypyc*"):
        name = library.name.partition(".")[0]
        spec = importlib.util.spec_from_file_location(name, library)
        if spec is not None and spec.loader is not None:
            try:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
            except ImportError:  # a file system that runs no code, another C library
                return False
            sys.modules[name] = module
    return True
