"""The prompts of a request as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from headway.app.server.body import ChatBody, ChatMessage, CompletionBody
from headway.app.server.errors import invalid
from headway.app.server.sampling import check_tokens
from headway.app.server.tokenizer import ModelTokenizer

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class Prompt(Struct, frozen=True):
    """One prompt: its tokens, and how it reads where somebody wants it echoed."""

    tokens: list[int]
    text: str = ""


RESERVED = frozenset({
    "self", "conversation", "messages", "chat_template", "tools", "documents", "tokenize", "tokenizer_kwargs",
    "add_generation_prompt", "continue_final_message", "padding", "truncation", "max_length", "return_tensors",
    "return_dict", "return_assistant_tokens_mask", "processor_kwargs", "template",
})  # fmt: skip
"""What `chat_template_kwargs` must not hold: a template is a program, and a client must not bring its own."""


async def chat_prompt(tokenizer: ModelTokenizer, body: ChatBody) -> Prompt:
    """Write a conversation as the model's chat template wants it.

    Raises
    ------
    ApiError
        400 when the conversation holds what this model cannot read.
    """
    if not body.messages:
        raise invalid("`messages` must hold at least one message.", "messages", "empty_array")
    options = body.chat_template_kwargs or {}
    if reserved := sorted(RESERVED & options.keys()):
        raise invalid(f"`chat_template_kwargs` must not hold '{reserved[0]}'.", "chat_template_kwargs")
    text = tokenizer.prompt_of(
        plain_messages(body.messages),
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        **options,
    )
    return Prompt(await tokenizer.tokens_of(text, special=False))


async def completion_prompts(tokenizer: ModelTokenizer, body: CompletionBody, vocab_size: int) -> list[Prompt]:
    """Turn `prompt` into tokens: one text, several, one list of token ids, or several."""
    given: Sequence[str | int | list[int]] = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if not given:
        raise invalid("`prompt` must not be empty.", "prompt", "empty_array")
    if all(isinstance(item, int) for item in given):
        return [_of_tokens(tokenizer, given, vocab_size, bool(body.echo))]
    if all(isinstance(item, str) for item in given):
        return [Prompt(await tokenizer.tokens_of(str(text)), str(text)) for text in given]
    if all(isinstance(item, list) for item in given):
        return [_of_tokens(tokenizer, item, vocab_size, bool(body.echo)) for item in given]
    raise invalid(
        "`prompt` must hold only texts, only token ids, or only lists of token ids.", "prompt", "invalid_type"
    )


def num_prompts_in(prompt: str | Sequence[Any]) -> int:
    """How many prompts the `prompt` of a completion holds."""
    one = isinstance(prompt, str) or all(isinstance(item, int) for item in prompt)
    return 1 if one else len(prompt)


def plain_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The messages as chat templates expect them, text parts joined by line breaks.

    Raises
    ------
    ApiError
        400 for a role that does not exist, or content that is no text.
    """
    return [_plain(message, index) for index, message in enumerate(messages)]


def check_length(tokens: Sequence[int], context_tokens: int, limit_tokens: int) -> None:
    """Refuse a prompt that is empty, longer than the server allows, or leaves no room for an answer.

    Parameters
    ----------
    tokens : sequence of int
        The prompt.
    context_tokens : int
        The most tokens of prompt and answer together.
    limit_tokens : int
        The most prompt tokens the server allows; 0 for as many as fit.
    """
    if not tokens:
        raise invalid("The prompt must have at least one token.", "prompt")
    if limit_tokens and len(tokens) > limit_tokens:
        message = f"This server takes prompts of at most {limit_tokens} tokens, got {len(tokens)}."
        raise invalid(message, "prompt", "prompt_too_long")
    if len(tokens) >= context_tokens:
        message = (
            f"This model's context is {context_tokens} tokens, and the prompt alone has {len(tokens)}. Shorten it."
        )
        raise invalid(message, "prompt", "context_length_exceeded")


def _plain(message: ChatMessage, index: int) -> dict[str, Any]:
    if message.role not in ROLES:
        known = ", ".join(ROLES)
        raise invalid(
            f"`messages[{index}].role` must be one of {known}, got '{message.role}'.", f"messages[{index}].role"
        )
    plain: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    plain["content"] = _text_of(message, index)
    for name in ("name", "tool_calls", "tool_call_id", "reasoning_content"):
        if (value := getattr(message, name)) is not None:
            plain[name] = value
    return plain


def _text_of(message: ChatMessage, index: int) -> str:
    where = f"messages[{index}].content"
    if isinstance(message.content, str):
        return message.content
    if message.content is None:
        if message.role == "assistant":
            return ""
        raise invalid(f"`{where}` is missing.", where, "missing_required_parameter")
    for number, part in enumerate(message.content):
        if part.type != "text" or part.text is None:
            raise invalid(f"`{where}[{number}]` must be text, got '{part.type}'.", where, "unsupported_content")
    return "\n".join(part.text or "" for part in message.content)


def _of_tokens(tokenizer: ModelTokenizer, tokens: Any, vocab_size: int, echo: bool) -> Prompt:
    check_tokens(tokens, vocab_size, "prompt")
    return Prompt(list(tokens), tokenizer.decode(tokens) if echo else "")
