"""What a request body asks of the engine: every parameter checked against its legal range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from headway.app.server.body import ChatBody, CompletionBody, GenerateBody
from headway.app.server.errors import invalid
from headway.engines.llm.messages import Sampling

MAX_STOPS = 4
MAX_STOP_CHARS = 1000
MAX_BIASES = 1024
MAX_STOP_TOKENS = 256
MAX_DIGITS = 10
MAX_PENALTY = 10.0
COMPLETION_TOKENS = 16
"""OpenAI's default of `max_tokens` for plain completions."""

ANY_OBJECT = '{"type":"object"}'


def sampling_of(body: ChatBody | CompletionBody, *, room_tokens: int, vocab_size: int) -> Sampling:
    """Turn a body's sampling parameters into those of the engine.

    Parameters
    ----------
    body : ChatBody or CompletionBody
        The request.
    room_tokens : int
        How many output tokens fit behind the prompt, >= 1; more are never asked for.
    vocab_size : int
        Token ids are below it.

    Raises
    ------
    ApiError
        400 naming the parameter that is out of range.
    """
    max_tokens = min(_max_tokens(body, room_tokens), room_tokens)
    return Sampling(
        max_tokens=max_tokens,
        min_tokens=min(_whole("min_tokens", body.min_tokens, 0, math.inf, 0), max_tokens),
        temperature=_number("temperature", body.temperature, 0.0, 2.0, 1.0),
        top_p=_above("top_p", body.top_p, 0.0, 1.0, 1.0),
        min_p=_number("min_p", body.min_p, 0.0, 1.0, 0.0),
        top_k=min(max(0, _whole("top_k", body.top_k, -1, math.inf, 0)), vocab_size),
        repetition_penalty=_above("repetition_penalty", body.repetition_penalty, 0.0, MAX_PENALTY, 1.0),
        presence_penalty=_number("presence_penalty", body.presence_penalty, -2.0, 2.0, 0.0),
        frequency_penalty=_number("frequency_penalty", body.frequency_penalty, -2.0, 2.0, 0.0),
        logit_bias=_biases(body.logit_bias or {}, vocab_size),
        seed=None if body.seed is None else _whole("seed", body.seed, -(2**63), 2**63 - 1, 0),
        stop_token_ids=_stop_tokens(body.stop_token_ids or [], vocab_size),
        ignore_eos=bool(body.ignore_eos),
        logprobs=_logprobs(body),
        grammar=_grammar(body),
    )


def stops_of(body: GenerateBody) -> tuple[str, ...]:
    """The stop strings of a body, at most four and none empty."""
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > MAX_STOPS:
        raise invalid(f"`stop` takes at most {MAX_STOPS} strings, got {len(stops)}.", "stop", "array_above_max_length")
    if any(not stop or len(stop) > MAX_STOP_CHARS for stop in stops):
        raise invalid(f"Every string in `stop` must have from 1 to {MAX_STOP_CHARS} characters.", "stop")
    return tuple(dict.fromkeys(stops))


def num_choices_of(body: ChatBody | CompletionBody, num_prompts: int, limit: int) -> int:
    """How many outputs each prompt is given."""
    n = _whole("n", body.n, 1, math.inf, 1)
    if n * num_prompts > limit:
        message = f"A request may ask for at most {limit} outputs, got {num_prompts} prompts with n = {n}."
        raise invalid(message, "n", "integer_above_max_value")
    best_of = getattr(body, "best_of", None)
    if best_of not in (None, n):
        raise invalid(
            "`best_of` is not supported by this server unless it equals `n`.", "best_of", "unsupported_parameter"
        )
    return n


def refuse_bad_mix(body: ChatBody | CompletionBody) -> None:
    """Refuse parameters that do not go together."""
    if body.stream_options is not None and not body.stream:
        raise invalid("`stream_options` is only allowed together with `stream`.", "stream_options")
    if isinstance(body, ChatBody):
        if body.top_logprobs is not None and not body.logprobs:
            raise invalid("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
        if body.continue_final_message and body.add_generation_prompt:
            raise invalid(
                "`continue_final_message` needs `add_generation_prompt` to be false.", "continue_final_message"
            )
    elif body.suffix:
        raise invalid("`suffix` is not supported by this server.", "suffix", "unsupported_parameter")
    elif body.echo and body.logprobs is not None:
        raise invalid(
            "`echo` together with `logprobs` is not supported by this server.", "echo", "unsupported_parameter"
        )


def _max_tokens(body: ChatBody | CompletionBody, room_tokens: int) -> int:
    if isinstance(body, CompletionBody):
        return _whole("max_tokens", body.max_tokens, 1, math.inf, COMPLETION_TOKENS)
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    return _whole(name, getattr(body, name), 1, math.inf, room_tokens)


def _logprobs(body: ChatBody | CompletionBody) -> int | None:
    if isinstance(body, CompletionBody):
        return None if body.logprobs is None else _whole("logprobs", body.logprobs, 0, 5, 0)
    top = _whole("top_logprobs", body.top_logprobs, 0, 20, 0)
    return top if body.logprobs else None


def _grammar(body: GenerateBody) -> str | None:
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return ANY_OBJECT
    if wanted.type != "json_schema":
        known = "'text', 'json_object' and 'json_schema'"
        raise invalid(f"`response_format.type` must be one of {known}, got {wanted.type!r}.", "response_format.type")
    if wanted.json_schema is None or wanted.json_schema.schema is None:
        raise invalid("`response_format.json_schema.schema` is missing.", "response_format.json_schema.schema")
    return msgspec.json.encode(wanted.json_schema.schema).decode()


def _biases(given: dict[str, float], vocab_size: int) -> dict[int, float]:
    if len(given) > MAX_BIASES:
        raise invalid(f"`logit_bias` takes at most {MAX_BIASES} tokens, got {len(given)}.", "logit_bias")
    biases = {}
    for key, bias in given.items():
        if not (key.isascii() and key.isdigit() and len(key) < MAX_DIGITS) or int(key) >= vocab_size:
            raise invalid(f"Keys of `logit_bias` must be token ids below {vocab_size}, got {key!r}.", "logit_bias")
        biases[int(key)] = _number(f"logit_bias.{key}", bias, -100.0, 100.0, 0.0)
    return biases


def _stop_tokens(given: Sequence[int], vocab_size: int) -> tuple[int, ...]:
    if len(given) > MAX_STOP_TOKENS:
        raise invalid(f"`stop_token_ids` takes at most {MAX_STOP_TOKENS} tokens, got {len(given)}.", "stop_token_ids")
    check_tokens(given, vocab_size, "stop_token_ids")
    return tuple(given)


def check_tokens(tokens: Sequence[int], vocab_size: int, param: str) -> None:
    """Refuse token ids that the model does not have."""
    if tokens and not 0 <= min(tokens) <= max(tokens) < vocab_size:
        raise invalid(f"Token ids in `{param}` must be from 0 to {vocab_size - 1}.", param)


def _whole(name: str, value: int | None, low: float, high: float, default: int) -> int:
    if value is None:
        return default
    _check_range(
        name, value, low <= value <= high, f"from {low} to {high}" if high < math.inf else f"at least {low}", low
    )
    return value


def _number(name: str, value: float | None, low: float, high: float, default: float) -> float:
    if value is None:
        return default
    _check_range(name, value, low <= value <= high, f"from {low:g} to {high:g}", low)
    return float(value)


def _above(name: str, value: float | None, low: float, high: float, default: float) -> float:
    if value is None:
        return default
    _check_range(name, value, low < value <= high, f"above {low:g} and at most {high:g}", low)
    return float(value)


def _check_range(name: str, value: Any, fits: bool, legal: str, low: float) -> None:
    if not fits:
        code = "below_min_value" if value <= low else "above_max_value"
        kind = "integer" if isinstance(value, int) else "decimal"
        raise invalid(f"`{name}` must be {legal}, got {value}.", name, f"{kind}_{code}")
