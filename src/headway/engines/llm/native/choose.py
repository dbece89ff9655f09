"""Pick the C++ kernels if this machine can build and run them, the torch ones otherwise."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from headway.core.errors import HeadwayError

if TYPE_CHECKING:
    from headway.engines.llm.native.protocol import Kernels

_log = logging.getLogger(__name__)


def kernels(prefer: Literal["native", "torch"] = "native") -> Kernels:
    """Return the kernels to use, building the C++ ones on first use.

    Parameters
    ----------
    prefer : {"native", "torch"}, default "native"
        `torch` asks for the pure-torch twins whatever the machine can do.
    """
    return _best() if prefer == "native" else _twins("asked for")


@lru_cache(maxsize=1)
def _best() -> Kernels:
    try:
        return _native()
    except HeadwayError as reason:
        _log.warning("C++ kernels are not in use (%s); pure torch runs instead, more slowly.", reason)
        return _twins(str(reason))


def _native() -> Kernels:
    from headway.engines.llm.native import build
    from headway.engines.llm.native.native_kernels import NativeKernels

    if os.environ.get("HEADWAY_NATIVE", "1") == "0":
        raise build.CannotBuild("HEADWAY_NATIVE=0 switches them off")
    return NativeKernels(build.load())


@lru_cache(maxsize=2)
def _twins(why: str) -> Kernels:
    from headway.engines.llm.native.torch_kernels import TorchKernels

    return TorchKernels(why)
