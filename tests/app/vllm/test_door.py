from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Send

from app.vllm.playing import CHAT, PLAIN, Street, Vllm, framed, says, says_who, stream, whole
from headway.engines.vllm.asks import rejection

FULL = rejection("no room", 2.2)
NEVER = rejection("longer than all memory")
USAGE = {"choices": [], "usage": {"completion_tokens": 0}}


def turned(why: str = FULL, index: int = 0) -> dict[str, Any]:
    return {"index": index, "text": "", "finish_reason": "abort", "stop_reason": why}


def good(index: int = 0) -> dict[str, Any]:
    return {"index": index, "text": "hi", "finish_reason": "length", "stop_reason": None}


@pytest.mark.parametrize("path", [CHAT, PLAIN])
def test_a_whole_answer_that_was_turned_away_is_an_error(path: str) -> None:
    street = Street(Vllm(whole({"choices": [turned()]})))
    heard = street.post({"service_tier": "interactive"}, path)
    assert (heard.status, heard.headers["retry-after"]) == (429, "3")
    assert heard.headers["content-type"] == "application/json"
    assert heard.error == {
        "message": "The server turned the request away: no room. Try again in 3 s.",
        "type": "rate_limit_error", "param": None, "code": "overloaded",
    }  # fmt: skip
    assert street.value("headway_finished_total", reason="rejected") == 1
    assert street.value("headway_slo_missed_total", slo="interactive", metric="ttft_s") == 1


def test_what_can_never_be_served_is_the_senders_fault() -> None:
    heard = Street(Vllm(whole({"choices": [turned(NEVER)]}))).post({})
    assert (heard.status, heard.error["code"]) == (400, "rejected")
    assert "longer than all memory" in heard.error["message"]


STREAMS: list[tuple[str, tuple[Any, ...]]] = [
    (CHAT, (says_who(), says("x", finish="abort", stop=FULL), "[DONE]")),
    (CHAT, (says_who(), says_who(1), says("", 1, "abort", FULL), says("", 0, "abort", FULL), USAGE, "[DONE]")),
    (CHAT, (says("", finish="abort", stop=FULL),)),
    (PLAIN, ({"choices": [turned()]}, "[DONE]")),
    (PLAIN, ({"choices": [turned()]}, {"choices": [turned(NEVER, 1)]}, USAGE, "[DONE]")),
]


@pytest.mark.parametrize(("path", "events"), STREAMS)
def test_a_stream_that_was_turned_away_is_an_error(path: str, events: tuple[Any, ...]) -> None:
    heard = Street(Vllm(stream(*events))).post({"stream": True}, path)
    assert (heard.status, heard.headers["retry-after"], heard.error["code"]) == (429, "3", "overloaded")


@pytest.mark.parametrize(("path", "events"), [
    (CHAT, (says_who(), "[DONE]")), (CHAT, (says_who(), USAGE, "[DONE]")), (PLAIN, ("[DONE]",)), (PLAIN, ()),
])  # fmt: skip
def test_a_stream_without_output_is_an_error(path: str, events: tuple[Any, ...]) -> None:
    heard = Street(Vllm(stream(*events))).post({"stream": True}, path)
    assert (heard.status, heard.error["type"]) == (503, "server_error")
    assert "before its first token" in heard.error["message"]


GOOD: list[tuple[str, tuple[Any, ...]]] = [
    (CHAT, (says_who(), says("a"), says("b", finish="stop", stop=FULL), "[DONE]")),
    (CHAT, (says_who(), says_who(1), says("", 1, "abort", FULL), says("a", 0), says("", 0, "length"), "[DONE]")),
    (CHAT, (says_who(), says("", finish="stop"), "[DONE]")),
    (CHAT, (says_who(), says("", finish="abort", stop="something else"), "[DONE]")),
    (CHAT, ({"error": {"message": "engine died"}}, "[DONE]")),
    (CHAT, (": keep-alive\n\n", says_who(), says("", finish="abort", stop=FULL), "[DONE]")),
    (PLAIN, ({"choices": [turned()]}, {"choices": [good(1)]}, "[DONE]")),
    (PLAIN, ({"choices": [good()]}, {"choices": [turned()]}, "[DONE]")),
    (PLAIN, ("not json", "[DONE]")),
]


@pytest.mark.parametrize(("path", "events"), GOOD)
def test_a_stream_with_output_passes_untouched(path: str, events: tuple[Any, ...]) -> None:
    heard = Street(Vllm(stream(*events))).post({"stream": True}, path)
    assert heard.status == 200
    assert heard.chunks == [*framed(*events), b""]
    assert heard.headers == {"content-type": "text/event-stream; charset=utf-8"}


def test_one_good_choice_makes_a_good_answer() -> None:
    assert Street(Vllm(whole({"choices": [turned(), good(1)]}))).post({}).status == 200


def test_errors_of_vllm_pass() -> None:
    heard = Street(Vllm(whole({"error": {"message": "bad", "code": 400}}, 400))).post({})
    assert (heard.status, heard.error["message"]) == (400, "bad")


def test_chunks_are_not_held_back_once_there_is_output() -> None:
    seen: list[int] = []
    street = Street(Vllm())

    async def play(send: Send) -> None:
        heard = 0

        async def told(body: bytes, more: bool = True) -> None:
            nonlocal heard
            await send({"type": "http.response.body", "body": body, "more_body": more})
            heard += 1
            seen.append(len(messages))

        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for chunk in framed(says_who(), says("a"), says("b"), says("c", finish="stop"), "[DONE]"):
            await told(chunk)
        await told(b"", more=False)

    messages: list[Any] = []

    async def main() -> None:
        async def send(message: Any) -> None:
            messages.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"{}"}

        scope = {"type": "http", "method": "POST", "path": CHAT, "app": street.app, "headers": []}
        street.vllm.play = play
        await street.door(scope, receive, send)

    asyncio.run(main())
    assert seen == [0, 3, 4, 5, 6, 7]  # who speaks is held until there is a word


def test_a_failure_behind_the_door_is_left_to_whoever_answers_for_it() -> None:
    async def play(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("broken")

    street = Street(Vllm(play))
    with pytest.raises(RuntimeError, match="broken"):
        street.post({})


def test_what_was_felt_is_counted_per_class() -> None:
    words = [says("w") for _ in range(9)]
    usage = {"choices": [], "usage": {"completion_tokens": 10}}
    street = Street(Vllm(stream(says_who(), *words, says("", finish="length"), usage, "[DONE]")))
    street.post({"stream": True, "service_tier": "interactive"})
    street.post({"stream": True, "service_tier": "interactive", "headway": {"ttft_s": 3}})
    assert street.value("headway_finished_total", reason="length") == 2
    assert street.value("headway_slo_met_total", slo="interactive", metric="ttft_s") == 1  # the other brought its own
    assert street.value("headway_slo_met_total", slo="interactive", metric="tpot_s") == 2
    assert street.value("headway_ttft_seconds_count") == street.value("headway_tpot_seconds_count") == 2
    street.vllm.play = whole({"choices": [good()]})
    street.post({})
    assert street.value("headway_e2e_seconds_count") == 3
    assert street.value("headway_ttft_seconds_count") == 2  # nobody felt when a whole answer began
    assert street.value("headway_finished_total", reason="length") == 3


def test_a_promise_that_was_broken_is_counted() -> None:
    slos = [{"metric": "ttft_s", "bound": 1e-9}, {"metric": "tpot_s", "bound": 1e-12}]
    strict = {"slo_classes": [{"name": "default", "slos": slos}]}
    street = Street(Vllm(stream(says("a"), says("b", finish="stop"), "[DONE]")), {"headway": strict})
    street.post({"stream": True})
    for metric in ("ttft_s", "tpot_s"):
        assert street.value("headway_slo_missed_total", slo="default", metric=metric) == 1


def test_a_reader_that_leaves_is_counted() -> None:
    async def play(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for chunk in framed(says("a"), says("b")):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    street = Street(Vllm(play))
    street.post({"stream": True})
    assert street.value("headway_finished_total", reason="cancelled") == 1


def test_an_asker_who_leaves_before_a_whole_answer_is_counted_as_gone() -> None:
    street = Street(Vllm(whole(None)))  # what vLLM says then
    street.post({})
    assert street.value("headway_finished_total", reason="cancelled") == 1
    assert street.value("headway_e2e_seconds_count") == 0


def test_a_door_is_built_as_often_as_one_likes() -> None:
    street = Street(Vllm())
    street.post({})
    again = Street(Vllm())
    again.door = type(street.door)(again.vllm, street.registry)
    again.post({})
    assert street.value("headway_e2e_seconds_count") == 2
