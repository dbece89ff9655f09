"""The metrics of the server by name: what each one means, and how other dashboards call it.

Definitions: a request *arrives* when its head has been read, is *first scheduled* when a step computes its first
token, gives its *first token* when the API process has it, and is *complete* when its last token is there. A request
with several outputs counts as several.
"""

from __future__ import annotations

from msgspec import Struct

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5)
TOKENS = tuple(float(2**power) for power in range(18))


class Metric(Struct, frozen=True, kw_only=True):
    """One metric.

    Parameters
    ----------
    name : str
        Ours; counters without their ``_total``.
    kind : str
        ``"counter"``, ``"gauge"`` or ``"histogram"``.
    text : str
        Its definition.
    labels : tuple of str
        What it is told apart by.
    alias : str
        vLLM's name for it, or empty.
    alias_labels : tuple of str
        vLLM's names of the labels, where they differ.
    bounds : tuple of float
        Buckets of a histogram.
    """

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()
    alias: str = ""
    alias_labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


METRICS = (
    Metric(
        name="headway_running", kind="gauge", alias="vllm:num_requests_running",
        text="Requests that hold KV memory and take part in steps.",
    ),
    Metric(
        name="headway_waiting", kind="gauge", alias="vllm:num_requests_waiting",
        text="Requests at the engine that are not running.",
    ),
    Metric(
        name="headway_kv_used_frac", kind="gauge", alias="vllm:kv_cache_usage_perc",
        text="Share of KV blocks held by requests, 0 to 1.",
    ),
    Metric(name="headway_kv_free_blocks", kind="gauge", text="KV blocks held by no request."),
    Metric(
        name="headway_prefix_cache_queries", kind="counter", alias="vllm:prefix_cache_queries",
        text="Tokens that were looked up in the prefix cache.",
    ),
    Metric(
        name="headway_prefix_cache_hits", kind="counter", alias="vllm:prefix_cache_hits",
        text="Tokens that were found in the prefix cache.",
    ),
    Metric(
        name="headway_prompt_tokens", kind="counter", alias="vllm:prompt_tokens",
        text="Prompt tokens of requests sent to the engine.",
    ),
    Metric(
        name="headway_output_tokens", kind="counter", alias="vllm:generation_tokens",
        text="Output tokens received from the engine.",
    ),
    Metric(
        name="headway_ttft_seconds", kind="histogram", alias="vllm:time_to_first_token_seconds", bounds=SECONDS,
        text="From arrival to the first token.",
    ),
    Metric(
        name="headway_itl_seconds", kind="histogram", alias="vllm:inter_token_latency_seconds", bounds=GAPS,
        text="Between two tokens of one output; tokens that come together share their gap.",
    ),
    Metric(
        name="headway_tpot_seconds", kind="histogram", alias="vllm:request_time_per_output_token_seconds", bounds=GAPS,
        text="Mean time per token after the first, of each complete output with at least two.",
    ),
    Metric(
        name="headway_e2e_seconds", kind="histogram", alias="vllm:e2e_request_latency_seconds", bounds=SECONDS,
        text="From arrival to the last token, of each complete output.",
    ),
    Metric(
        name="headway_queue_seconds", kind="histogram", alias="vllm:request_queue_time_seconds", bounds=SECONDS,
        text="From the engine's receipt of a request to its first step, of each complete output.",
    ),
    Metric(
        name="headway_request_prompt_tokens", kind="histogram", alias="vllm:request_prompt_tokens", bounds=TOKENS,
        text="Prompt tokens of each complete output.",
    ),
    Metric(
        name="headway_request_output_tokens", kind="histogram", alias="vllm:request_generation_tokens", bounds=TOKENS,
        text="Output tokens of each complete output.",
    ),
    Metric(
        name="headway_finished", kind="counter", labels=("reason",), alias="vllm:request_success",
        alias_labels=("finished_reason",),
        text="Outputs that ended: stop, length, cancelled, rejected or error.",
    ),
    Metric(
        name="headway_refused", kind="counter", labels=("reason",),
        text="Requests refused before they reached the engine, by error code.",
    ),
    Metric(
        name="headway_slo_met", kind="counter", labels=("slo", "metric"),
        text="Complete requests within the bound of their SLO class, by class and bounded metric.",
    ),
    Metric(
        name="headway_slo_missed", kind="counter", labels=("slo", "metric"),
        text="Complete requests beyond the bound of their SLO class, by class and bounded metric.",
    ),
    Metric(
        name="headway_preempted", kind="counter", labels=("how",), alias="vllm:num_preemptions",
        text="Requests that lost their place, by what became of their progress.",
    ),
    Metric(
        name="headway_actions_refused", kind="counter",
        text="Actions of the policy that the engine could not carry out.",
    ),
    Metric(
        name="headway_decide_seconds", kind="gauge", labels=("policy", "stat"),
        text="Time the policy takes for one decision: mean and quantiles since the engine started.",
    ),
    Metric(name="headway_steps", kind="counter", text="Steps the engine has run."),
    Metric(name="headway_step_seconds", kind="gauge", text="Duration of a recent step."),
    Metric(name="headway_live", kind="gauge", text="Outputs the API process waits for."),
    Metric(name="headway_ready", kind="gauge", text="Whether the engine can serve: 1 or 0."),
    Metric(name="headway_engine_restarts", kind="counter", text="How often the engine process was started again."),
    Metric(name="headway_tuning_jobs", kind="gauge", labels=("status",), text="Fine-tuning jobs, by status."),
    Metric(name="headway_tuning_tokens", kind="counter", text="Tokens trained, each step counted once."),
    Metric(name="headway_tuning_loss", kind="gauge", text="Training loss of the last step of the job that runs."),
    Metric(name="headway_tuning_tokens_per_second", kind="gauge", text="Tokens trained per second, lately."),
    Metric(name="headway_tuning_seconds", kind="counter", text="Time that the units of fine-tuning have taken."),
    Metric(name="headway_tuning_lent_blocks", kind="gauge", text="KV blocks lent to fine-tuning."),
    Metric(
        name="headway_http_requests", kind="counter", labels=("route", "status"),
        text="HTTP requests answered, by route and status.",
    ),
)  # fmt: skip
"""Everything that ``/metrics`` tells, beside the process's own memory and processor time."""
