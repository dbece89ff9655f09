"""Fixtures of the tests of fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import openai
import pytest

from app.server.running import Running, make_tokenizer
from app.tuning.serving import client_of, tuning


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer."""
    return make_tokenizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of `server`."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(model: Path, state: Path) -> Iterator[Running]:
    """A server with fine-tuning that anybody may use."""
    with tuning(model, state, max_file_bytes=1 << 20) as server:
        yield server


@pytest.fixture
def ai(server: Running) -> Iterator[openai.OpenAI]:
    """OpenAI's client of `server`."""
    with client_of(server) as client:
        yield client


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    """An HTTP client of `server`."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
