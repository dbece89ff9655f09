from __future__ import annotations

import asyncio
from collections.abc import Iterator

import openai
import pytest

from app.server.running import Running


@pytest.fixture
def ai(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_models(ai: openai.OpenAI) -> None:
    assert [model.id for model in ai.models.list()] == ["parrot", "pirate"]
    assert ai.models.retrieve("parrot").object == "model"


def test_chat_and_completion(ai: openai.OpenAI) -> None:
    chat = ai.chat.completions.create(model="parrot", messages=[{"role": "user", "content": "the cat"}], logprobs=True)
    assert chat.choices[0].message.content == "the cat"
    assert chat.choices[0].finish_reason == "stop"
    assert chat.choices[0].logprobs is not None
    assert chat.usage is not None
    assert chat.usage.prompt_tokens_details is not None
    plain = ai.completions.create(model="parrot", prompt="the dog", extra_body={"top_k": 5, "ignore_eos": False})
    assert plain.choices[0].text == "the dog"


def test_streams(ai: openai.OpenAI) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "the cat sat"}]
    stream = ai.chat.completions.create(
        model="parrot", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "the cat sat"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 3
    with ai.chat.completions.stream(model="parrot", messages=messages) as helper:
        assert helper.get_final_completion().choices[0].message.content == "the cat sat"
    text = "".join(c.choices[0].text for c in ai.completions.create(model="parrot", prompt="the dog", stream=True))
    assert text == "the dog"


def test_many_at_once_by_the_asynchronous_client(server: Running) -> None:
    async def ask(ai: openai.AsyncOpenAI, number: int) -> str:
        stream = await ai.completions.create(model="parrot", prompt=f"the cat {number}", stream=True, max_tokens=99)
        return "".join([chunk.choices[0].text async for chunk in stream])

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as ai:
            return await asyncio.gather(*[ask(ai, number) for number in range(40)])

    assert asyncio.run(main()) == [f"the cat {number}" for number in range(40)]


def test_errors_become_the_clients_own(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        ai.completions.create(model="gpt-9", prompt="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        ai.completions.create(model="parrot", prompt="x", temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.InternalServerError):
        ai.completions.create(model="parrot", prompt="x", extra_body={"headway": {"tenant": "error"}})
    with pytest.raises(openai.BadRequestError):
        ai.completions.create(model="parrot", prompt="x", stream=True, extra_body={"headway": {"tenant": "reject"}})
