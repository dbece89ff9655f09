"""Pick the C++ kernels if this machine can build and run them, the torch ones otherwise."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from headway.engines.llm.native.protocol import Kernels

_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _native_or_why() -> Kernels | str:
    if os.environ.get("HEADWAY_NATIVE", "1") == "0":
        return "HEADWAY_NATIVE=0 switches them off"
    from headway.engines.llm.native import build

    try:
        extension = build.load()
    except build.CannotBuild as reason:
        return str(reason)
    from headway.engines.llm.native.native_kernels import NativeKernels

    return NativeKernels(extension)


@lru_cache(maxsize=2)
def kernels(prefer: Literal["native", "torch"] = "native") -> Kernels:
    """Return the kernels to use, building the C++ ones on first use.

    Parameters
    ----------
    prefer : {"native", "torch"}, default "native"
        `torch` asks for the pure-torch twins whatever the machine can do.
    """
    from headway.engines.llm.native.torch_kernels import TorchKernels

    if prefer == "torch":
        return TorchKernels("asked for")
    chosen = _native_or_why()
    if not isinstance(chosen, str):
        return chosen
    _log.warning("C++ kernels are not in use (%s); pure torch runs instead, more slowly.", chosen)
    return TorchKernels(chosen)
