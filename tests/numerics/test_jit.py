"""Compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headway.numerics.jit import compiled, njit


def twice(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize("how", [compiled, lambda function: njit()(function)], ids=["compiled", "njit"])
def test_what_cannot_be_kept_is_compiled_all_the_same(
    how: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    caching = pytest.importorskip("numba.core.caching", reason="numba is not installed")
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    found = how(twice)
    assert found(21) == 42
    assert found is not twice
