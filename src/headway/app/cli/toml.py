"""Write plain data as TOML; the standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(data: Mapping[str, Any]) -> str:
    """Return TOML of strings, numbers, booleans, lists and mappings of them; None is left out."""
    return "\n".join(_table(data, "")).strip() + "\n"


def _table(data: Mapping[str, Any], path: str) -> Iterator[str]:
    items = [(key, value) for key, value in data.items() if value is not None]
    for key, value in items:
        if not _is_table(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in items:
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            yield from ("", f"[{name}]", *_table(value, name))
        elif _is_table(value):
            for item in value:
                yield from ("", f"[[{name}]]", *_table(item, name))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    )


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float):
        return repr(value)  # inf and nan are TOML as they are written here
    return json.dumps(value, ensure_ascii=False)
