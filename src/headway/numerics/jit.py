"""Loops over arrays, compiled where numba is installed and worth its start."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from importlib.util import find_spec
from inspect import getsourcefile
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


@functools.cache
def can_compile() -> bool:
    """Whether numba is installed; looks for it without importing it."""
    return find_spec("numba") is not None


def njit(*signature: str, cache: bool = True, **options: Any) -> Callable[[Any], Any]:
    """Decorate a function that numba compiles, and keep what is compiled on disk where there is a place for it.

    There is none where neither the folder of the source nor one for caches can be written; numba alone gives up there.

    Parameters
    ----------
    *signature : str
        Types to compile for at once; at the first call by default.
    cache : bool
        Whether to keep it; True.
    **options
        Further options of `numba.njit`.

    Raises
    ------
    ModuleNotFoundError
        When numba is not installed.
    """
    import numba  # half a second, paid by those who compile

    def compile_(function: Any) -> Any:
        try:
            return numba.njit(*signature, cache=cache, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return numba.njit(*signature, **options)(function)

    return compile_


def is_ready(entry: Callable[..., Any]) -> bool:
    """Whether `compiled` will probably find what it has compiled of a function before, and so take a moment only."""
    return can_compile() and any(file.stat().st_mtime > _changed_at(entry) for file in _kept(entry))


def compiled(entry: Callable[P, T], *inner: Callable[..., Any]) -> Callable[P, T]:
    """Return a function as numba compiles it, or as it is where numba is not installed.

    The same source serves both, so that small problems need not wait for a compiler, and tests can look inside. What is
    compiled is kept on disk, next to the source of `entry`, until the source of any of them changes.

    None of them may make an array: no references are counted, which is what most of the time of small loops goes into
    (tabu search makes five to eight times as many moves without).

    Parameters
    ----------
    entry : callable
        A function of arrays and numbers.
    *inner : callable
        The functions that it calls, directly or not.
    """
    return _compiled(entry, inner) if can_compile() else entry


@functools.cache
def _compiled(entry: Callable[P, T], inner: tuple[Callable[..., Any], ...]) -> Callable[P, T]:
    from numba.extending import register_jitable

    for function in inner:
        _once(register_jitable, function)
    newest = max(map(_changed_at, (entry, *inner)))
    for file in _kept(entry):
        if file.stat().st_mtime <= newest:  # numba looks at the source of `entry` alone
            with contextlib.suppress(OSError):  # where nothing can be deleted, nothing has been kept by us
                file.unlink()
    return cast("Callable[P, T]", njit(_nrt=False)(entry))


@functools.cache
def _once(register: Callable[..., Any], function: Callable[..., Any]) -> None:
    register(_nrt=False)(function)


def _kept(entry: Callable[..., Any]) -> list[Path]:
    """Return the indexes of what numba keeps of a function."""
    source = Path(getsourcefile(entry) or "")
    return list((source.parent / "__pycache__").glob(f"{source.stem}.{entry.__qualname__}-*.nbi"))


def _changed_at(function: Callable[..., Any]) -> float:
    return Path(getsourcefile(function) or "").stat().st_mtime
