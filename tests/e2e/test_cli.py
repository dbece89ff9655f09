"""The command line as a user has it: real processes, a real model, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.bench.fake_openai import FakeOpenAI, running

PROGRAM = (sys.executable, "-m", "headway.app.cli")
SHARED = Path(__file__).parents[3] / "shared" / "data" / "llm" / "azure2023_code.csv.gz"


def start(*words: str, **more: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*PROGRAM, *words], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1, **more
    )


def run(*words: str, given: str = "") -> tuple[int, str, str]:
    with start(*words) as process:
        out, err = process.communicate(given, timeout=120)
    return process.returncode, out, err


def result_of(*words: str) -> Any:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    return json.loads(out)


class Served:
    """A server under test and what it said when it was ready."""

    def __init__(self, log: Path) -> None:
        flags = ("--port", "0", "--json", "--no-native", "--dtype", "float32", "--access-log", str(log))
        self.process = start("serve", *flags)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.facts = json.loads(line)
        self.url = self.facts["url"]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("serve") / "access.log")
    yield made
    made.stop()


def test_a_chat_with_the_shipped_model(served: Served) -> None:
    code, out, err = run("chat", "--message", "hello", "--url", served.url, "--temperature", "0", "--max-tokens", "24")
    assert code == 0, err
    assert len(out.split()) >= 3
    code, again, _ = run(
        "chat", "--url", served.url, "--temperature", "0", "--max-tokens", "24", given="hello\n/exit\n"
    )
    assert (code, again) == (0, out)


def test_a_chat_as_json(served: Served) -> None:
    code, out, err = run(
        "chat", "-m", "hello", "--url", served.url, "--max-tokens", "5", "--slo-class", "batch", "--json"
    )
    answer = json.loads(out)
    assert (code, answer["model"], answer["prompt_tokens"] > 0) == (0, "headway-mini", True), err
    assert 0 < answer["output_tokens"] <= 5
    assert answer["ttft_s"] > 0


def test_a_trace_is_replayed_without_loss(served: Served, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = [f"{n * 0.5},{50 + 40 * n},{4 + n}" for n in range(12)]
    trace.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    flags = ("--trace", str(trace), "--rate-scale", "20", "--ignore-eos", "--save-detailed")
    result = result_of("bench", "serve", "--base-url", served.url, *flags)
    assert (result["sent"], result["completed"], result["lost"], result["duplicated"]) == (12, 12, 0, 0)
    assert result["prompt_kind"] == "tokens"
    assert result["input_lens"] == [50 + 40 * n for n in range(12)]
    assert result["output_lens"] == [4 + n for n in range(12)]


@pytest.mark.skipif(not SHARED.is_file(), reason="the data is not here")
def test_a_published_trace_is_capped_to_the_context_and_replayed(served: Served) -> None:
    flags = ("--trace", str(SHARED), "--rate-scale", "50", "--num-prompts", "10", "--max-model-len", "256")
    result = result_of("bench", "serve", "--base-url", served.url, *flags)
    assert (result["completed"], result["lost"], result["duplicated"]) == (10, 0, 0)
    assert result["num_capped"] > 0


def test_chat_requests_are_measured_by_class(served: Served) -> None:
    load = ("--num-prompts", "6", "--input-len", "40", "--output-len", "4", "--request-rate", "20")
    classes = ("--slo-class", "interactive", "--slo-class", "batch")
    where = ("--base-url", served.url, "--backend", "openai-chat")
    result = result_of("bench", "serve", *where, *load, *classes)
    assert (result["completed"], result["prompt_kind"]) == (6, "text")
    assert sum(row["completed"] for row in result["slo_classes_attained"]) == 6


def test_a_taken_port_is_one_clear_sentence(served: Served) -> None:
    port = served.url.rpartition(":")[2]
    code, out, err = run("serve", "--port", port)
    assert (code, out) == (2, "")
    assert port in [line for line in err.splitlines() if line.startswith("headway: ")][-1]
    assert "Traceback" not in err


def test_ctrl_c_ends_the_server_in_good_order(tmp_path: Path) -> None:
    served = Served(tmp_path / "access.log")
    assert served.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(served.facts["engine_pid"], 0)


def test_ctrl_c_stops_an_answer_and_not_the_conversation() -> None:
    with running(FakeOpenAI(gap_s=0.02)) as url, start("chat", "--url", url, "--max-tokens", "1000") as chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write("hello\n")
        chat.stdin.flush()
        assert chat.stdout.read(3) == " w0"
        chat.send_signal(signal.SIGINT)
        assert "w999" not in chat.stdout.readline()
        out, err = chat.communicate("/exit\n", timeout=30)
    assert (chat.returncode, out) == (0, "")
    assert "(stopped)" in err


def test_ctrl_c_ends_a_single_answer_with_its_status() -> None:
    with (
        running(FakeOpenAI(gap_s=0.02)) as url,
        start("chat", "-m", "hi", "--url", url, "--max-tokens", "1000") as chat,
    ):
        assert chat.stdout is not None
        assert chat.stdout.read(3) == " w0"
        chat.send_signal(signal.SIGINT)
        _, err = chat.communicate(timeout=30)
    assert chat.returncode == 130
    assert "Traceback" not in err


def test_ctrl_c_ends_a_benchmark_with_the_numbers_so_far() -> None:
    fake = FakeOpenAI(has_tokenize=False)
    with running(fake) as url:
        load = ("--num-prompts", "1000", "--request-rate", "20", "--output-len", "1", "--input-len", "4")
        with start("bench", "serve", "--base-url", url, *load, "--json") as process:
            assert fake.seen(5).wait(60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    result = json.loads(out)
    assert (process.returncode, result["interrupted"]) == (130, True), err
    assert result["sent"] == result["completed"] + result["failed"] < 1000
    assert result["lost"] == 0
