"""Reading what a request asks of the scheduler, and passing it on to vLLM in the words that vLLM hands through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from headway.app.server.body import Objectives, decode_body
from headway.app.server.errors import ApiError, invalid
from headway.app.server.promises import DEFAULT_TIERS, Promise, Promises
from headway.engines.vllm.asks import PREFIX

HEADER = b"x-headway-"
HEADERS = {f"x-headway-{name.replace('_', '-')}".encode(): name for name in Objectives.__struct_fields__}
"""Headers that stand in for what the body's `headway` field leaves out, such as ``x-headway-ttft-s``."""

VLLM_TIERS = frozenset({"auto", "default", "flex", "scale", "priority"})
"""Service tiers that vLLM itself accepts; one that is not the name of a class of ours is left to it."""

XARGS = "vllm_xargs"
_KEYS = (b'"headway"', b'"service_tier"')
_ESCAPED = b"\\u00"
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class AskingBody(Struct, kw_only=True):
    """The part of a body that is ours; everything else is vLLM's to check."""

    headway: Objectives | None = None
    service_tier: str | None = None
    vllm_xargs: dict[str, Any] | None = None


class Asking(Struct, frozen=True):
    """A request as vLLM is to see it, and what it was promised."""

    raw: bytes
    promise: Promise


class AskingDesk:
    """Reads what requests ask.

    Parameters
    ----------
    promises : Promises
        The SLO classes that requests can name.
    names : frozenset of str
        Their names.
    """

    def __init__(self, promises: Promises, names: frozenset[str]) -> None:
        self._promises = promises
        self._names = names
        self._nothing = promises.promise(None, Objectives())

    def read(self, raw: bytes, headers: Mapping[bytes, bytes]) -> Asking:
        """Read one request. A body that asks nothing, by itself or in its headers, comes back as it is.

        Parameters
        ----------
        raw : bytes
            The body.
        headers : mapping of bytes to bytes
            Of the request, by names in small letters.

        Raises
        ------
        ApiError
            400 that names what is wrong.
        """
        ours = [header for header in headers if header.startswith(HEADER)]
        said = {HEADERS.get(header) or _unknown(header): headers[header] for header in ours}
        if not said and not _may_ask(raw):
            return Asking(raw, self._nothing)
        try:
            return self._read(raw, _from_headers(said))
        except ApiError:
            if said or any(key in raw for key in _KEYS):
                raise
            return Asking(raw, self._nothing)  # nothing of ours is in it, and vLLM has better words for its own

    def _read(self, raw: bytes, said: Objectives) -> Asking:
        body = decode_body(raw, AskingBody)
        tier = body.service_tier
        if tier in VLLM_TIERS and tier not in self._names:
            tier = None
        tells = tier not in DEFAULT_TIERS
        asked = _either(body.headway or Objectives(), said, but_class=tells)
        promise = self._promises.promise(tier, asked)
        taken = {"headway"} if tier is None or tier in VLLM_TIERS else {"headway", "service_tier"}
        wishes = _wishes(asked, promise, named=tells or asked.slo_class is not None)
        return Asking(_rewritten(raw, taken, wishes, body.vllm_xargs), promise)


def _may_ask(raw: bytes) -> bool:
    """Whether one of our keys may stand in a body: plainly, or with a letter of it written as an escape."""
    return any(key in raw for key in _KEYS) or _ESCAPED in raw


def _unknown(header: bytes) -> str:
    name, known = header.decode(errors="replace"), ", ".join(known.decode() for known in HEADERS)
    raise invalid(f"The header `{name}` must be one of {known}.", name, "unknown_parameter")


def _from_headers(said: Mapping[str, bytes]) -> Objectives:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(Objectives):
        if field.name in said:
            found[field.name] = _converted(field.name, field.type, said[field.name])
    return Objectives(**found)


def _converted(name: str, kind: Any, value: bytes) -> Any:
    text = value.decode(errors="replace").strip()
    if kind == str | None:
        return text
    try:
        return msgspec.convert(text, int if kind == int | None else float, strict=False)
    except msgspec.ValidationError:
        header = f"x-headway-{name.replace('_', '-')}"
        kinds = "whole number" if kind == int | None else "number"
        raise invalid(f"The header `{header}` must be a {kinds}, got '{text}'.", header, "invalid_type") from None


def _either(body: Objectives, headers: Objectives, but_class: bool) -> Objectives:
    """Fill what the body leaves out from the headers; a class that the body names by its tier is not left out."""
    found = {}
    for name in Objectives.__struct_fields__:
        value = getattr(body, name)
        if value is None and not (name == "slo_class" and but_class):
            value = getattr(headers, name)
        found[name] = value
    return Objectives(**found)


def _wishes(asked: Objectives, promise: Promise, named: bool) -> dict[str, str | int | float]:
    """Return what was asked as vLLM's extra arguments; what was not said is not among them."""
    wishes = {PREFIX + name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None}
    if named:
        wishes[PREFIX + "slo_class"] = promise.slo_class
    return wishes


def _rewritten(
    raw: bytes, taken: set[str], wishes: Mapping[str, str | int | float], extra: Mapping[str, Any] | None
) -> bytes:
    """Take fields out of a body and put wishes in; all other fields keep their very bytes."""
    fields = _FIELDS.decode(raw)
    if not wishes and taken.isdisjoint(fields):
        return raw
    for name in taken:
        fields.pop(name, None)
    if wishes:
        fields[XARGS] = msgspec.Raw(msgspec.json.encode({**(extra or {}), **wishes}))
    return msgspec.json.encode(fields)
