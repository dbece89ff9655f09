"""Compiled copies are never in the way: what cannot be found or loaded is not used."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from headway.core import compiled


@pytest.fixture(autouse=True)
def _no_copy_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "PREBUILT", tmp_path / "prebuilt")
    monkeypatch.delenv("HEADWAY_NATIVE", raising=False)


def look() -> Path | None:
    return compiled.in_use.__wrapped__()


def test_a_cache_that_cannot_be_looked_at_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/" + "x" * 5000)  # the system refuses such a path
    assert look() is None


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert look() is None
    assert len(compiled.folders()) == 1


def test_copies_that_cannot_be_loaded_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compiled.folders()[-1]
    folder.mkdir(parents=True)
    (folder / "broken__mypyc.so").write_bytes(b"this is no library")
    (folder / "ready").touch()
    assert look() is None


def test_copies_are_for_one_kind_of_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiled.folders()
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert not set(here) & set(compiled.folders())
