"""What a client must not be able to do to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from app.server.running import Running, running
from headway.app.server.routes import Routes


@pytest.mark.parametrize("name", ["chat_template", "add_generation_prompt", "messages", "tokenize"])
def test_a_client_cannot_bring_a_template_of_its_own(client: httpx.Client, name: str) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {name: "{{ 1 }}"}}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert name in answer.json()["error"]["message"]


@pytest.mark.parametrize("extra", [{"top_k": 10**30}, {"logit_bias": {"9" * 5000: 1}}, {"min_tokens": 10**30}])
def test_huge_numbers_are_answered_and_nothing_is_left_behind(client: httpx.Client, extra: dict[str, Any]) -> None:
    answer = client.post("/v1/completions", json={"prompt": "the cat", "max_tokens": 2, **extra})
    assert answer.status_code in (200, 400)
    live = [line for line in client.get("/metrics").text.splitlines() if line.startswith("headway_live")]
    assert [line.split()[-1] for line in live] == ["0.0"]


def test_too_many_prompts_are_refused_before_they_are_read(client: httpx.Client, server: Running) -> None:
    del server
    answer = client.post("/v1/completions", json={"prompt": ["a"] * 10_000, "max_tokens": 1})
    assert answer.status_code == 400


def test_a_defect_is_an_answer_with_an_id_and_a_line_in_the_log(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Routes, "models", broken)
    log = tmp_path / "access.jsonl"
    with running(model, access_log=str(log)) as server, httpx.Client(base_url=server.url) as client:
        answer = client.get("/v1/models")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"]
    assert '"status":500' in log.read_text()
    assert "internal error" in log.read_text()
