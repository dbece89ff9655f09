"""Read what a mechanism's docstring says about its parameters."""

from __future__ import annotations

import inspect
import re
from typing import Any

from msgspec import Struct

_HEAD = re.compile(r"^(\w[\w, ]*?) : (.+)$")


class Parameter(Struct, frozen=True, kw_only=True):
    """One constructor argument.

    Parameters
    ----------
    name, type : str
        As the docstring has them.
    default : object
        As the signature has it.
    about : str
        Unit, legal range and meaning, as the docstring has them.
    """

    name: str
    type: str
    default: Any
    about: str


def parameters(cls: type[Any]) -> list[Parameter]:
    """Return the constructor arguments of a class, in their order."""
    said = _said(section(inspect.getdoc(cls) or "", "Parameters"))
    found = []
    for name, parameter in inspect.signature(cls).parameters.items():
        kind, about = said.get(name, (str(parameter.annotation), ""))
        found.append(Parameter(name=name, type=kind, default=_plain(parameter.default), about=about))
    return found


def section(doc: str, title: str) -> str:
    """Return the body of one section of a numpydoc text, or nothing."""
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", doc, re.MULTILINE | re.DOTALL)
    return match[1].strip("\n") if match else ""


def _said(body: str) -> dict[str, tuple[str, str]]:
    said: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    for line in body.splitlines():
        head = _HEAD.match(line)
        if head:
            names = [name.strip() for name in head[1].split(",")]
            said |= {name: (head[2], "") for name in names}
        else:
            said |= {name: (said[name][0], f"{said[name][1]} {line.strip()}".strip()) for name in names}
    return said


def _plain(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return None
    return default if isinstance(default, str | int | float | bool | None) else repr(default)
