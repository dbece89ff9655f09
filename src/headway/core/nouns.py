"""The nouns that every family shares: work, resources, objectives.

`Work` holds what a scheduler *may know*. Hidden truth (durations, output lengths, failures) lives in a world and is not
reachable from here, so no policy can read the future.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

Seconds = float
Id = str
Amounts = Mapping[str, float]
"""How much of each kind, for example ``{"gpu": 2.0, "kv_tokens": 4096.0}``."""


class Work(Struct, frozen=True, kw_only=True):
    """One thing to be scheduled, as a scheduler may know it.

    Parameters
    ----------
    id : str
        Unique among all work of one run.
    kind : str
        The family's word for it, for example ``"request"`` or ``"job"``.
    arrival_s : float
        When it arrived, in seconds since the start of the run, >= 0.
    needs : mapping of str to float
        What it occupies while it runs, by kind of capacity, each >= 0.
    size : float or None
        Estimated amount of work in the family's unit, or None when nobody knows.
    deadline_s : float or None
        When it must be finished, in seconds since the start of the run.
    priority : int
        Larger is more important; 0 by default.
    tenant : str
        On whose account it runs.
    after : tuple of str
        Ids of work that must finish first.
    """

    id: Id
    kind: str
    arrival_s: Seconds
    needs: Amounts = {}
    size: float | None = None
    deadline_s: Seconds | None = None
    priority: int = 0
    tenant: str = "default"
    after: tuple[Id, ...] = ()


class Resource(Struct, frozen=True, kw_only=True):
    """One thing that work runs on.

    Parameters
    ----------
    id : str
        Unique among all resources of one run.
    kind : str
        The family's word for it, for example ``"gpu"`` or ``"node"``.
    capacity : mapping of str to float
        How much of each kind it offers, each >= 0.
    parent : str or None
        The resource that contains this one.
    traits : mapping of str to float
        Facts a policy may use, for example ``{"flops_per_s": 3e14}``.
    """

    id: Id
    kind: str
    capacity: Amounts
    parent: Id | None = None
    traits: Amounts = {}


class Slo(Struct, frozen=True, forbid_unknown_fields=True):
    """One service-level objective: a quantile of a metric stays within a bound.

    Parameters
    ----------
    metric : str
        What is bounded, with its unit in the name, for example ``"ttft_s"``.
    bound : float
        The largest value that meets it, > 0.
    quantile : float
        Which share of the work must meet the bound, in (0, 1]; 0.99 by default.
    """

    metric: str
    bound: float
    quantile: float = 0.99
