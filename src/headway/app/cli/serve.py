"""`headway serve`: serve a model with an OpenAI-compatible interface."""

# ruff: noqa: ARG001  (flags are read together, from the context)
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli.output import Json, err, out, print_json

if TYPE_CHECKING:
    from headway.app.server import ServerConfig
    from headway.engines.llm.messages import Ready

_model = partial(typer.Option, rich_help_panel="Model")
_policy = partial(typer.Option, rich_help_panel="Policy and memory")
_access = partial(typer.Option, rich_help_panel="Access")
_limit = partial(typer.Option, rich_help_panel="Limits")


def serve(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(help="A folder or hub id; the model that comes with Headway if left out.", show_default=False),
    ] = None,
    *,
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
    api_key_file: Annotated[str | None, _access(help="A file of keys, one per line.")] = None,
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
    config: Annotated[Path | None, typer.Option(help="A TOML file of the same settings; flags win.")] = None,
    json: Json = False,
) -> None:
    """Serve a model with an OpenAI-compatible interface."""
    from headway.app.cli.settings import resolve
    from headway.app.server import run

    resolved = resolve(_given(ctx), config)
    err().print(f"Loading {resolved.engine.name or resolved.engine.model} ...")
    greeting = _Greeting(resolved, json)
    raise typer.Exit(run(resolved, on_loading=greeting.loading, on_ready=greeting.ready))


def _given(ctx: typer.Context) -> dict[str, Any]:
    """Return the settings that were given as flags, under their names in a file."""
    from headway.core.parameters import settings

    given = {name: value for name, value in ctx.params.items() if value not in (None, [], ())}
    given.pop("json", None)
    given.pop("config", None)
    if "policy_param" in given:
        given["policy_params"] = settings(given.pop("policy_param"))
    if "adapter" in given:
        given["adapters"] = dict(_adapter(pair) for pair in given.pop("adapter"))
    if "api_key" in given:
        given["api_keys"] = given.pop("api_key")
    return given


def _adapter(pair: str) -> tuple[str, str]:
    from headway.core.errors import ConfigError

    name, equals, path = pair.partition("=")
    if not (name and equals and path):
        raise ConfigError(f"serve: --adapter must be NAME=PATH, got {pair!r}. Try style=./my-adapter.")
    return name, path


class _Greeting:
    """Tells the person who started the server how it goes."""

    def __init__(self, config: ServerConfig, json: bool) -> None:
        self._config = config
        self._json = json

    def loading(self, what: str) -> None:
        err().print(f"  {what}", markup=False)

    def ready(self, ready: Ready, url: str) -> None:
        if self._json:
            print_json({"url": url, **_facts(ready)})
            return
        kv_tokens = ready.num_blocks * ready.block_size
        lines = {
            "model": f"{ready.model} ({ready.dtype}, {ready.device}, context {ready.context_tokens} tokens)",
            "policy": ready.policy,
            "memory": f"{kv_tokens} tokens of keys and values in {ready.num_blocks} blocks",
            "kernels": ready.kernels + (f", {ready.quantize}" if ready.quantize != "none" else ""),
        }
        if ready.adapters:
            lines["adapters"] = ", ".join(ready.adapters)
        out().print(f"\nServing on {url}", style="bold")
        for what, value in lines.items():
            out().print(f"  {what:<9}{value}", markup=False)
        out().print(_try(url, ready.model), markup=False, soft_wrap=True)


def _try(url: str, model: str) -> str:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}'
    return (
        "\nTry it:\n"
        f"  headway chat --url {url} --message hello\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'\n"
        "\nCtrl-C lets running requests finish and stops.\n"
    )


def _facts(ready: Ready) -> dict[str, Any]:
    import msgspec

    facts = msgspec.to_builtins(ready)
    return {key: value for key, value in facts.items() if key not in ("type", "pid")} | {"engine_pid": ready.pid}
