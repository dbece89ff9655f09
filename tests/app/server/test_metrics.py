from __future__ import annotations

import re
from pathlib import Path

import httpx2 as httpx
from prometheus_client.parser import text_string_to_metric_families

from app.server.running import running
from headway.app.server.metric_names import METRICS

OURS = {
    "headway_running gauge", "headway_waiting gauge", "headway_kv_used_frac gauge", "headway_kv_free_blocks gauge",
    "headway_prefix_cache_queries counter", "headway_prefix_cache_hits counter", "headway_prompt_tokens counter",
    "headway_output_tokens counter", "headway_ttft_seconds histogram", "headway_itl_seconds histogram",
    "headway_tpot_seconds histogram", "headway_e2e_seconds histogram", "headway_queue_seconds histogram",
    "headway_request_prompt_tokens histogram", "headway_request_output_tokens histogram",
    "headway_finished{reason} counter", "headway_refused{reason} counter", "headway_slo_met{slo,metric} counter",
    "headway_slo_missed{slo,metric} counter", "headway_preempted{how} counter", "headway_actions_refused counter",
    "headway_decide_seconds{policy,stat} gauge", "headway_steps counter", "headway_step_seconds gauge",
    "headway_live gauge", "headway_ready gauge", "headway_engine_restarts counter",
    "headway_http_requests{route,status} counter", "headway_tuning_jobs{status} gauge", "headway_tuning_tokens counter",
    "headway_tuning_loss gauge", "headway_tuning_tokens_per_second gauge", "headway_tuning_seconds counter",
    "headway_tuning_lent_blocks gauge",
}  # fmt: skip
ALIASES = {
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:prefix_cache_queries",
    "vllm:prefix_cache_hits", "vllm:prompt_tokens", "vllm:generation_tokens", "vllm:time_to_first_token_seconds",
    "vllm:inter_token_latency_seconds", "vllm:request_time_per_output_token_seconds",
    "vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds", "vllm:request_prompt_tokens",
    "vllm:request_generation_tokens", "vllm:request_success", "vllm:num_preemptions",
}  # fmt: skip


def test_names_labels_and_kinds_are_frozen() -> None:
    """Dashboards depend on them: a change belongs into the changelog."""
    labelled = {f"{m.name}{{{','.join(m.labels)}}}" if m.labels else m.name for m in METRICS}
    kinds = {m.name: m.kind for m in METRICS}
    assert {f"{name} {kinds[name.split('{')[0]]}" for name in labelled} == OURS
    assert {m.alias for m in METRICS if m.alias} == ALIASES


def test_the_numbers_of_known_requests(model: Path) -> None:
    with running(model, {"step_s": 0.002}) as server, httpx.Client(base_url=server.url) as client:
        client.post("/v1/completions", json={"prompt": "the cat sat", "n": 2, "max_tokens": 99})
        client.post("/v1/completions", json={"prompt": "the cat sat", "max_tokens": 2, "stream": True})
        client.post("/v1/completions", json={"prompt": "x", "headway": {"tenant": "reject"}})
        client.get("/v1/models/strange/name")
        client.get("/some/thing")
        until_gauges(client)
        families = {f.name: f for f in text_string_to_metric_families(client.get("/metrics").text)}
    value = {
        (s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value
        for f in families.values()
        for s in f.samples
    }
    assert value["headway_prompt_tokens_total",] == 3 * 3 + 1
    assert value["headway_output_tokens_total",] == 4 + 4 + 2
    assert value["headway_finished_total", "reason=stop"] == 2
    assert value["headway_finished_total", "reason=length"] == 1
    assert value["headway_finished_total", "reason=rejected"] == 1
    assert value["headway_ttft_seconds_count",] == 3
    assert value["headway_itl_seconds_count",] == 3 + 3 + 1
    assert value["headway_tpot_seconds_count",] == 3
    assert value["headway_e2e_seconds_count",] == 3
    assert (value["headway_queue_seconds_count",], value["headway_queue_seconds_sum",]) == (3, 0.75)
    assert 0.006 < value["headway_e2e_seconds_sum",] < 3
    assert value["headway_http_requests_total", "route=/v1/completions", "status=200"] == 2
    assert value["headway_http_requests_total", "route=/v1/models/{name}", "status=404"] == 1
    assert value["headway_http_requests_total", "route=other", "status=404"] == 1
    assert value["headway_ready",] == 1
    assert value["headway_preempted_total", "how=requeue"] == 3
    assert value["headway_slo_met_total", "metric=ttft_s", "slo=interactive"] == 5
    assert value["headway_decide_seconds", "policy=serving/sarathi", "stat=p99"] == 2e-5
    model_name = ("engine=0", "model_name=parrot")
    assert value["vllm:generation_tokens_total", *model_name] == 10
    assert value["vllm:request_success_total", "engine=0", "finished_reason=stop", "model_name=parrot"] == 2
    assert value["vllm:time_to_first_token_seconds_count", *model_name] == 3
    assert families["headway_ttft_seconds"].documentation == "From arrival to the first token."


def until_gauges(client: httpx.Client) -> None:
    for _ in range(1000):
        if "headway_steps_total 0.0" not in client.get("/metrics").text:
            return
    raise AssertionError


def test_aliases_can_be_switched_off_and_open_metrics_asked_for(model: Path) -> None:
    with running(model, metric_aliases=False) as server, httpx.Client(base_url=server.url) as client:
        plain = client.get("/metrics")
        assert plain.headers["content-type"].startswith("text/plain")
        assert not re.search("vllm:", plain.text)
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        assert client.get("/metrics", headers=accept).text.endswith("# EOF\n")
