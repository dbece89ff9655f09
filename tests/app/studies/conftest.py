from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.studies.shop import open_shop
from headway.core import catalogue


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    open_shop(folder)
    return folder


@pytest.fixture(autouse=True)
def shop(shop_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the counter family in the catalogue."""
    monkeypatch.syspath_prepend(str(shop_folder))
    catalogue.forget()
    yield
    monkeypatch.undo()
    catalogue.forget()
    assert str(shop_folder) not in sys.path
