from __future__ import annotations

import json
import socket
from contextlib import closing

import pytest
from typer.testing import CliRunner

from app.bench.fake_openai import FakeOpenAI, running
from headway.app.cli.root import app
from headway.app.cli.talk import Talk
from headway.core.errors import EngineError


def test_an_answer_comes_in_pieces_and_is_remembered() -> None:
    fake = FakeOpenAI()
    with running(fake) as url, closing(Talk(url, system="be brief", sampling={"max_completion_tokens": 3})) as talk:
        assert list(talk.say("hello")) == [" w0", " w1", " w2"]
        list(talk.say("more"))
        assert talk.usage is not None
        assert (talk.usage.output_tokens, talk.usage.finish_reason, talk.model) == (3, "length", "fake")
    assert [m["role"] for m in fake.bodies[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert fake.bodies[1]["messages"][2]["content"] == " w0 w1 w2"


def test_a_stopped_answer_is_remembered_as_far_as_it_came() -> None:
    with running(FakeOpenAI(gap_s=0.01)) as url, closing(Talk(url, sampling={"max_completion_tokens": 500})) as talk:
        pieces = talk.say("hello")
        assert next(pieces) == " w0"
        pieces.close()
        assert talk.messages == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": " w0"}]
        talk.reset()
        assert talk.messages == []


@pytest.mark.parametrize(("fault", "says"), [("refuse", "too busy"), ("event", "engine died"), ("break", "broke off")])
def test_failures_are_clear(fault: str, says: str) -> None:
    sampling = {"max_completion_tokens": 3}
    with running(FakeOpenAI(faults={0: fault})) as url, closing(Talk(url, sampling=sampling)) as talk:
        with pytest.raises(EngineError, match=says):
            list(talk.say("hello"))
        assert list(talk.say("hello")) == [" w0", " w1", " w2"]


def test_one_message_in_the_terminal() -> None:
    with running(FakeOpenAI()) as url:
        done = CliRunner().invoke(app, ["chat", "-m", "hello", "--url", url, "--max-tokens", "2"])
        assert (done.exit_code, done.stdout) == (0, " w0 w1\n")


def test_one_message_as_json_with_its_settings() -> None:
    fake = FakeOpenAI()
    flags = [
        "--max-tokens",
        "4",
        "--temperature",
        "0",
        "--top-p",
        "0.5",
        "--seed",
        "3",
        "--stop",
        "x",
        "--slo-class",
        "batch",
    ]
    with running(fake) as url:
        done = CliRunner().invoke(app, ["chat", "-m", "hi", "--url", url, "--json", *flags, "--slo-class", "batch"])
    answer = json.loads(done.stdout)
    assert (answer["text"], answer["output_tokens"], answer["model"]) == (" w0 w1 w2 w3", 4, "fake")
    assert 0 < answer["ttft_s"] <= answer["e2e_s"]
    body = fake.bodies[0]
    assert (body["temperature"], body["top_p"], body["seed"], body["stop"]) == (0.0, 0.5, 3, ["x"])
    assert body["service_tier"] == "batch"


def test_a_conversation_from_standard_input() -> None:
    fake = FakeOpenAI()
    with running(fake) as url:
        said = "hello\n\n/help\nagain\n/reset\nanew\n/exit\nnever said\n"
        done = CliRunner().invoke(app, ["chat", "--url", url, "--max-tokens", "1"], input=said)
    assert done.exit_code == 0
    assert done.stdout == " w0\n w0\n w0\n"
    assert [len(body["messages"]) for body in fake.bodies] == [1, 3, 1]


def test_a_conversation_survives_a_failing_answer() -> None:
    with running(FakeOpenAI(faults={0: "refuse"})) as url:
        done = CliRunner().invoke(app, ["chat", "--url", url, "--max-tokens", "1"], input="hello\nagain\n")
    assert done.exit_code == 0
    assert "too busy" in done.stderr
    assert done.stdout.endswith(" w0\n")


def test_no_server_is_one_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = CliRunner().invoke(app, ["chat", "-m", "hello", "--url", url])
    assert done.exit_code == 2
    assert "headway serve" in done.stderr


def test_a_wrong_model_or_key_is_named() -> None:
    with running(FakeOpenAI(api_key="k")) as url:
        done = CliRunner().invoke(app, ["chat", "-m", "hello", "--url", url])
        assert (done.exit_code, "Incorrect API key" in done.stderr) == (2, True)
        words = ["chat", "-m", "hello", "--url", url, "--model", "fale"]
        done = CliRunner().invoke(app, words, env={"HEADWAY_API_KEY": "k"})
        assert (done.exit_code, "fake" in done.stderr) == (2, True)
