"""Compiling loops: the same results as without, kept on disk until any of the sources changes."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headway.numerics import jit

INNER = "def inner(x):\n    return x + {add}\n"
ENTRY = """
import jit_inner
from jit_inner import inner

def entry(values):
    total = 0
    for at in range(len(values)):
        total += inner(values[at])
    return total
"""


def load(folder: Path, name: str, text: str) -> ModuleType:
    """Write a module and import it anew."""
    (folder / f"{name}.py").write_text(text)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_change_of_what_is_called_is_noticed(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    values = np.arange(4)
    inner = load(tmp_path, "jit_inner", INNER.format(add=1))
    entry = load(tmp_path, "jit_entry", ENTRY)
    try:
        assert not jit.is_ready(entry.entry)
        assert jit.compiled(entry.entry, inner.inner)(values) == entry.entry(values) == 10
        past = time.time() - 10
        for name in ("jit_inner", "jit_entry"):
            os.utime(tmp_path / f"{name}.py", (past, past))
        assert jit.is_ready(entry.entry)
        inner = load(tmp_path, "jit_inner", INNER.format(add=5))
        later = time.time() + 10
        os.utime(tmp_path / "jit_inner.py", (later, later))
        spec = importlib.util.spec_from_file_location("jit_entry", tmp_path / "jit_entry.py")
        assert spec is not None
        assert spec.loader is not None
        again = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(again)
        assert jit.compiled(again.entry, inner.inner)(values) == 26
    finally:
        for name in ("jit_inner", "jit_entry"):
            sys.modules.pop(name, None)


def test_without_numba_functions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "can_compile", lambda: False)
    assert jit.compiled(len) is len
    assert not jit.is_ready(load)
