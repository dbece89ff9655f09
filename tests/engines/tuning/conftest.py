"""A tiny model that all tests of a process share."""

from __future__ import annotations

import pytest

from engines.tuning.making import save_model


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model("Llama", tmp_path_factory.mktemp("llama") / "model")
