"""`headway chat`: talk to a server in the terminal."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli.output import Json, err, print_json
from headway.core.errors import ConfigError

if TYPE_CHECKING:
    from headway.app.cli.talk import Talk, Usage

URL = "http://127.0.0.1:8000"
HELP = "Ctrl-C stops an answer. /reset forgets the conversation, /exit ends it."


def chat(
    message: Annotated[str | None, typer.Option("--message", "-m", help="Say this, print the answer, end.")] = None,
    url: Annotated[str, typer.Option(help="Of the server.")] = URL,
    model: Annotated[str, typer.Option(help="Whom to ask; the first that the server lists if left out.")] = "",
    system: Annotated[str, typer.Option(help="What is said before the conversation.")] = "",
    api_key: Annotated[
        str, typer.Option(envvar=["HEADWAY_API_KEY", "OPENAI_API_KEY"], help="The key to bring.", show_envvar=True)
    ] = "",
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer, in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 always takes the likeliest token.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens of this much probability.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many likeliest tokens.")] = None,
    min_p: Annotated[float | None, typer.Option(help="Leave out tokens this much less likely than the first.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes an answer repeatable.")] = None,
    slo_class: Annotated[str | None, typer.Option(help="The SLO class to be served under.")] = None,
    json: Json = False,
) -> None:
    """Talk to a server in the terminal."""
    if json and message is None:
        raise ConfigError("chat: --json must come with --message, got a conversation. Add --message TEXT.")
    sampling = {
        "max_completion_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p,
        "stop": stop or None, "seed": seed, "service_tier": slo_class,
    }  # fmt: skip
    from headway.app.cli.talk import Talk

    given = {name: value for name, value in sampling.items() if value is not None}
    with closing(Talk(url, model, system, api_key.split(",")[0], given)) as talk:
        if message is None:
            _converse(talk)
        elif json:
            text = "".join(talk.say(message))
            print_json({"text": text, **_numbers(talk.usage)})
        elif not _answer(talk, message):
            raise typer.Exit(130)


def _converse(talk: Talk) -> None:
    """Take turns until the person leaves."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  (gives `input` its line editing and history)

    err().print(f"Talking to {talk.model} at {talk.url}. {HELP}", style="dim")
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            err().print()
            return
        if text in ("/exit", "/quit"):
            return
        if text == "/reset":
            talk.reset()
        elif text.startswith("/"):
            err().print(HELP, style="dim")
        elif text:
            _turn(talk, text)


def _turn(talk: Talk, text: str) -> None:
    from headway.core.errors import EngineError

    try:
        _answer(talk, text)
    except EngineError as error:  # the conversation may go on once the server is back
        err().print(f"headway: {error}", markup=False, soft_wrap=True)


def _answer(talk: Talk, text: str) -> bool:
    """Print the answer as it comes; Ctrl-C stops it. Says whether it is whole."""
    pieces, whole = talk.say(text), True
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    except KeyboardInterrupt:
        pieces.close()
        whole = False
        err().print(" (stopped)", style="dim", end="")
    finally:
        sys.stdout.write("\n")
        sys.stdout.flush()
    if talk.usage and sys.stderr.isatty():
        err().print(_line(talk.usage), style="dim")
    return whole


def _line(usage: Usage) -> str:
    rate = f", {1 / usage.tpot_s:.0f} tokens/s" if usage.tpot_s else ""
    first = f"first text after {usage.ttft_s * 1000:.0f} ms" if usage.ttft_s is not None else "no text"
    return f"{usage.output_tokens or 0} tokens, {first}{rate}"


def _numbers(usage: Usage | None) -> dict[str, Any]:
    import msgspec

    return dict(msgspec.to_builtins(usage)) if usage else {}
