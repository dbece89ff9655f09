from __future__ import annotations

import json

import pytest

from headway.app.bench.answer import Answer, Reading
from headway.app.bench.sse import EventCutter


def completion(text: str, finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "text": text, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "cmpl-1", "choices": [choice]}).encode() + b"\n\n"


def read(*timed: tuple[float, bytes], status: int = 200, error: str = "") -> Answer:
    answer = Answer(id="a", planned_s=0.0, sent_s=1.0, input_tokens=7)
    reading = Reading(answer, 100.0)
    reading.status(status)
    for clock_s, piece in timed:
        reading.data(piece, clock_s)
    reading.close(error)
    return answer


USAGE = b'data: {"id":"cmpl-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"


def test_times_are_exactly_those_of_the_bytes() -> None:
    answer = read(
        (101.5, completion("a")), (102.0, completion("b")), (104.0, completion("c", "length")), (105.0, USAGE + DONE)
    )
    assert answer.completed
    assert (answer.ttft_s, answer.e2e_s) == (0.5, 3.0)
    assert answer.itls_s == [0.5, 2.0]
    assert answer.tpot_s == (3.0 - 0.5) / (5 - 1)
    assert (answer.input_tokens, answer.output_tokens, answer.text) == (9, 5, "abc")


def test_pieces_are_counted_where_the_server_counts_nothing() -> None:
    answer = read((101.0, completion("a") + completion("b", "stop") + DONE))
    assert (answer.input_tokens, answer.output_tokens) == (7, 2)


def test_the_role_that_opens_a_chat_is_no_token() -> None:
    role = (
        b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    )
    said = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
    end = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    answer = read((101.0, role), (103.0, said), (104.0, end), (104.0, DONE))
    assert (answer.ttft_s, answer.e2e_s, answer.text, answer.itls_s) == (2.0, 3.0, "hi", [])


def test_events_may_be_cut_anywhere() -> None:
    whole = completion("é") + completion("b", "stop") + USAGE + DONE
    for cut in range(1, len(whole)):
        assert read((101.0, whole[:cut]), (102.0, whole[cut:])).text == "éb"


@pytest.mark.parametrize(
    ("pieces", "status", "error", "says"),
    [
        ([completion("a")], 200, "", "ended before"),
        ([b'data: {"error": {"message": "engine died"}}\n\n'], 200, "", "error event: engine died"),
        ([b'{"error": {"message": "too busy"}}'], 503, "", "HTTP 503: too busy"),
        ([b"<html>bad gateway</html>"], 502, "", "HTTP 502: <html>bad gateway</html>"),
        ([completion("a")], 200, "the connection broke", "the connection broke"),
        ([b"data: nonsense\n\n"], 200, "", "not an OpenAI chunk"),
        ([DONE], 200, "", "empty"),
        ([], 0, "no connection", "no connection"),
    ],
)
def test_failures_say_why(pieces: list[bytes], status: int, error: str, says: str) -> None:
    answer = read(*((101.0, piece) for piece in pieces), status=status, error=error)
    assert not answer.completed
    assert says in answer.error


def test_an_output_that_ends_twice_is_noticed_per_choice() -> None:
    assert read((101.0, completion("a", "stop") * 2 + DONE)).num_finishes == 2
    assert read((101.0, completion("a", "stop") + completion("b", "stop", index=1) + DONE)).num_finishes == 1


def test_comments_and_foreign_line_ends_are_understood() -> None:
    cut = EventCutter()
    assert cut.feed(b": ping\n\nevent: x\r\ndata: 1\r\n\r\ndata: 2") == [b"1"]
    assert cut.feed(b"\n\n") == [b"2"]
