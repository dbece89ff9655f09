"""The paths of the server."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headway.app.server.body import ChatBody, CompletionBody, DetokenizeBody, TokenizeBody, decode_body
from headway.app.server.delivery import Delivery
from headway.app.server.errors import invalid, unavailable, unknown_model
from headway.app.server.frontdoor import arrival_of, record_of
from headway.app.server.limits import read_body
from headway.app.server.order import Order
from headway.app.server.prompts import plain_messages
from headway.app.server.sampling import check_tokens
from headway.app.server.service import Service
from headway.app.server.spans import note_order


class Routes:
    """Answers requests for one service.

    Parameters
    ----------
    service : Service
        The server's shared state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = int(time.time())

    def table(self) -> list[Route]:
        """All routes."""
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{name:path}", self.model, methods=["GET"]),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/detokenize", self.detokenize, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/ready", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        body = decode_body(await self._body(request, generates=True), ChatBody)
        return await self._deliver(request, self._service.desk.chat(body))

    async def completions(self, request: Request) -> Response:
        """Continue plain prompts."""
        body = decode_body(await self._body(request, generates=True), CompletionBody)
        return await self._deliver(request, self._service.desk.completion(body))

    async def models(self, _: Request) -> Response:
        """List the model and its adapters."""
        cards = [self._card(name) for name in self._service.desk.model_names]
        return _json({"object": "list", "data": cards})

    async def model(self, request: Request) -> Response:
        """Describe one model."""
        name = request.path_params["name"]
        if name not in self._service.desk.model_names:
            raise unknown_model(name)
        return _json(self._card(name))

    async def tokenize(self, request: Request) -> Response:
        """Turn a prompt or a conversation into tokens."""
        body = decode_body(await self._body(request), TokenizeBody)
        desk = self._service.desk
        desk.adapter_of(body.model)
        if (body.prompt is None) == (body.messages is None):
            raise invalid("Give either `prompt` or `messages`.", "prompt")
        if body.messages is not None:
            text = desk.tokenizer.prompt_of(
                plain_messages(body.messages), add_generation_prompt=body.add_generation_prompt
            )
            tokens = await desk.tokenizer.tokens_of(text, special=False)
        else:
            tokens = await desk.tokenizer.tokens_of(body.prompt or "", special=body.add_special_tokens)
        names = [desk.tokenizer.text_of(token) for token in tokens] if body.return_token_strs else None
        limit = desk.facts.context_tokens
        return _json({"count": len(tokens), "max_model_len": limit, "tokens": tokens, "token_strs": names})

    async def detokenize(self, request: Request) -> Response:
        """Turn tokens into text."""
        body = decode_body(await self._body(request), DetokenizeBody)
        desk = self._service.desk
        desk.adapter_of(body.model)
        check_tokens(body.tokens, desk.facts.vocab_size, "tokens")
        return _json({"prompt": desk.tokenizer.decode(body.tokens, hide_special=False)})

    async def health(self, _: Request) -> Response:
        """Say that the API process lives."""
        return _json({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Say whether requests can be served, and if not, why."""
        if why := self._service.why_not:
            raise unavailable(why, "not_ready")
        facts = self._service.desk.facts
        return _json({"status": "ready", "model": facts.model, "policy": facts.policy})

    async def metrics(self, request: Request) -> Response:
        """Write the metrics for Prometheus."""
        text, media_type = self._service.render_metrics(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": media_type})

    async def _body(self, request: Request, generates: bool = False) -> bytes:
        if generates:
            self._service.gate.check(1)  # before any work is put into it
        return await read_body(request.scope, request.receive, self._service.config.max_body_bytes)

    async def _deliver(self, request: Request, making: Awaitable[Order]) -> Response:
        order, record = await making, record_of(request.scope)
        record.model, record.slo_class = order.model, order.promise.slo_class
        record.tenant, record.prompt_tokens = order.promise.tenant, order.prompt_tokens
        note_order(order)
        return Delivery(self._service, order, record, arrival_of(request.scope))

    def _card(self, name: str) -> dict[str, Any]:
        facts = self._service.desk.facts
        base = name == facts.model
        offer = self._service.offers.find(name)
        return {
            "id": name,
            "object": "model",
            "created": offer.created if offer else self._created,
            "owned_by": "headway",
            "root": facts.model,
            "parent": None if base else facts.model,
            "max_model_len": facts.context_tokens,
        }


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
