"""`headway bench serve`: measure a running server under the load of a trace or of random requests."""

# ruff: noqa: ARG001  (flags are read together, from the context)
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from headway.app.cli.output import Json, err, out, print_json

_server = partial(typer.Option, rich_help_panel="Server")
_load = partial(typer.Option, rich_help_panel="Load")
_requests = partial(typer.Option, rich_help_panel="Requests")
_results = partial(typer.Option, rich_help_panel="Results")


def serve(
    ctx: typer.Context,
    more_goodput: Annotated[list[str] | None, typer.Argument(metavar="METRIC:MS", hidden=True)] = None,
    *,
    backend: Annotated[str, _server("--backend", "--endpoint-type", help="openai, openai-chat or vllm.")] = "openai",
    base_url: Annotated[str, _server(help="Of the server; stands in for host and port.")] = "",
    host: Annotated[str, _server(help="Of the server.")] = "127.0.0.1",
    port: Annotated[int, _server(help="Of the server.")] = 8000,
    endpoint: Annotated[str, _server(help="The path to ask; that of the backend if left out.")] = "",
    model: Annotated[
        str, _server("--model", "--served-model-name", help="Whom to ask; the first that the server lists if left out.")
    ] = "",
    api_key: Annotated[str, _server(envvar=["HEADWAY_API_KEY", "OPENAI_API_KEY"], help="The key to bring.")] = "",
    header: Annotated[list[str] | None, _server(help="A header as KEY=VALUE; may be repeated.")] = None,
    ready_check_timeout_sec: Annotated[float, _server(help="How long to wait for the server to be there.")] = 0.0,
    dataset_name: Annotated[str, _load(help="random or trace; random unless there is a trace, if left out.")] = "",
    trace: Annotated[
        str,
        _load(
            "--trace",
            "--dataset-path",
            help="Recorded requests to replay: a file that `headway trace` reads, or a shipped one.",
        ),
    ] = "",
    rate_scale: Annotated[float, _load(help="How many times faster than recorded.")] = 1.0,
    num_prompts: Annotated[int | None, _load(help="How many requests; the whole trace, or 1000.")] = None,
    request_rate: Annotated[
        float | None, _load(help="Requests per second, or inf; stands in for a trace's times.")
    ] = None,
    burstiness: Annotated[float, _load(help="1 is a Poisson process, less is burstier, inf is even.")] = 1.0,
    max_concurrency: Annotated[
        int | None, _load(help="The most requests in flight; no limit keeps the loop open.")
    ] = None,
    num_warmups: Annotated[int, _load(help="Requests before the clock starts.")] = 0,
    seed: Annotated[int, _load(help="Of lengths, times, prompts and classes.")] = 0,
    random_input_len: Annotated[
        int, _requests("--random-input-len", "--input-len", help="Mean prompt length without a trace.")
    ] = 1024,
    random_output_len: Annotated[
        int, _requests("--random-output-len", "--output-len", help="Mean output length without a trace.")
    ] = 128,
    random_range_ratio: Annotated[float, _requests(help="Lengths vary by this share around the mean.")] = 0.0,
    random_prefix_len: Annotated[int, _requests(help="Tokens at the start that all prompts share.")] = 0,
    max_model_len: Annotated[int, _requests(help="Cap prompt plus output to this; 0 asks the server.")] = 0,
    prompt_kind: Annotated[str, _requests(help="tokens (exact lengths), text, or auto.")] = "auto",
    ignore_eos: Annotated[bool, _requests("--ignore-eos", help="Ask for outputs of full length.")] = False,
    temperature: Annotated[float | None, _requests(help="Sent along if given.")] = None,
    top_p: Annotated[float | None, _requests(help="Sent along if given.")] = None,
    top_k: Annotated[int | None, _requests(help="Sent along if given.")] = None,
    min_p: Annotated[float | None, _requests(help="Sent along if given.")] = None,
    extra_body: Annotated[str, _requests(help="More fields for every request, as a JSON object.")] = "",
    request_id_prefix: Annotated[str, _requests(help="What every request id starts with.")] = "bench-",
    request_timeout: Annotated[float, _requests(help="Give a request up after so many seconds.")] = 600.0,
    slo_class: Annotated[
        list[str] | None, _requests(help="An SLO class to name, as NAME=SHARE:ttft=MS,tpot=MS; may be repeated.")
    ] = None,
    goodput: Annotated[
        list[str] | None, _results(help="Bounds of a good request in ms, such as ttft:500 tpot:50.")
    ] = None,
    percentile_metrics: Annotated[
        str, _results(help="Metrics to report, of ttft,tpot,itl,e2el.")
    ] = "ttft,tpot,itl,e2el",
    metric_percentiles: Annotated[str, _results(help="Percentiles to report, such as 50,95,99.")] = "99",
    save_result: Annotated[bool, _results("--save-result", help="Write the result to a JSON file.")] = False,
    save_detailed: Annotated[
        bool, _results("--save-detailed", help="Keep every request's numbers in the result.")
    ] = False,
    result_dir: Annotated[Path, _results(help="Where to write it.")] = Path(),
    result_filename: Annotated[str, _results(help="Its name; made of what distinguishes the run if left out.")] = "",
    label: Annotated[str, _results(help="A word for the run, kept in the result.")] = "",
    metadata: Annotated[
        list[str] | None, _results(help="A fact to keep in the result as KEY=VALUE; may be repeated.")
    ] = None,
    disable_tqdm: Annotated[bool, _results("--disable-tqdm", help="No progress bar.")] = False,
    json: Json = False,
) -> None:
    """Measure a running server under the load of a trace or of random requests.

    Every request leaves on schedule, however the server is doing. Any OpenAI-compatible server will do.
    """
    from headway.app.cli.measure import measure, plan_of, save

    plan = plan_of(ctx.params)
    result = measure(plan, ctx.params)
    if save_result or result_filename:
        err().print(f"Result written to {save(result, plan, ctx.params)}", markup=False, soft_wrap=True)
    if json:
        print_json(result)
    else:
        from headway.app.bench.report import print_report

        print_report(result, plan.percentile_metrics, out())
    if result["interrupted"]:
        raise typer.Exit(130)
    if result["lost"] or result["duplicated"] or not result["completed"]:
        raise typer.Exit(1)
