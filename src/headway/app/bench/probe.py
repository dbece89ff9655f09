"""Ask a server what it serves before it is loaded with requests."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import httpx2
from msgspec import Struct
from msgspec.structs import replace

from headway.app.bench.answer import error_text
from headway.app.bench.load import Planned
from headway.app.bench.prompts import WORDS, Prompts, TextPrompts, TokenPrompts
from headway.app.bench.target import Target
from headway.core.errors import ConfigError, EngineError, unknown_name


class Served(Struct, frozen=True, kw_only=True):
    """What a server said about itself.

    Parameters
    ----------
    model : str
        The model that will be asked.
    context_tokens : int
        Its longest prompt plus output; 0 when the server does not say.
    vocabulary : list of int
        Ids of common words; empty when the server has no ``/tokenize``.
    tokens_per_word : float
        What its tokenizer makes of a common word on average.
    """

    model: str
    context_tokens: int = 0
    vocabulary: list[int] = []
    tokens_per_word: float = 1.0


class Probe:
    """Speaks to a server before the run.

    Parameters
    ----------
    target : Target
        Where; its model may still be empty.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._root = target.root
        self._headers = {**target.headers, **({"Authorization": f"Bearer {target.api_key}"} if target.api_key else {})}

    async def look(self, wait_s: float = 0.0) -> Served:
        """Ask for the model, its context and its tokens; wait up to `wait_s` seconds for the server to be there.

        Raises
        ------
        EngineError
            When no server answers, or it refuses.
        UnknownName
            When the server does not serve the model asked for.
        """
        async with self._client() as client:
            card = self._card(await self._models(client, wait_s))
            name = str(card["id"])
            context = card.get("max_model_len") or card.get("context_tokens") or card.get("context_length") or 0
            tokens = await self._tokenize(client, name)
        per_word = len(tokens) / len(WORDS) if tokens else 1.0
        return Served(model=name, context_tokens=int(context), vocabulary=sorted(set(tokens)), tokens_per_word=per_word)

    async def prompts(self, served: Served, kind: str = "auto", prefix_tokens: int = 0, seed: int = 0) -> Prompts:
        """Choose what prompts are made of: `kind` is tokens, text, or auto (tokens where the server takes them)."""
        text = TextPrompts(served.tokens_per_word, prefix_tokens, seed)
        tokens = TokenPrompts(served.vocabulary, prefix_tokens, seed)
        if kind == "text" or (kind == "auto" and (self.target.is_chat or not served.vocabulary)):
            return text
        why = self._cannot_take_tokens(served) or await self._refusal(served, tokens)
        if not why:
            return tokens
        if kind == "tokens":
            raise ConfigError(
                f"bench: --prompt-kind tokens must be taken by the server, and it is not: {why}. Try text."
            )
        return text

    def _cannot_take_tokens(self, served: Served) -> str:
        if self.target.is_chat:
            return "chat takes text only"
        return "" if served.vocabulary else "it has no /tokenize that would name its tokens"

    async def _refusal(self, served: Served, tokens: TokenPrompts) -> str:
        planned = Planned(id="probe", at_s=0.0, input_tokens=4, output_tokens=1)
        body = replace(self.target, model=served.model).body(planned, tokens)
        async with self._client() as client:
            answer = await client.post(self.target.url, content=body, headers={"Content-Type": "application/json"})
        return "" if answer.status_code == 200 else f"HTTP {answer.status_code}: {error_text(answer.content)}"

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(headers=self._headers, timeout=30.0, trust_env=False)

    async def _models(self, client: httpx2.AsyncClient, wait_s: float) -> list[dict[str, Any]]:
        give_up_s = time.monotonic() + wait_s
        while True:
            cards, why = await self._try_models(client)
            if cards is not None:
                return cards
            if time.monotonic() >= give_up_s:
                raise EngineError(f"bench: a server must answer at {self._root}, got {why}.")
            await asyncio.sleep(min(0.5, max(0.0, give_up_s - time.monotonic())))

    async def _try_models(self, client: httpx2.AsyncClient) -> tuple[list[dict[str, Any]] | None, str]:
        """Return the cards of the models, or None and why there are none yet."""
        try:
            answer = await client.get(f"{self._root}/v1/models")
        except httpx2.HTTPError as error:
            what = str(error) or type(error).__name__
            return None, f"{what}. Start one with `headway serve`, or name another with --base-url"
        if answer.status_code == 200:
            return answer.json().get("data", []), ""
        why = f"HTTP {answer.status_code}: {error_text(answer.content).rstrip('.')}"
        if answer.status_code == 503:
            return None, f"{why}. Wait for it with --ready-check-timeout-sec 60"
        raise EngineError(f"bench: {self._root} must list its models, got {why}. Check --base-url and --api-key.")

    def _card(self, cards: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = self.target.model
        for card in cards:
            if not wanted or card.get("id") == wanted:
                return card
        if wanted and not cards:
            return {"id": wanted}  # a server that lists nothing may still know it
        raise unknown_name("bench: model", wanted, [str(card.get("id")) for card in cards])

    async def _tokenize(self, client: httpx2.AsyncClient, model: str) -> list[int]:
        body = {"model": model, "prompt": " ".join(WORDS), "add_special_tokens": False}
        try:
            answer = await client.post(f"{self._root}/tokenize", json=body)
            tokens = answer.json()["tokens"] if answer.status_code == 200 else []
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            return []
        return [int(token) for token in tokens if math.isfinite(token)]
