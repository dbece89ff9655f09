"""The bodies of requests: what may be in them, decoded strictly."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from headway.app.server.errors import ApiError, invalid


class StreamOptions(Struct):
    """Options of a streamed answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchema(Struct):
    """A named JSON schema."""

    name: str = ""
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    """What the output must look like."""

    type: str
    json_schema: JsonSchema | None = None


class Objectives(Struct, forbid_unknown_fields=True):
    """The `headway` field: what this request asks of the scheduler."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    deadline_s: float | None = None
    priority: int | None = None
    tenant: str | None = None
    slo_class: str | None = None
    session: str | None = None
    stage: str | None = None
    tool: str | None = None


class Part(Struct):
    """A part of a message's content."""

    type: str
    text: str | None = None


class ChatMessage(Struct, omit_defaults=True):
    """One message of a conversation."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class GenerateBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What chat and plain completions have in common."""

    model: str | None = None
    max_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    response_format: ResponseFormat | None = None
    service_tier: str | None = None
    headway: Objectives | None = None
    # Beyond OpenAI, as other servers name them.
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    include_stop_str_in_output: bool = False
    # Accepted and without effect here.
    user: Any = None
    metadata: Any = None
    store: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None


class ChatBody(GenerateBody, kw_only=True):
    """The body of /v1/chat/completions."""

    messages: list[ChatMessage]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] | None = None
    # Accepted and without effect here.
    parallel_tool_calls: Any = None
    prediction: Any = None
    # Would change the answer, and cannot be done here.
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    audio: Any = None
    modalities: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None
    web_search_options: Any = None


class CompletionBody(GenerateBody, kw_only=True):
    """The body of /v1/completions."""

    prompt: str | list[str | int | list[int]]
    echo: bool | None = None
    logprobs: int | None = None
    best_of: int | None = None
    suffix: str | None = None


class TokenizeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of /tokenize: a prompt, or a conversation."""

    model: str | None = None
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_special_tokens: bool = True
    add_generation_prompt: bool = True
    return_token_strs: bool = False


class DetokenizeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of /detokenize."""

    model: str | None = None
    tokens: list[int]


HARMLESS: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Parameters that cannot be served, with the values that ask for nothing."""

_UNKNOWN = re.compile(r"unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_MISSING = re.compile(r"missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`")

B = TypeVar("B", bound=Struct)


def decode_body(raw: bytes, kind: type[B]) -> B:
    """Read a request body.

    Raises
    ------
    ApiError
        400 that names the parameter at fault.
    """
    try:
        body = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The body must be a JSON object in UTF-8, but it cannot be read: {error}.") from error
    _refuse_unsupported(body)
    return body


def _refuse_unsupported(body: Struct) -> None:
    for name, harmless in HARMLESS.items():
        value = getattr(body, name, None)
        if value is not None and value not in harmless:
            raise invalid(f"`{name}` is not supported by this server. Leave it out.", name, "unsupported_parameter")


def _named(message: str) -> ApiError:
    """Turn a validation error of the decoder into one that names the parameter."""
    if found := _UNKNOWN.search(message):
        name = f"{found[2]}.{found[1]}" if found[2] else found[1]
        return invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if found := _MISSING.search(message):
        name = f"{found[2]}.{found[1]}" if found[2] else found[1]
        return invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    path = found[1] if (found := _PATH.search(message)) else None
    reason = _PATH.sub("", message)
    where = f" for '{path}'" if path else ""
    return invalid(f"Invalid value{where}: {reason[0].lower()}{reason[1:]}.", path or None, "invalid_type")
