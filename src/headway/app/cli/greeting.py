"""What `headway serve` tells the person, or the program, that started it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from headway.app.cli.output import err, out, print_json
from headway.core.errors import missing_extra

if TYPE_CHECKING:
    from headway.app.server.extension import Extension
    from headway.app.server.service import Service
    from headway.app.vllm.launch import Launched
    from headway.engines.llm.messages import Ready


class Greeting:
    """Tells how it goes, and what is served.

    Parameters
    ----------
    json : bool
        Whether a program reads it.
    """

    def __init__(self, json: bool) -> None:
        self._json = json
        self._tuning = "off"

    def extend(self, service: Service) -> Extension:
        """Make fine-tuning a part of the server, and remember what is to be told of it."""
        try:
            from headway.app.tuning.extension import extend
        except ImportError as error:
            raise missing_extra(error.name or "python_multipart", "serve", "by fine-tuning") from error
        made = extend(service)
        self._tuning = made.in_words
        return made

    def loading(self, what: str) -> None:
        """Tell how it goes."""
        err().print(f"  {what}", markup=False)

    def ready(self, ready: Ready, url: str) -> None:
        """Tell what our own engine serves."""
        if self._json:
            facts = msgspec.to_builtins(ready)
            facts = {key: value for key, value in facts.items() if key not in ("type", "pid")}
            print_json({"url": url, **facts, "engine_pid": ready.pid, "tuning": self._tuning})
            return
        lines = {
            "model": f"{ready.model} ({ready.dtype}, {ready.device}, context {ready.context_tokens} tokens)",
            "policy": ready.policy,
            "memory": _memory(ready.num_blocks, ready.block_size),
            "kernels": ready.kernels + (f", {ready.quantize}" if ready.quantize != "none" else ""),
        }
        if ready.adapters:
            lines["adapters"] = ", ".join(ready.adapters)
        lines["tuning"] = self._tuning
        _show(url, ready.model, lines)

    def vllm_ready(self, launched: Launched) -> None:
        """Tell what vLLM serves."""
        facts = launched.facts
        if self._json:
            told = msgspec.to_builtins(launched)
            own, pid = told.pop("facts"), told.pop("pid")
            print_json({**told, **own, "engine": "vllm", "engine_pid": pid})
            return
        lines = {
            "model": f"{facts.model} (context {facts.context_tokens} tokens)",
            "engine": f"vLLM {launched.version}",
            "policy": launched.policy,
        }
        if facts.num_blocks:
            lines["memory"] = _memory(facts.num_blocks, facts.block_size)
        if facts.adapters:
            lines["adapters"] = ", ".join(facts.adapters)
        _show(launched.url, facts.model, lines)


def _memory(num_blocks: int, block_size: int) -> str:
    return f"{num_blocks * block_size} tokens of keys and values in {num_blocks} blocks"


def _show(url: str, model: str, lines: Mapping[str, Any]) -> None:
    out().print(f"\nServing on {url}", style="bold")
    for what, value in lines.items():
        out().print(f"  {what:<9}{value}", markup=False, soft_wrap=True)
    out().print(_try(url, model), markup=False, soft_wrap=True)


def _try(url: str, model: str) -> str:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}'
    return (
        "\nTry it:\n"
        f"  headway chat --url {url} --message hello\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'\n"
        "\nCtrl-C lets running requests finish and stops.\n"
    )
