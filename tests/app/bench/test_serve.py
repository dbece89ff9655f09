from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from msgspec.structs import replace

from app.bench.fake_openai import FakeOpenAI, running
from headway.app.bench.answer import Answer
from headway.app.bench.load import Load
from headway.app.bench.openloop import Run
from headway.app.bench.serve import Plan, Watch, bench
from headway.app.bench.target import CHAT, Target
from headway.core.errors import ConfigError, EngineError, UnknownName

SMALL = Load(num_prompts=20, random_input_len=12, random_output_len=4)


def measured(
    fake: FakeOpenAI, load: Load = SMALL, target: dict[str, Any] | None = None, **more: Any
) -> tuple[dict[str, Any], Run]:
    with running(fake) as url:
        return asyncio.run(bench(Plan(target=Target(base_url=url, **(target or {})), load=load, **more)))


def test_every_request_is_sent_once_and_accounted() -> None:
    fake = FakeOpenAI()
    result, run = measured(fake)
    assert (result["sent"], result["completed"], result["failed"]) == (20, 20, 0)
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert (result["total_input_tokens"], result["total_output_tokens"]) == (20 * 12, 20 * 4)
    asked = [i for i in fake.request_ids if i.startswith("bench-")]
    assert sorted(asked) == sorted(answer.id for answer in run.answers)
    assert run.answers[0].text == " w0 w1 w2 w3"


def test_prompts_are_token_ids_of_exact_length() -> None:
    fake = FakeOpenAI()
    result, _ = measured(fake)
    assert result["prompt_kind"] == "tokens"
    assert {len(body["prompt"]) for body in fake.bodies if body["max_tokens"] == 4} == {12}


@pytest.mark.parametrize("fake", [FakeOpenAI(takes_ids=False), FakeOpenAI(has_tokenize=False)])
def test_text_is_sent_where_ids_are_refused_or_unknown(fake: FakeOpenAI) -> None:
    result, _ = measured(fake)
    assert result["prompt_kind"] == "text"
    assert result["completed"] == 20
    assert result["total_input_tokens"] == 20 * 12


def test_ids_that_are_demanded_and_refused_are_an_error() -> None:
    with pytest.raises(ConfigError, match="prompt must be a string"):
        measured(FakeOpenAI(takes_ids=False), prompt_kind="tokens")


def test_chat_goes_as_messages_with_classes_and_extras() -> None:
    fake = FakeOpenAI()
    result, _ = measured(
        fake,
        target={"endpoint": CHAT, "ignore_eos": True, "sampling": {"temperature": 0.5}, "extra_body": {"top_k": 3}},
        load=replace(SMALL, num_prompts=3),
    )
    assert result["completed"] == 3
    body = fake.bodies[-1]
    assert len(body["messages"][0]["content"].split()) == 12
    assert (body["max_completion_tokens"], body["ignore_eos"], body["temperature"], body["top_k"]) == (4, True, 0.5, 3)


def test_times_are_the_servers() -> None:
    fake = FakeOpenAI(first_s=0.05, gap_s=0.02)
    result, run = measured(fake, load=replace(SMALL, num_prompts=5, random_output_len=6))
    clocks = fake.piece_clocks[-5:]  # all five run at once, so in the order of the plan
    pairs = list(zip(run.answers, clocks, strict=True))
    # The closest of five: on a busy machine some deliveries are late, but none can be early.
    assert min(abs(answer.e2e_s - (said[-1] - said[0])) for answer, said in pairs) < 0.03
    assert min(abs(answer.tpot_s - (said[-1] - said[1]) / 5) for answer, said in pairs) < 0.01
    assert 45 < result["median_ttft_ms"] < 300
    assert 15 < result["median_itl_ms"] < 100
    assert result["max_concurrent_requests"] == 5


def test_no_request_waits_for_the_answer_to_another() -> None:
    fake = FakeOpenAI(together=20, has_tokenize=False)  # a loop that waited for an answer would wait for ever
    result, run = measured(fake, load=replace(SMALL, request_rate_per_s=100.0), target={"timeout_s": 20.0})
    assert result["completed"] == 20
    assert all(answer.sent_s >= answer.planned_s for answer in run.answers)
    assert result["max_send_lag_ms"] == pytest.approx(max(a.sent_s - a.planned_s for a in run.answers) * 1000)


def test_concurrency_can_be_limited() -> None:
    fake = FakeOpenAI(first_s=0.02)
    result, _ = measured(fake, max_concurrency=3)
    assert result["completed"] == 20
    assert fake.num_most == 3


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("refuse", "HTTP 503: too busy"),
        ("event", "the engine died"),
        ("break", "ended before"),
        ("hang", "within 0.5 s"),
    ],
)
def test_faults_are_failures_with_reasons_and_harm_no_other_request(fault: str, says: str) -> None:
    fake = FakeOpenAI(faults={4: fault}, has_tokenize=False)
    result, run = measured(fake, target={"timeout_s": 0.5})
    assert (result["sent"], result["completed"], result["failed"], result["lost"]) == (20, 19, 1, 0)
    assert says in next(a.error for a in run.answers if a.error)


def test_an_output_that_ends_twice_is_reported() -> None:
    result, _ = measured(FakeOpenAI(faults={4: "twice"}, has_tokenize=False))
    assert result["duplicated"] == 1


def test_answers_under_one_id_are_not_called_duplicates() -> None:
    assert measured(FakeOpenAI(same_id=True))[0]["duplicated"] == 0


def test_lengths_are_capped_to_what_the_server_says() -> None:
    fake = FakeOpenAI(context=64)
    result, _ = measured(fake, load=replace(SMALL, random_input_len=500, random_output_len=10))
    assert (result["num_capped"], result["context_tokens"]) == (20, 64)
    assert result["total_input_tokens"] == 20 * 54


def test_warm_ups_are_not_measured() -> None:
    fake = FakeOpenAI()
    result, _ = measured(fake, num_warmups=3)
    assert result["sent"] == 20
    assert sum(i.startswith("warmup-") for i in fake.request_ids) == 3


def test_keys_are_sent_and_missing_ones_named() -> None:
    assert measured(FakeOpenAI(api_key="k"), target={"api_key": "k"})[0]["completed"] == 20
    with pytest.raises(EngineError, match="Incorrect API key"):
        measured(FakeOpenAI(api_key="k"))


def test_an_unknown_model_names_the_known() -> None:
    with pytest.raises(UnknownName, match="fake"):
        measured(FakeOpenAI(), target={"model": "fale"})


def test_no_server_is_one_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can answer here
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EngineError, match="headway serve"):
            asyncio.run(bench(Plan(target=Target(base_url=url), load=SMALL)))


def test_an_interrupted_run_gives_what_it_has() -> None:
    async def interrupted(url: str) -> tuple[dict[str, Any], Run]:
        three = asyncio.Event()

        class Count(Watch):
            num = 0

            def ended(self, answer: Answer) -> None:
                self.num += 1
                if self.num == 3:
                    three.set()

        load = replace(SMALL, request_rate_per_s=20.0)
        task = asyncio.create_task(bench(Plan(target=Target(base_url=url), load=load), Count()))
        await three.wait()
        task.cancel()
        return await task

    with running(FakeOpenAI()) as url:
        result, run = asyncio.run(interrupted(url))
    assert result["interrupted"]
    assert 3 <= result["completed"] < 20
    assert result["sent"] == len(run.answers) == result["completed"] + result["failed"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"percentiles": (101.0,)},
        {"percentile_metrics": ("ttfb",)},
        {"prompt_kind": "pictures"},
        {"max_concurrency": 0},
        {"num_warmups": -1},
    ],
)
def test_impossible_plans_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Plan(target=Target(base_url="http://x"), load=SMALL, **wrong)


@pytest.mark.parametrize("wrong", [{"base_url": "localhost:8000"}, {"endpoint": "/v1/embeddings"}, {"timeout_s": 0.0}])
def test_impossible_targets_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Target(**{"base_url": "http://x", **wrong})


@pytest.mark.parametrize("base", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_base_urls_are_taken_in_all_their_forms(base: str) -> None:
    assert Target(base_url=base).url == "http://h:1/v1/completions"
