from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.reproduce.toy import open_package
from headway.core import catalogue


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the toy family in the catalogue."""
    open_package(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue.forget()
    yield
    monkeypatch.undo()
    catalogue.forget()
