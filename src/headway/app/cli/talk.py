"""A conversation with an OpenAI-compatible server, streamed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from headway.app.cli.needs import need
from headway.core.errors import EngineError, unknown_name

httpx2 = need("httpx2", "client", "to talk to a server")


class Usage(Struct, frozen=True, kw_only=True):
    """How one answer fared; times in seconds, None where there was nothing to time."""

    model: str
    prompt_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float


class Talk:
    """A conversation: what was said so far goes along with every message.

    Parameters
    ----------
    url : str
        Of the server.
    model : str
        Whom to ask; the first that the server lists when empty.
    system : str
        What is said before the conversation; empty for nothing.
    api_key : str
        Sent as a bearer token; empty for none.
    sampling : dict
        Fields put into every request.
    """

    def __init__(
        self, url: str, model: str = "", system: str = "", api_key: str = "", sampling: dict[str, Any] | None = None
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.sampling = sampling or {}
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx2.Client(headers=headers, timeout=httpx2.Timeout(600.0, connect=5.0), trust_env=False)
        try:
            self.model = self._find(model)
        except BaseException:
            self._client.close()
            raise
        self._system = [{"role": "system", "content": system}] if system else []
        self.messages = list(self._system)
        self.usage: Usage | None = None

    def reset(self) -> None:
        """Forget what was said."""
        self.messages = list(self._system)

    def say(self, text: str) -> Generator[str]:
        """Say `text`; gives the answer piece by piece. What was given by the time it is closed is remembered.

        Raises
        ------
        EngineError
            When the server refuses or the answer breaks off.
        """
        self.usage = None
        asked = {"role": "user", "content": text}
        pieces: list[str] = []
        try:
            for piece in self._stream([*self.messages, asked]):
                pieces.append(piece)
                yield piece
        finally:
            if pieces:
                self.messages += [asked, {"role": "assistant", "content": "".join(pieces)}]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _stream(self, messages: list[dict[str, str]]) -> Iterator[str]:
        body = {"model": self.model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        reading = _Reading(self.model)
        try:
            with self._client.stream(
                "POST", f"{self.url}/v1/chat/completions", json={**body, **self.sampling}
            ) as answer:
                if answer.status_code != 200:
                    raise EngineError(
                        f"chat: {self.url} must answer, got {_refusal(answer.status_code, answer.read())}."
                    )
                for line in answer.iter_lines():
                    if line.startswith("data:") and (piece := reading.take(line[5:].strip())):
                        yield piece
        except httpx2.HTTPError as error:
            raise self._lost(error) from error
        if not reading.ended:
            raise EngineError(f"chat: {self.url} must end its answer, but it broke off. Ask again.")
        self.usage = reading.usage()

    def _find(self, model: str) -> str:
        try:
            answer = self._client.get(f"{self.url}/v1/models")
        except httpx2.HTTPError as error:
            raise self._lost(error) from error
        if answer.status_code != 200:
            why = _refusal(answer.status_code, answer.content)
            raise EngineError(f"chat: {self.url} must list its models, got {why}. Check --url and --api-key.")
        known = [str(card["id"]) for card in answer.json()["data"]]
        if model and model not in known:
            raise unknown_name("chat: model", model, known)
        if not known:
            raise EngineError(f"chat: {self.url} must serve a model, but it lists none. Try again when it is ready.")
        return model or known[0]

    def _lost(self, error: Exception) -> EngineError:
        what = str(error) or type(error).__name__
        return EngineError(f"chat: a server must answer at {self.url}, got: {what}. Start one with `headway serve`.")


class _Reading:
    """One streamed answer."""

    def __init__(self, model: str) -> None:
        self._start_s = time.perf_counter()
        self._first_s: float | None = None
        self._last_s = self._start_s
        self._usage: dict[str, int] = {}
        self._finish: str | None = None
        self._model = model
        self.ended = False

    def take(self, data: str) -> str:
        """Take one event; returns the text it brings."""
        if data == "[DONE]":
            self.ended = True
            return ""
        chunk = msgspec.json.decode(data)
        if "error" in chunk:
            raise EngineError(f"chat: the server must not fail, got: {chunk['error'].get('message')}. Ask again.")
        self._usage = chunk.get("usage") or self._usage
        text = ""
        for choice in chunk.get("choices", ()):
            self._finish = choice.get("finish_reason") or self._finish
            text += choice["delta"].get("content") or ""
        if text:
            self._last_s = time.perf_counter()
            self._first_s = self._first_s or self._last_s
        return text

    def usage(self) -> Usage:
        num = self._usage.get("completion_tokens")
        first_s = self._first_s
        return Usage(
            model=self._model,
            prompt_tokens=self._usage.get("prompt_tokens"),
            output_tokens=num,
            finish_reason=self._finish,
            ttft_s=None if first_s is None else first_s - self._start_s,
            tpot_s=(self._last_s - first_s) / (num - 1) if first_s and num and num > 1 else None,
            e2e_s=self._last_s - self._start_s,
        )


def _refusal(status: int, body: bytes) -> str:
    try:
        message = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = body.decode("utf-8", "replace")[:200]
    return f"HTTP {status}: {message}".rstrip(".")
