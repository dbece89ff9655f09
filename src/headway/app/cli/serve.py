"""`headway serve`: serve a model with an OpenAI-compatible interface."""

# ruff: noqa: ARG001  (flags are read together, from the context)
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from headway.app.cli.output import Json, err

_model = partial(typer.Option, rich_help_panel="Model")
_policy = partial(typer.Option, rich_help_panel="Policy and memory")
_access = partial(typer.Option, rich_help_panel="Access")
_limit = partial(typer.Option, rich_help_panel="Limits")
_tuning = partial(typer.Option, rich_help_panel="Fine-tuning")


FURTHER = "headway.further"
"""Where in a context the words after ``--`` are kept."""


class Serve(TyperCommand):
    """Keeps what stands after ``--`` apart: it is for the engine, and no MODEL."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before it."""
        own, further = args, list[str]()
        if "--" in args:
            at = args.index("--")
            own, further = args[:at], args[at + 1 :]
        ctx.meta[FURTHER] = further
        return super().parse_args(ctx, own)


def serve(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(help="A folder or hub id; the model that comes with Headway if left out.", show_default=False),
    ] = None,
    *,
    engine: Annotated[
        str | None, _model(help="Who computes: headway, or vllm; what stands after -- goes on to vLLM.")
    ] = None,
    name: Annotated[str | None, _model(help="The name to serve it under.")] = None,
    adapter: Annotated[list[str] | None, _model(help="A LoRA adapter as NAME=PATH; may be repeated.")] = None,
    dtype: Annotated[str | None, _model(help="auto, float32, bfloat16 or float16.")] = None,
    device: Annotated[str | None, _model(help="auto, cpu or cuda.")] = None,
    quantize: Annotated[str | None, _model(help="none or int8 (weights only).")] = None,
    context: Annotated[str | None, _model(help="Longest prompt plus output, such as 4096.")] = None,
    native: Annotated[bool | None, _model("--native/--no-native", help="Compiled kernels.")] = None,
    policy: Annotated[str | None, _policy(help="Who schedules; see `headway list`.")] = None,
    policy_param: Annotated[
        list[str] | None, _policy(help="A parameter of the policy as KEY=VALUE; may be repeated.")
    ] = None,
    kv_memory: Annotated[str | None, _policy(help="Memory for keys and values, such as 2GiB.")] = None,
    block_size: Annotated[int | None, _policy(help="Tokens per block of it.")] = None,
    max_seqs: Annotated[int | None, _policy(help="The most requests that run at once.")] = None,
    prefix_caching: Annotated[
        bool | None,
        _policy("--prefix-caching/--no-prefix-caching", help="Remember prefixes."),
    ] = None,
    seed: Annotated[int | None, _policy(help="Of sampling and of the policy.")] = None,
    trace: Annotated[str | None, _policy(help="Write all events and decisions to this file.")] = None,
    host: Annotated[str | None, _access(help="Address to listen on.")] = None,
    port: Annotated[int | None, _access(help="Port to listen on; 0 takes a free one.")] = None,
    api_key: Annotated[
        list[str] | None,
        _access(help="A key that requests must bring; may be repeated. HEADWAY_API_KEY adds more."),
    ] = None,
    tuning_api_key: Annotated[
        list[str] | None,
        _access(help="A key that may fine-tune besides; may be repeated. HEADWAY_TUNING_API_KEY adds more."),
    ] = None,
    api_key_file: Annotated[
        str | None, _access(help="A file of keys, one per line, with `tuning` after those that may fine-tune.")
    ] = None,
    access_log: Annotated[str | None, _access(help="A file for one line per request; - for standard error.")] = None,
    metric_aliases: Annotated[
        bool | None,
        _access("--metric-aliases/--no-metric-aliases", help="vLLM's names in /metrics too."),
    ] = None,
    max_queue: Annotated[int | None, _limit(help="The most outputs that wait or run.")] = None,
    max_body: Annotated[str | None, _limit(help="Longest request body, such as 8MiB.")] = None,
    max_prompt_tokens: Annotated[int | None, _limit(help="Longest prompt.")] = None,
    max_choices: Annotated[int | None, _limit(help="The most outputs of one request.")] = None,
    request_timeout: Annotated[str | None, _limit(help="Give a request up after this time, such as 10min.")] = None,
    drain_timeout: Annotated[str | None, _limit(help="How long requests may go on after Ctrl-C, such as 30s.")] = None,
    default_slo_class: Annotated[str | None, _limit(help="The SLO class of requests that name none.")] = None,
    tuning: Annotated[
        bool | None, _tuning("--tuning/--no-tuning", help="Files and fine-tuning jobs; on unless told otherwise.")
    ] = None,
    tuner: Annotated[
        str | None, _tuning(help="Who says when it runs beside serving, see `headway list tuning`; or none.")
    ] = None,
    tuner_param: Annotated[
        list[str] | None, _tuning(help="A parameter of the tuner as KEY=VALUE; may be repeated.")
    ] = None,
    state_dir: Annotated[
        str | None, _tuning(help="Where files, jobs and tuned models are kept; ~/.local/state/headway if left out.")
    ] = None,
    max_file_bytes: Annotated[str | None, _tuning(help="Longest uploaded file, such as 512MiB.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of the same settings; flags win.")] = None,
    json: Json = False,
) -> None:
    """Serve a model with an OpenAI-compatible interface."""
    from headway.app.cli.greeting import Greeting
    from headway.app.cli.settings import config_of, given_settings
    from headway.app.server import run

    given = given_settings(_given(ctx), config)
    resolved = config_of(given)
    greeting = Greeting(json)
    if given.get("engine") == "vllm":
        from headway.app.vllm import launch

        err().print(f"Starting vLLM with {resolved.engine.name or resolved.engine.model} ...")
        further = ctx.meta[FURTHER]
        raise typer.Exit(
            launch.run(resolved, given, further, on_loading=greeting.loading, on_ready=greeting.vllm_ready)
        )
    _refuse_further(ctx.meta[FURTHER])
    err().print(f"Loading {resolved.engine.name or resolved.engine.model} ...")
    extend = greeting.extend if resolved.tuning else None
    raise typer.Exit(run(resolved, on_loading=greeting.loading, on_ready=greeting.ready, extend=extend))


def _refuse_further(further: list[str]) -> None:
    from headway.core.errors import ConfigError

    if further:
        raise ConfigError(
            f"serve: what stands after -- is for vLLM, got {' '.join(further)}. Add --engine vllm, or leave it out."
        )


def _given(ctx: typer.Context) -> dict[str, Any]:
    """Return the settings that were given as flags, under their names in a file."""
    from headway.core.parameters import settings

    given = {name: value for name, value in ctx.params.items() if value not in (None, [], ())}
    given.pop("json", None)
    given.pop("config", None)
    for name in ("policy_param", "tuner_param"):
        if name in given:
            given[f"{name}s"] = settings(given.pop(name))
    if "adapter" in given:
        given["adapters"] = dict(_adapter(pair) for pair in given.pop("adapter"))
    if "api_key" in given:
        given["api_keys"] = given.pop("api_key")
    if "tuning_api_key" in given:
        given["tuning_api_keys"] = given.pop("tuning_api_key")
    return given


def _adapter(pair: str) -> tuple[str, str]:
    from headway.core.errors import ConfigError

    name, equals, path = pair.partition("=")
    if not (name and equals and path):
        raise ConfigError(f"serve: --adapter must be NAME=PATH, got {pair!r}. Try style=./my-adapter.")
    return name, path
