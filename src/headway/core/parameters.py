"""Constructor = configuration: plain mappings (TOML, command lines) to constructor calls and back.

There are no configuration classes beside the things they configure: what a class accepts *is* its signature. Numbers
may be written for people: ``"16k"``, ``"2GiB"``, ``"5min"``.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from headway.core.errors import ConfigError, unknown_name

T = TypeVar("T")

UNITS = {
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "B": 1,
    "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "%": 0.01,
}  # fmt: skip
"""Suffixes a number may carry, and what they multiply it by."""

KINDS = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "array": "a list",
    "object": "a table",
}  # fmt: skip
"""What people call what msgspec expects."""

WORDS = {
    "Object contains unknown field `(.*)`": r"key '\1' is not known",
    "Object missing required field `(.*)`": r"\1 must be given",
    "Invalid (enum )?value .*": "must be one of the known values",
}
"""What msgspec says of tables, and what we say."""

_ID = re.compile(r"[\w-]+/[\w-]+")
_PLACE = re.compile(r"(.*) - at `(?:key in )?\$(.*)`", re.DOTALL)
_LAST = re.compile(r"[^\s.:]+$")
_EXPECTED = re.compile(r"Expected `([a-z |]+)`, got `[a-z]+`")
_NUMBER = re.compile(r"\s*([+-]?(?:\d(?:_?\d)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)\s*")


def number(text: str) -> float:
    """Read a number as people write it.

    Examples
    --------
    >>> number("16k"), number("2GiB"), number("1.5min")
    (16000.0, 2147483648.0, 90.0)
    """
    match = _NUMBER.fullmatch(text)
    if match is None or (match[2] and match[2] not in UNITS):
        raise ConfigError(f"number: must be digits with one of {', '.join(UNITS)}, got {text!r}. Try '16k' or '2GiB'.")
    return float(match[1]) * UNITS.get(match[2], 1)


def params(obj: object) -> dict[str, Any]:
    """Return the constructor arguments that would make an equal object.

    Raises
    ------
    ConfigError
        When the object does not keep an argument under its own name.
    """
    found = {}
    for name in _signature(type(obj)):
        if not hasattr(obj, name):
            raise ConfigError(
                f"{type(obj).__name__}: must store the argument {name!r} under its name, got no attribute."
            )
        found[name] = getattr(obj, name)
    return found


def clone(obj: T) -> T:
    """Make a fresh object from the constructor arguments of `obj`."""
    return type(obj)(**params(obj))


def decode(make: Callable[..., T], given: Mapping[str, Any], *, where: str) -> T:
    """Call a constructor with arguments as they stand in a file or on a command line.

    Parameters
    ----------
    make : callable
        A class or function with keyword arguments.
    given : mapping of str to object
        Its arguments; strings are read as numbers where a number is wanted.
    where : str
        Named in errors, for example a policy's id or a file.

    Raises
    ------
    ConfigError
        When an argument is unknown, missing, of the wrong type or out of range.
    """
    signature, hints = _signature(make), _hints(make)
    for name in given:
        if name not in signature:
            see = f"headway show {where}" if _ID.fullmatch(where) else ""
            error = unknown_name(f"{where}: parameter", name, signature, see)
            raise ConfigError(str(error)) from error
    arguments = {name: _convert(value, hints.get(name, Any), f"{where}: {name}") for name, value in given.items()}
    missing = [name for name, p in signature.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise ConfigError(f"{where}: {missing[0]} must be given, got nothing. Set it.")
    return make(**arguments)


def read_toml(path: Path | str) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        When it does not exist or is not TOML; says the line.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: must be a file that can be read, got: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: must be TOML, got: {error}.") from error


def settings(pairs: list[str]) -> dict[str, Any]:
    """Read ``key=value`` settings as they come from a command line; a value is TOML where it can be, else text.

    Examples
    --------
    >>> settings(["token_budget=512", "name=fast", "budget=16k"])
    {'token_budget': 512, 'name': 'fast', 'budget': '16k'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"setting: must be key=value, got {pair!r}. Try token_budget=512.")
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key] = value
    return found


def _signature(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name: p for name, p in inspect.signature(make).parameters.items() if p.kind in kinds}


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(vars(make).get("__init__", make) if isinstance(make, type) else make)
    except NameError:  # an annotation that exists for type checkers only
        return {}


def _convert(value: Any, wanted: Any, where: str) -> Any:
    if isinstance(value, str) and wanted in (int, float, int | None, float | None):
        try:
            value = number(value)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    if wanted in (int, int | None) and isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise ConfigError(_refusal(value, wanted, error, where)) from error
    except TypeError:  # a type msgspec does not know, such as a protocol: the constructor must judge
        return value


def _refusal(value: Any, wanted: Any, error: msgspec.ValidationError, where: str) -> str:
    """Say in our words what msgspec refuses, with the place within the value and what stands there alone."""
    found = _PLACE.fullmatch(str(error))
    text, place = (found[1], found[2]) if found else (str(error), "")
    if isinstance(error.__cause__, ConfigError):
        return f"{where}{place}: {str(error.__cause__).removeprefix(_LAST.findall(where + place)[-1] + ': ')}"
    came = _within(value, place)
    if get_origin(wanted) is Literal:
        return f"{where}: must be one of {', '.join(map(str, get_args(wanted)))}, got {came!r}."
    expected = _EXPECTED.fullmatch(text)
    if expected is None:
        for theirs, ours in WORDS.items():
            text = re.sub(theirs, ours, text)
        return f"{where}{place}: {text}, got {came!r}."
    kinds = " or ".join(KINDS.get(kind, kind) for kind in expected[1].split(" | ") if kind != "null")
    return f"{where}{place}: must be {kinds}, got {came!r}."


def _within(value: Any, place: str) -> Any:
    """Return what stands at a place such as ``[0].ttft_s``, as far as it can be followed."""
    for index, key in re.findall(r"\[(\d+)\]|\.(\w+)", place):
        try:
            value = value[int(index)] if index else value[key]
        except (LookupError, TypeError):
            return value
    return value
