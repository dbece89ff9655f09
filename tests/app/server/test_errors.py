from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from app.server.running import make_tokenizer, running

CHAT = "/v1/chat/completions"
PLAIN = "/v1/completions"
HELLO = [{"role": "user", "content": "hi"}]

BAD = [
    # path, fields, parameter named, code
    (PLAIN, {"foo": 1}, "foo", "unknown_parameter"),
    (PLAIN, {"headway": {"foo": 1}}, "headway.foo", "unknown_parameter"),
    (PLAIN, {"prompt": None}, "prompt", "invalid_type"),
    (PLAIN, {"prompt": []}, "prompt", "empty_array"),
    (PLAIN, {"prompt": ["a", 1]}, "prompt", "invalid_type"),
    (PLAIN, {"prompt": ""}, "prompt", None),
    (PLAIN, {"prompt": [100000]}, "prompt", None),
    (PLAIN, {"prompt": [7] * 2048}, "prompt", "context_length_exceeded"),
    (PLAIN, {"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    (PLAIN, {"max_tokens": "many"}, "max_tokens", "invalid_type"),
    (PLAIN, {"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    (PLAIN, {"temperature": -1}, "temperature", "decimal_below_min_value"),
    (PLAIN, {"top_p": 0}, "top_p", "decimal_below_min_value"),
    (PLAIN, {"min_p": 1.5}, "min_p", "decimal_above_max_value"),
    (PLAIN, {"top_k": -2}, "top_k", "integer_below_min_value"),
    (PLAIN, {"repetition_penalty": 0.0}, "repetition_penalty", "decimal_below_min_value"),
    (PLAIN, {"presence_penalty": 3}, "presence_penalty", "decimal_above_max_value"),
    (PLAIN, {"frequency_penalty": -2.5}, "frequency_penalty", "decimal_below_min_value"),
    (PLAIN, {"n": 0}, "n", "integer_below_min_value"),
    (PLAIN, {"n": 17}, "n", "integer_above_max_value"),
    (PLAIN, {"best_of": 2}, "best_of", "unsupported_parameter"),
    (PLAIN, {"suffix": "x"}, "suffix", "unsupported_parameter"),
    (PLAIN, {"logprobs": 6}, "logprobs", "integer_above_max_value"),
    (PLAIN, {"logprobs": 1, "echo": True}, "echo", "unsupported_parameter"),
    (PLAIN, {"logit_bias": {"x": 1}}, "logit_bias", None),
    (PLAIN, {"logit_bias": {"5": 101}}, "logit_bias.5", "decimal_above_max_value"),
    (PLAIN, {"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
    (PLAIN, {"stop": ""}, "stop", None),
    (PLAIN, {"stop_token_ids": [-1]}, "stop_token_ids", None),
    (PLAIN, {"stream_options": {"include_usage": True}}, "stream_options", None),
    (PLAIN, {"response_format": {"type": "xml"}}, "response_format.type", None),
    (PLAIN, {"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema", None),
    (PLAIN, {"service_tier": "gold"}, "service_tier", "unknown_slo_class"),
    (PLAIN, {"service_tier": "batch", "headway": {"slo_class": "interactive"}}, "headway.slo_class", None),
    (PLAIN, {"headway": {"ttft_s": 0}}, "headway.ttft_s", None),
    (PLAIN, {"headway": {"tenant": ""}}, "headway.tenant", None),
    (PLAIN, {"headway": {"priority": 10**9}}, "headway.priority", None),
    (CHAT, {"messages": []}, "messages", "empty_array"),
    (CHAT, {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", None),
    (CHAT, {"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages", None),
    (
        CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content", "unsupported_content",
    ),
    (CHAT, {"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
    (CHAT, {"audio": {"voice": "x"}}, "audio", "unsupported_parameter"),
    (CHAT, {"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
    (CHAT, {"top_logprobs": 3}, "top_logprobs", None),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    (CHAT, {"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
    (CHAT, {"continue_final_message": True}, "continue_final_message", None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields", "param", "code"), BAD)
def test_bad_parameters_are_named(
    client: httpx.Client, path: str, fields: dict[str, Any], param: str, code: str | None
) -> None:
    good = {"messages": HELLO} if path == CHAT else {"prompt": "hi"}
    answer = client.post(path, json={"model": "parrot", **good, **fields})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert param.split("[")[0] in error["message"]


@pytest.mark.parametrize("fields", [
    {"tools": [], "tool_choice": "none", "modalities": ["text"], "store": False, "parallel_tool_calls": True},
    {"user": "u", "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "y", "prediction": None},
    {"temperature": 2, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2.0, "n": 1, "seed": 2**63 - 1},
    {"logprobs": True}, {"logprobs": False}, {"stop": None}, {"stop": ["a", "b", "c", "d"]},
    {"service_tier": "default"}, {"response_format": {"type": "text"}},
])  # fmt: skip
def test_harmless_parameters_are_accepted(client: httpx.Client, fields: dict[str, Any]) -> None:
    answer = client.post(CHAT, json={"model": "parrot", "messages": HELLO, "max_tokens": 1, **fields})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_a_body_that_is_no_json_object(client: httpx.Client, body: bytes) -> None:
    answer = client.post(PLAIN, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_unknown_paths_methods_and_models(client: httpx.Client) -> None:
    for answer, status, code in (
        (client.get("/v1/nowhere"), 404, "not_found"),
        (client.get(CHAT), 405, "method_not_allowed"),
        (client.post(CHAT, json={"model": "gpt-9", "messages": HELLO}), 404, "model_not_found"),
        (client.post("/tokenize", json={"model": "gpt-9", "prompt": "x"}), 404, "model_not_found"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.headers["x-request-id"]
    assert client.get(CHAT).headers["allow"] == "POST"


def test_refused_and_failed_by_the_engine(client: httpx.Client) -> None:
    for stream in (False, True):
        body = {"prompt": "hi", "stream": stream}
        refused = client.post(PLAIN, json={**body, "headway": {"tenant": "reject"}})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "rejected")
        assert "As you asked." in refused.json()["error"]["message"]
        failed = client.post(PLAIN, json={**body, "headway": {"tenant": "error"}})
        assert (failed.status_code, failed.json()["error"]["type"]) == (500, "server_error")


def test_turned_away_for_want_of_room(client: httpx.Client) -> None:
    for stream in (False, True):
        answer = client.post(PLAIN, json={"prompt": "hi", "stream": stream, "headway": {"tenant": "shed"}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
        assert answer.headers["retry-after"] == "3"


def test_a_request_id_is_given_back(client: httpx.Client) -> None:
    assert client.get("/health", headers={"x-request-id": "my-id_1"}).headers["x-request-id"] == "my-id_1"
    assert client.get("/health", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_limits_of_body_and_prompt(model: Path) -> None:
    with (
        running(model, max_body_bytes=5000, max_prompt_tokens=10) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        announced = client.post(PLAIN, content=b"x" * 5001)
        assert (announced.status_code, announced.json()["error"]["code"]) == (413, "request_too_large")
        unannounced = client.post(PLAIN, content=(b"x" * 1000 for _ in range(2000)))
        assert (unannounced.status_code, unannounced.json()["error"]["code"]) == (413, "request_too_large")
        long = client.post(PLAIN, json={"prompt": [7] * 11})
        assert (long.status_code, long.json()["error"]["code"]) == (400, "prompt_too_long")
        assert client.post(PLAIN, json={"prompt": [7] * 10}).status_code == 200


def test_keys_open_everything_but_probes(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("# ours\nfrom-file\n\n")
    monkeypatch.setenv("HEADWAY_API_KEY", "from-env, another")
    options: dict[str, Any] = {"api_keys": ("given",), "api_key_file": str(tmp_path / "keys")}
    with running(model, **options) as server, httpx.Client(base_url=server.url) as client:
        for path in ("/v1/models", "/v1/nowhere", "/tokenize"):
            refused = client.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        for bad in ("Bearer wrong", "Basic given", "given", "Bearer", "Bearer given2"):
            assert client.get("/v1/models", headers={"Authorization": bad}).status_code == 401
        for key in ("given", "from-file", "from-env", "another"):
            assert client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        for path in ("/health", "/ready", "/metrics"):
            assert client.get(path).status_code == 200


def test_a_model_without_chat_template_still_completes(tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path, template="")
    with running(folder) as server, httpx.Client(base_url=server.url) as client:
        answer = client.post(CHAT, json={"messages": HELLO})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_chat_template")
        assert client.post(PLAIN, json={"prompt": "the cat"}).json()["choices"][0]["text"] == "the cat"
