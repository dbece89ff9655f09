"""One line of a file of examples: what it may hold, in the shapes that OpenAI's fine-tuning has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from headway.app.server.body import ChatMessage
from headway.app.server.prompts import plain_messages

ROLES = ("system", "developer", "user", "assistant", "tool")

_CHAT = ("messages", "tools", "functions", "parallel_tool_calls")
_COMPLETION = ("prompt", "completion")
_MESSAGE = ("role", "content", "name", "weight", "tool_calls", "tool_call_id")


class FaultyLine(ValueError):
    """A line that is no example; says what must hold, and what came."""


class Chat(Struct, frozen=True):
    """A conversation.

    Parameters
    ----------
    messages : list of dict
        As chat templates take them.
    taught : list of int
        Which of the messages are to be learnt.
    """

    messages: list[dict[str, Any]]
    taught: list[int]


class Completion(Struct, frozen=True):
    """A text, and how it is to go on."""

    prompt: str
    completion: str


def example_of(value: Any) -> Chat | Completion:
    """Read a decoded line.

    Raises
    ------
    FaultyLine
        When it is no example.
    """
    if not isinstance(value, dict):
        raise FaultyLine(f"must be a JSON object, got {_kind(value)}")
    if "messages" in value:
        _check_keys(value, _CHAT, "")
        return _chat(value)
    if "prompt" in value or "completion" in value:
        _check_keys(value, _COMPLETION, "")
        return _completion(value)
    raise FaultyLine(
        'must have "messages" (chat), or "prompt" and "completion", got '
        + (f"the keys {_listed(value)}" if value else "no keys")
    )


def _completion(value: dict[str, Any]) -> Completion:
    for name in _COMPLETION:
        text = value.get(name)
        if not isinstance(text, str):
            raise FaultyLine(f"{name} must be text, got {_kind(text) if name in value else 'none'}")
    if not value["completion"].strip():
        raise FaultyLine("completion must not be empty")
    if not value["prompt"]:
        raise FaultyLine("prompt must not be empty")
    return Completion(value["prompt"], value["completion"])


def _chat(value: dict[str, Any]) -> Chat:
    messages = value["messages"]
    if not isinstance(messages, list) or not messages:
        raise FaultyLine(f"messages must be a list of messages, got {_kind(messages)}")
    for name in ("tools", "functions"):
        if value.get(name):
            raise FaultyLine(f"{name} must be left out, since this server does not offer tools to models")
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise FaultyLine("messages must hold at least one of role assistant, got none")
    taught = [index for index in answers if messages[index].get("weight", 1)]
    if not taught:
        raise FaultyLine("messages must hold at least one of role assistant with weight 1, got only weights of 0")
    plain = [{name: part for name, part in message.items() if name != "weight"} for message in messages]
    return Chat(plain_messages(msgspec.convert(plain, list[ChatMessage])), taught)


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        raise FaultyLine(f"{where} must be an object, got {_kind(message)}")
    _check_keys(message, _MESSAGE, where)
    role = message.get("role")
    if role not in ROLES:
        came = repr(role) if isinstance(role, str) else _kind(role) if "role" in message else "none"
        raise FaultyLine(f"{where}.role must be one of {', '.join(ROLES)}, got {came}")
    for name in ("name", "tool_call_id"):
        if not isinstance(message.get(name), str | None):
            raise FaultyLine(f"{where}.{name} must be text, got {_kind(message[name])}")
    calls = message.get("tool_calls")
    if calls is not None:
        _check_calls(calls, role, f"{where}.tool_calls")
    if "weight" in message:
        _check_weight(message["weight"], role, f"{where}.weight")
    if message.get("content") is not None or not calls:
        _check_content(message, f"{where}.content")


def _check_calls(calls: Any, role: str, where: str) -> None:
    if role != "assistant":
        raise FaultyLine(f"{where} must stand with role assistant, got role {role}")
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise FaultyLine(f"{where} must be a list of objects, got {_kind(calls)}")


def _check_weight(weight: Any, role: str, where: str) -> None:
    if role != "assistant":
        raise FaultyLine(f"{where} must stand with role assistant, got role {role}")
    if isinstance(weight, bool) or weight not in (0, 1):
        raise FaultyLine(f"{where} must be 0 or 1, got {weight!r}")


def _check_content(message: dict[str, Any], where: str) -> None:
    content = message.get("content")
    if isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise FaultyLine(f'{where}[{index}] must be {{"type": "text", "text": ...}}, got something else')
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise FaultyLine(f"{where} must be text, got {_kind(content) if 'content' in message else 'none'}")
    if not content.strip():
        raise FaultyLine(f"{where} must not be empty")


def _check_keys(value: dict[str, Any], known: Iterable[str], where: str) -> None:
    for key in value:
        if key not in known:
            whose = f"{where} must" if where else "must"
            raise FaultyLine(f"{whose} have no other keys than {', '.join(known)}, got {key!r}")


def _listed(value: dict[str, Any]) -> str:
    keys = [repr(key) for key in value]
    return ", ".join(keys[:5]) + (" ..." if len(keys) > 5 else "")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return {str: "text", dict: "an object", int: "a number", float: "a number"}[type(value)]
