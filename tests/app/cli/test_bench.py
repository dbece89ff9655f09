from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from app.bench.fake_openai import FakeOpenAI, running
from headway.app.cli.root import app

KEYS = {
    "date", "backend", "label", "model_id", "base_url", "endpoint", "num_prompts", "request_rate", "burstiness",
    "max_concurrency", "trace", "rate_scale", "seed", "context_tokens", "num_capped", "prompt_kind", "goodput_ms",
    "duration", "completed", "failed", "sent", "lost", "duplicated", "total_input_tokens", "total_output_tokens",
    "request_throughput", "request_goodput", "output_throughput", "total_token_throughput", "max_output_tokens_per_s",
    "max_concurrent_requests", "mean_send_lag_ms", "p99_send_lag_ms", "max_send_lag_ms", "slo_classes_attained",
    "errors_by_kind", "interrupted",
    *(f"{of}_{metric}_ms" for of in ("mean", "median", "std", "p99") for metric in ("ttft", "tpot", "itl", "e2el")),
}  # fmt: skip
SMALL = ["--num-prompts", "10", "--input-len", "8", "--output-len", "3", "--disable-tqdm"]


def bench(fake: FakeOpenAI, *words: str) -> tuple[int, Any]:
    with running(fake) as url:
        done = CliRunner().invoke(app, ["bench", "serve", "--base-url", url, *SMALL, *words, "--json"])
    assert done.stdout, done.stderr
    return done.exit_code, json.loads(done.stdout)


def test_the_keys_of_the_result_are_these() -> None:
    code, result = bench(FakeOpenAI())
    assert code == 0
    assert set(result) == KEYS
    assert result["request_rate"] == "inf"


def test_details_come_when_asked_for() -> None:
    _, result = bench(FakeOpenAI(), "--save-detailed", "--dataset-name", "random")
    assert set(result) - KEYS == {
        "request_ids", "input_lens", "output_lens", "ttfts", "itls", "e2els", "planned_times", "start_times",
        "slo_classes", "generated_texts", "errors",
    }  # fmt: skip
    assert result["input_lens"] == [8] * 10
    assert result["output_lens"] == [3] * 10
    assert [len(gaps) for gaps in result["itls"]] == [2] * 10


def test_goodput_reads_the_familiar_spelling() -> None:
    _, result = bench(FakeOpenAI(), "--goodput", "ttft:60000", "tpot:60000")
    assert result["goodput_ms"] == {"ttft": 60000, "tpot": 60000}
    assert result["request_goodput"] == result["request_throughput"]
    _, result = bench(FakeOpenAI(), "--goodput", "ttft:0.0001")
    assert result["request_goodput"] == 0.0


def test_percentiles_and_metrics_can_be_chosen() -> None:
    _, result = bench(FakeOpenAI(), "--percentile-metrics", "ttft,e2el", "--metric-percentiles", "50,99.9")
    assert {"p50_ttft_ms", "p99.9_ttft_ms", "mean_e2el_ms"} <= set(result)
    assert not {"p99_ttft_ms", "mean_tpot_ms", "mean_itl_ms"} & set(result)


def test_classes_are_named_to_the_server_and_judged() -> None:
    fake = FakeOpenAI()
    _, result = bench(fake, "--slo-class", "interactive=0.5", "--slo-class", "mine=0.5:ttft=60000,e2el=60000")
    interactive, mine = result["slo_classes_attained"]
    assert interactive["bounds_ms"] == {"ttft": 1000.0, "tpot": 100.0}
    assert (mine["attained_frac"], mine["sent"] + interactive["sent"]) == (1.0, 10)
    tiers = [body["service_tier"] for body in fake.bodies if "service_tier" in body]
    assert tiers.count("mine") == mine["sent"]


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n" + "".join(f"{n},{n + 2},2\n" for n in range(30)))
    fake = FakeOpenAI()
    code, result = bench(fake, "--trace", str(trace), "--rate-scale", "100", "--max-model-len", "9")
    assert (code, result["completed"], result["lost"], result["duplicated"]) == (0, 10, 0, 0)
    assert (result["num_capped"], result["rate_scale"], result["request_rate"]) == (4, 100.0, None)
    assert sorted(len(b["prompt"]) for b in fake.bodies if b["max_tokens"] == 2) == [2, 3, 4, 5, 6, 7, 7, 7, 7, 7]


def test_results_are_saved_under_telling_names(tmp_path: Path) -> None:
    where = ["--save-result", "--result-dir", str(tmp_path / "new"), "--label", "l", "--metadata", "hw=box"]
    _, result = bench(FakeOpenAI(), *where, "--request-rate", "500", "--max-concurrency", "2")
    (file,) = (tmp_path / "new").iterdir()
    assert file.name.startswith("l-500qps-concurrency2-fake-")
    assert json.loads(file.read_text()) == result
    assert (result["label"], result["hw"]) == ("l", "box")


def test_people_get_tables() -> None:
    with running(FakeOpenAI(faults={3: "refuse"}, has_tokenize=False)) as url:
        done = CliRunner().invoke(app, ["bench", "serve", "--base-url", url, *SMALL, "--slo-class", "a:ttft=60000"])
    assert done.exit_code == 0
    for words in ("completed requests", "Time to first token", "ttft <= 60000 ms: 90.0%", "1 x HTTP 503: too busy"):
        assert words in done.stdout


def test_a_server_that_answers_nothing_fails_the_run() -> None:
    code, result = bench(FakeOpenAI(faults=dict.fromkeys(range(10), "break"), has_tokenize=False))
    assert (code, result["completed"], result["failed"], result["lost"]) == (1, 0, 10, 0)
