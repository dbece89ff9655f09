"""How one mechanism of fine-tuning becomes a whole policy: it gets a serving policy beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway.core import catalogue
from headway.core.errors import ConfigError, unknown_name
from headway.core.parameters import decode
from headway.core.policy import Policy
from headway.policies.serving.seats import ServingView
from headway.policies.tuning.beside import Beside
from headway.policies.tuning.lent_memory import LentMemory

Named = str | dict[str, Any]
"""An id, or a table of an id and parameters."""


def as_policy(seat: str, part: Any, name: str = "") -> Beside:
    """Put a mechanism beside the serving policy that its parameter `serve` names.

    Parameters
    ----------
    seat : str
        ``"share"``.
    part : Share
        What takes it.
    name : str
        The policy's name in traces and reports.

    Raises
    ------
    UnknownName
        When there is no such seat.
    """
    if seat != "share":
        raise unknown_name("tuning: seat", seat, ["share"])
    return beside(serving_policy(part.serve), part, name)


def share_of(tuner: str, params: Mapping[str, Any]) -> Any:
    """Build the share seat that is to say when fine-tuning runs beside a serving policy.

    Parameters
    ----------
    tuner : str
        Catalogue id of the seat.
    params : mapping of str to object
        Its parameters.

    Raises
    ------
    ConfigError
        When there is none, it takes another seat, or its parameters are wrong.
    """
    able = [row.id for row in catalogue.rows("tuning") if row.seat == "share"]
    if tuner not in able:
        raise ConfigError(f"tuner: must be one of {', '.join(able)}, got {tuner}. Choose one of them.")
    return decode(catalogue.load(tuner), params, where=tuner)


def beside(policy: Policy[ServingView], share: Any, name: str = "") -> Beside:
    """Put a share seat beside a serving policy, with the marks of memory that the seat has."""
    names = ("low_free_frac", "high_free_frac", "gives_back")
    marks = {mark: getattr(share, mark) for mark in names if hasattr(share, mark)}
    return Beside(policy=policy, share=share, memory=LentMemory(**marks), name=name)


def serving_policy(named: Named) -> Policy[ServingView]:
    """Build the serving policy that a parameter names."""
    table = {"id": named} if isinstance(named, str) else named
    found: Policy[ServingView] = catalogue.build(table["id"], {k: v for k, v in table.items() if k != "id"})
    return found
