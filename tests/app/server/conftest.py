"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from app.server.running import Running, make_tokenizer, running


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer."""
    return make_tokenizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def told_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fake engine of `server` writes what it is told."""
    return tmp_path_factory.mktemp("told") / "told.jsonl"


@pytest.fixture(scope="session")
def server(model: Path, told_file: Path) -> Iterator[Running]:
    """A server with default settings and one adapter."""
    with running(model, engine={"trace": str(told_file), "adapters": {"pirate": "somewhere"}}) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    """An HTTP client of `server`."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
