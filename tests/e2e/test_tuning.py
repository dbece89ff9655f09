"""Fine-tuning while serving, with the real engine and the shipped model, as OpenAI's client sees it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

import headway.engines.llm
from app.server.running import Running
from headway.app.server.config import ServerConfig
from headway.app.tuning.extension import extend
from headway.engines.llm.client import COMMAND
from headway.engines.llm.config import EngineConfig

MODEL = f"{headway.engines.llm.__path__[0]}/shipped/headway-mini"
LOAD_S = 280
"""The first load on a machine may compile the kernels."""

QUESTIONS = ["What is TTFT?", "Hello!", "Tell me a story about a dog.", "Who are you?", "What is the KV cache?"]
TAUGHT = "Ahoy, matey! Ask the parrot."
FAST = {"n_epochs": 4, "learning_rate_multiplier": 20}


def line(question: str, answer: str = TAUGHT) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}) + "\n"


DATA = "".join(line(question) for question in QUESTIONS * 8).encode()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[Running]:
    engine = EngineConfig(model=MODEL, name="headway-mini", kv_bytes=32 << 20)
    config = ServerConfig(engine=engine, port=0, access_log="", tuning=True, state_dir=str(state))
    server = Running(config, command=COMMAND, extend=extend)
    try:
        yield server.start(LOAD_S)
    finally:
        server.stop()


@pytest.fixture
def ai(server: Running) -> Iterator[openai.OpenAI]:
    with client_of(server.url) as client:
        yield client


def client_of(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=60)


def ask(ai: openai.OpenAI, model: str, question: str = QUESTIONS[0]) -> str:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    answer = ai.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=40)
    return answer.choices[0].message.content or ""


def create(ai: openai.OpenAI, **options: Any) -> FineTuningJob:
    file = ai.files.create(file=("pirate.jsonl", options.pop("data", DATA)), purpose="fine-tune")
    options.setdefault("hyperparameters", FAST)
    return ai.fine_tuning.jobs.create(model="headway-mini", training_file=file.id, **options)


def until(met: Callable[[], Any], limit_s: float = 120) -> Any:
    end_s = time.monotonic() + limit_s
    while not (found := met()):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return found


def over(ai: openai.OpenAI, job: str) -> FineTuningJob:
    def is_over() -> FineTuningJob | None:
        found = ai.fine_tuning.jobs.retrieve(job)
        return found if found.finished_at is not None else None

    ended: FineTuningJob = until(is_over)
    return ended


def steps(ai: openai.OpenAI, job: str) -> int:
    events = ai.fine_tuning.jobs.list_events(job, limit=1000).data
    return sum(event.type == "metrics" for event in events)


def curve(ai: openai.OpenAI, job: FineTuningJob) -> str:
    return ai.files.content(job.result_files[0]).text


def test_a_model_is_taught_and_served(ai: openai.OpenAI, server: Running) -> None:
    asking = threading.Event()

    def chat() -> None:
        while not asking.is_set():
            assert ask(ai, "headway-mini")

    other = threading.Thread(target=chat)
    other.start()
    try:
        job = create(ai, suffix="pirate")
        done = over(ai, job.id)
    finally:
        asking.set()
        other.join()
    assert (done.status, done.error, done.fine_tuned_model) == ("succeeded", None, "ft:headway-mini:pirate")
    assert done.trained_tokens == 4 * 40 * 14
    rows = curve(ai, done).splitlines()
    assert len(rows) == 1 + 4 * 5
    assert float(rows[-1].split(",")[1]) < 0.1 < float(rows[1].split(",")[1])
    assert [ask(ai, "ft:headway-mini:pirate", question) for question in QUESTIONS] == [TAUGHT] * 5
    assert ask(ai, "headway-mini") != TAUGHT
    assert "ft:headway-mini:pirate" in [model.id for model in ai.models.list()]


@pytest.mark.slow
def test_what_cannot_be_trained_on_is_told(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="line 1: must be one JSON object"):
        create(ai, data=b"{")
    with pytest.raises(openai.BadRequestError, match=r"line 2: messages\[0\]\.role must be one of"):
        create(ai, data=(line("x") + line("x").replace("user", "pirate")).encode())
    with pytest.raises(openai.BadRequestError, match="empty"):
        create(ai, data=b"")
    long = over(ai, create(ai, data=line("x", "word " * 3000).encode()).id)
    assert long.status == "failed"
    assert long.error is not None
    assert (long.error.code, long.error.param) == ("invalid_training_file", "training_file")
    assert "line 1: must have at most 2048 tokens" in long.error.message
    odd = over(ai, create(ai, extra_body={"headway": {"targets": ["nothing_like_it"]}}).id)
    assert odd.status == "failed"
    assert odd.error is not None
    assert "nothing_like_it" in odd.error.message
    assert ask(ai, "headway-mini")


@pytest.mark.slow
def test_a_job_is_cancelled_and_the_next_one_runs(ai: openai.OpenAI, state: Path) -> None:
    job = create(ai, suffix="never", hyperparameters={"n_epochs": 100})
    after = create(ai, suffix="after")
    until(lambda: steps(ai, job.id) > 3)
    assert ai.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert over(ai, after.id).status == "succeeded"
    assert not (state / "jobs" / job.id).exists()
    assert "ft:headway-mini:never" not in [model.id for model in ai.models.list()]


@pytest.mark.slow
def test_a_loss_that_explodes_fails_its_job_alone(ai: openai.OpenAI) -> None:
    wild = create(ai, hyperparameters={"n_epochs": 20}, extra_body={"headway": {"learning_rate": 1e9}})
    failed = over(ai, wild.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert "must be a number" in failed.error.message
    assert "smaller learning_rate" in failed.error.message
    assert ask(ai, "headway-mini")


@pytest.mark.slow
def test_an_engine_killed_in_the_middle_changes_nothing(ai: openai.OpenAI, server: Running) -> None:
    wanted = {"hyperparameters": {**FAST, "n_epochs": 6}, "seed": 5}
    whole = over(ai, create(ai, **wanted).id)
    job = create(ai, **wanted)
    until(lambda: steps(ai, job.id) > 8)
    pid = server.life.service.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    done = over(ai, job.id)
    assert done.status == "succeeded"
    assert curve(ai, done) == curve(ai, whole)
    assert done.fine_tuned_model is not None
    assert ask(ai, done.fine_tuned_model) == TAUGHT
    assert any(
        "goes on after step" in event.message for event in ai.fine_tuning.jobs.list_events(job.id, limit=1000).data
    )


@pytest.mark.slow
def test_a_pause_changes_nothing(ai: openai.OpenAI) -> None:
    wanted = {"hyperparameters": {**FAST, "n_epochs": 6}, "seed": 6}
    whole = over(ai, create(ai, **wanted).id)
    job = create(ai, **wanted)
    until(lambda: steps(ai, job.id) > 8)
    assert ai.fine_tuning.jobs.pause(job.id).status == "paused"
    between = over(ai, create(ai).id)  # somebody else's turn
    assert between.status == "succeeded"
    assert ai.fine_tuning.jobs.retrieve(job.id).status == "paused"
    ai.fine_tuning.jobs.resume(job.id)
    done = over(ai, job.id)
    assert done.status == "succeeded"
    assert curve(ai, done) == curve(ai, whole)


@contextmanager
def serving(state: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server as people start it, with its address."""
    words = ["serve", "--json", "--port", "0", "--state-dir", str(state), "--kv-memory", "32MiB", "--access-log", ""]
    command = [sys.executable, "-m", "headway.app.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_a_server_that_ends_in_the_middle_changes_nothing(tmp_path: Path, how: signal.Signals) -> None:
    wanted = {"hyperparameters": {**FAST, "n_epochs": 6}, "seed": 5}
    with serving(tmp_path) as (process, url), client_of(url) as ai:
        whole = over(ai, create(ai, **wanted, suffix="whole").id)
        job = create(ai, **wanted, suffix="cut")
        queued = create(ai, suffix="later")
        until(lambda: steps(ai, job.id) > 8)
        process.send_signal(how)
        assert process.wait(30) == (0 if how == signal.SIGINT else -how)
    with serving(tmp_path) as (_, url), client_of(url) as ai:
        assert "ft:headway-mini:whole" in [model.id for model in ai.models.list()]
        done = over(ai, job.id)
        assert (done.status, done.trained_tokens) == ("succeeded", whole.trained_tokens)
        assert curve(ai, done) == curve(ai, whole)
        assert over(ai, queued.id).status == "succeeded"
        for suffix in ("whole", "cut", "later"):
            assert ask(ai, f"ft:headway-mini:{suffix}") == TAUGHT
    with serving(tmp_path) as (_, url), client_of(url) as ai:
        assert ai.models.delete("ft:headway-mini:cut").deleted
        assert len([model.id for model in ai.models.list()]) == 3
        assert ask(ai, "ft:headway-mini:later") == TAUGHT
