from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from app.server.running import told


def complete(client: httpx.Client, prompt: Any, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/completions", json={"model": "parrot", "prompt": prompt, "max_tokens": 200, **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def events(client: httpx.Client, path: str, **body: Any) -> list[Any]:
    with client.stream("POST", path, json={"model": "parrot", "stream": True, **body}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def test_completion_repeats_the_prompt(client: httpx.Client) -> None:
    body = complete(client, "the cat sat 😀 é")
    assert body["object"] == "text_completion"
    assert body["choices"] == [{"index": 0, "text": "the cat sat 😀 é", "finish_reason": "stop", "logprobs": None}]
    usage = body["usage"]
    assert usage["completion_tokens"] == usage["prompt_tokens"] + 1  # the end token counts, and is not shown
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert body["service_tier"] == "default"
    assert body["system_fingerprint"].startswith("fp_")


def test_default_and_given_max_tokens(client: httpx.Client) -> None:
    assert complete(client, list(range(4, 44)), max_tokens=None)["usage"]["completion_tokens"] == 16
    body = complete(client, "the cat sat", max_tokens=2)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


def test_max_tokens_is_cut_to_the_context(client: httpx.Client) -> None:
    body = complete(client, [7] * 2040, max_tokens=100, ignore_eos=True)
    assert body["usage"]["completion_tokens"] == 8


def test_prompts_as_texts_tokens_and_lists_of_tokens(client: httpx.Client) -> None:
    tokens = client.post("/tokenize", json={"prompt": "the dog"}).json()["tokens"]
    assert complete(client, tokens)["choices"][0]["text"] == "the dog"
    texts = [choice["text"] for choice in complete(client, ["the cat", "a b c"])["choices"]]
    assert texts == ["the cat", "a b c"]
    assert [c["text"] for c in complete(client, [tokens, tokens])["choices"]] == ["the dog", "the dog"]


def test_n_and_several_prompts_are_numbered_prompt_by_prompt(client: httpx.Client) -> None:
    body = complete(client, ["the cat", "a b c"], n=2)
    assert [(c["index"], c["text"]) for c in body["choices"]] == [
        (0, "the cat"), (1, "the cat"), (2, "a b c"), (3, "a b c"),
    ]  # fmt: skip


def test_each_of_n_gets_its_own_seed(client: httpx.Client, told_file: Path) -> None:
    body = complete(client, "the cat", n=3, seed=5)
    seeds = [told_["sampling"]["seed"] for told_ in told(told_file) if told_["id"].startswith(body["id"])]
    assert seeds == [5, 6, 7]


@pytest.mark.parametrize("stop", ["sat", " sat", ["zzz", "sat"], "at on", "cat sat o"])
def test_stop_strings_across_tokens(client: httpx.Client, stop: str | list[str]) -> None:
    text = "the cat sat on the mat"
    found = stop if isinstance(stop, str) else "sat"
    body = complete(client, text, stop=stop)
    assert body["choices"][0]["text"] == text[: text.index(found)]
    assert body["choices"][0]["finish_reason"] == "stop"
    kept = complete(client, text, stop=stop, include_stop_str_in_output=True)
    assert kept["choices"][0]["text"] == text[: text.index(found)] + found


def test_stop_strings_do_not_count_before_min_tokens(client: httpx.Client) -> None:
    body = complete(client, "the the the the the", stop="the", min_tokens=3)
    assert body["usage"]["completion_tokens"] == 3


def test_a_streamed_completion_adds_up_to_the_whole_one(client: httpx.Client) -> None:
    chunks = events(client, "/v1/completions", prompt="the cat 😀😀 sat", max_tokens=99)
    assert "".join(c["choices"][0]["text"] for c in chunks) == "the cat 😀😀 sat"
    assert all("\ufffd" not in c["choices"][0]["text"] for c in chunks)
    assert [c["choices"][0]["finish_reason"] for c in chunks][-1] == "stop"
    assert len({c["id"] for c in chunks}) == 1
    assert len(chunks) > 3


def test_streamed_usage_comes_last_and_alone(client: httpx.Client) -> None:
    options = {"include_usage": True}
    chunks = events(client, "/v1/completions", prompt="the cat", max_tokens=99, stream_options=options)
    assert all(c["usage"] is None for c in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == 2
    assert chunks[-1]["usage"]["completion_tokens"] == 3


def test_streamed_stop_string_never_shows_in_part(client: httpx.Client) -> None:
    chunks = events(client, "/v1/completions", prompt="the cat sat on the mat", max_tokens=99, stop="sat on the dog")
    assert "".join(c["choices"][0]["text"] for c in chunks) == "the cat sat on the mat"
    chunks = events(client, "/v1/completions", prompt="the cat sat on the mat", max_tokens=99, stop="sat on")
    assert "".join(c["choices"][0]["text"] for c in chunks) == "the cat "


def test_echo_shows_the_prompt_first(client: httpx.Client) -> None:
    assert complete(client, "the cat", echo=True)["choices"][0]["text"] == "the catthe cat"
    tokens = client.post("/tokenize", json={"prompt": "the dog"}).json()["tokens"]
    assert complete(client, tokens, echo=True)["choices"][0]["text"] == "the dogthe dog"
    chunks = events(client, "/v1/completions", prompt="the cat", max_tokens=99, echo=True)
    assert "".join(c["choices"][0]["text"] for c in chunks) == "the catthe cat"


def test_chat_renders_the_template_and_hides_special_tokens(client: httpx.Client, told_file: Path) -> None:
    parts = [{"type": "text", "text": "the cat"}, {"type": "text", "text": "sat"}]
    messages = [{"role": "developer", "content": "a b"}, {"role": "user", "content": parts}]
    answer = client.post("/v1/chat/completions", json={"model": "parrot", "messages": messages})
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "a bthe cat\nsat", "refusal": None}
    submit = next(entry for entry in told(told_file) if entry["id"].startswith(body["id"]))
    prompt = client.post("/detokenize", json={"tokens": submit["prompt"]}).json()["prompt"]
    assert prompt == "<|system|>a b<|end|><|user|>the cat\nsat<|end|><|assistant|>"
    assert submit["sampling"]["max_tokens"] == 2048 - len(submit["prompt"])


def test_chat_stream_has_role_text_and_end(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": "the cat"}]
    chunks = events(client, "/v1/chat/completions", messages=messages, n=2)
    for index in (0, 1):
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(c["delta"].get("content", "") for c in own) == "the cat"
        assert [c["finish_reason"] for c in own] == [None] * (len(own) - 1) + ["stop"]
        assert own[-1]["delta"] == {}


def test_chat_logprobs(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": "é"}]
    body: dict[str, Any] = {"messages": messages, "logprobs": True, "top_logprobs": 2}
    content = client.post("/v1/chat/completions", json=body).json()["choices"][0]["logprobs"]["content"]
    assert [one["bytes"] for one in content][1:3] == [[0xC3], [0xA9]]
    assert content[0]["token"] == "<|user|>"
    assert [alternative["logprob"] for alternative in content[0]["top_logprobs"]] == [-0.5, -1.5]
    chunks = events(client, "/v1/chat/completions", **body)
    streamed = [one for c in chunks if (scores := c["choices"][0]["logprobs"]) for one in scores["content"]]
    assert streamed == content


def test_completion_logprobs_stop_where_the_text_stops(client: httpx.Client) -> None:
    scores = complete(client, "the cat sat on", logprobs=1, stop="sat")["choices"][0]["logprobs"]
    assert "".join(scores["tokens"]) == "the cat sat"  # the token that begins before the stop string is shown in part
    assert scores["text_offset"] == [0, 3, 7]
    assert scores["token_logprobs"] == [-0.5] * 3
    assert len(scores["top_logprobs"][0]) == 1


def test_sampling_parameters_reach_the_engine(client: httpx.Client, told_file: Path) -> None:
    fields = {
        "temperature": 0.5, "top_p": 0.9, "top_k": -1, "min_p": 0.1, "repetition_penalty": 1.1, "presence_penalty": -1,
        "frequency_penalty": 2, "logit_bias": {"7": -100}, "seed": -3, "stop_token_ids": [9], "ignore_eos": True,
        "min_tokens": 2, "max_tokens": 6, "response_format": {"type": "json_object"}, "user": "me", "metadata": {},
    }  # fmt: skip
    body = complete(client, "the cat", **fields)
    submit = next(entry for entry in told(told_file) if entry["id"].startswith(body["id"]))
    assert submit["sampling"] == {
        "temperature": 0.5, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.1, "presence_penalty": -1.0,
        "frequency_penalty": 2.0, "logit_bias": {"7": -100.0}, "seed": -3, "stop_token_ids": [9], "ignore_eos": True,
        "min_tokens": 2, "max_tokens": 6, "grammar": '{"type":"object"}',
    }  # fmt: skip


def test_json_schema_becomes_the_grammar(client: httpx.Client, told_file: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    body = complete(client, "the cat", response_format=wanted)
    submit = next(entry for entry in told(told_file) if entry["id"].startswith(body["id"]))
    assert json.loads(submit["sampling"]["grammar"]) == schema


def test_service_tier_and_objectives(client: httpx.Client, told_file: Path) -> None:
    own = {"ttft_s": 0.5, "deadline_s": 9, "priority": 7, "tenant": "acme"}
    body = complete(client, "the cat", service_tier="interactive", headway=own)
    assert body["service_tier"] == "interactive"
    submit = next(entry for entry in told(told_file) if entry["id"].startswith(body["id"]))
    assert (submit["slo_class"], submit["priority"], submit["tenant"]) == ("interactive", 7, "acme")
    assert (submit["ttft_s"], submit["tpot_s"], submit["deadline_s"]) == (0.5, None, 9.0)
    assert (submit["session"], submit["stage"], submit["tool"]) == ("", "", None)
    assert complete(client, "the cat", service_tier="auto")["service_tier"] == "default"
    assert complete(client, "the cat", headway={"slo_class": "batch"})["service_tier"] == "batch"


def test_sessions_and_tools_are_told_to_the_engine(client: httpx.Client, told_file: Path) -> None:
    body = complete(client, "the cat", headway={"session": "s1", "stage": "plan", "tool": "bash"})
    submit = next(entry for entry in told(told_file) if entry["id"].startswith(body["id"]))
    assert (submit["session"], submit["stage"], submit["tool"]) == ("s1", "plan", "bash")
    long = client.post("/v1/completions", json={"prompt": "x", "headway": {"session": "s" * 300}})
    assert (long.status_code, long.json()["error"]["param"]) == (400, "headway.session")


def test_an_adapter_is_a_model(client: httpx.Client, told_file: Path) -> None:
    body = complete(client, "the cat", model="pirate")
    assert body["model"] == "pirate"
    submit = next(entry for entry in told(told_file) if entry["id"].startswith(body["id"]))
    assert submit["adapter"] == "pirate"


def test_models(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert [(card["id"], card["parent"]) for card in listed["data"]] == [("parrot", None), ("pirate", "parrot")]
    assert client.get("/v1/models/pirate").json()["max_model_len"] == 2048
    missing = client.get("/v1/models/some/where")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_tokenize_and_back(client: httpx.Client) -> None:
    body = client.post("/tokenize", json={"prompt": "the cat", "return_token_strs": True}).json()
    assert body["token_strs"] == ["the", " cat"]
    assert (body["count"], body["max_model_len"]) == (2, 2048)
    assert client.post("/detokenize", json={"tokens": body["tokens"]}).json() == {"prompt": "the cat"}
    chat = client.post("/tokenize", json={"messages": [{"role": "user", "content": "the cat"}]}).json()
    text = client.post("/detokenize", json={"tokens": chat["tokens"]}).json()["prompt"]
    assert text == "<|user|>the cat<|end|><|assistant|>"
    long = "the cat " * 5000
    assert client.post("/tokenize", json={"prompt": long}).json()["count"] > 9000
