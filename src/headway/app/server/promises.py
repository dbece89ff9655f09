"""Which SLO class a request is served under, and what it asks for itself."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from headway.app.server.body import GenerateBody, Objectives
from headway.app.server.errors import invalid
from headway.core.nouns import Seconds
from headway.core.slo import SloClass

DEFAULT_TIERS = (None, "auto", "default")
"""Service tiers by which a client leaves the choice to us."""

MAX_PRIORITY = 1_000_000
MAX_TENANT_CHARS = 256
MAX_NAME_CHARS = 256


class Promise(Struct, frozen=True, kw_only=True):
    """What a request is promised and how it ranks; the fields are those of `Submit`."""

    slo_class: str
    priority: int
    tenant: str
    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None
    deadline_s: Seconds | None = None
    session: str = ""
    stage: str = ""
    tool: str | None = None


class Promises:
    """The SLO classes of a server.

    Parameters
    ----------
    classes : sequence of SloClass
        Those that requests can name.
    default : str
        The one of requests that name none.
    """

    def __init__(self, classes: Sequence[SloClass], default: str) -> None:
        self._classes = {slo_class.name: slo_class for slo_class in classes}
        self._default = default

    def of(self, body: GenerateBody) -> Promise:
        """Find what the request with this body is promised.

        Raises
        ------
        ApiError
            400 when a class is not known or a bound is out of range.
        """
        return self.promise(body.service_tier, body.headway or Objectives())

    def promise(self, tier: str | None, asked: Objectives) -> Promise:
        """Find what a request is promised that names a service tier and has objectives of its own.

        Raises
        ------
        ApiError
            As for `of`.
        """
        slo_class = self._class_of(tier, asked.slo_class)
        for name in ("ttft_s", "tpot_s", "deadline_s"):
            _check_bound(name, getattr(asked, name))
        return Promise(
            slo_class=slo_class.name,
            priority=_priority(slo_class.priority if asked.priority is None else asked.priority),
            tenant=_tenant("default" if asked.tenant is None else asked.tenant),
            ttft_s=asked.ttft_s,
            tpot_s=asked.tpot_s,
            deadline_s=asked.deadline_s,
            session=_name("session", asked.session or ""),
            stage=_name("stage", asked.stage or ""),
            tool=None if asked.tool is None else _name("tool", asked.tool),
        )

    def _class_of(self, tier: str | None, own: str | None) -> SloClass:
        named = None if tier in DEFAULT_TIERS else self._known(tier or "", "service_tier")
        if own is None:
            return named or self._classes[self._default]
        chosen = self._known(own, "headway.slo_class")
        if named is not None and named is not chosen:
            message = f"`service_tier` ({named.name}) and `headway.slo_class` ({own}) must not contradict each other."
            raise invalid(message, "headway.slo_class")
        return chosen

    def _known(self, name: str, param: str) -> SloClass:
        if name not in self._classes:
            known = ", ".join(f"'{known}'" for known in ["auto", *self._classes])
            raise invalid(f"`{param}` must be one of {known}, got '{name}'.", param, "unknown_slo_class")
        return self._classes[name]


def _check_bound(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise invalid(f"`headway.{name}` must be a number of seconds above 0, got {value}.", f"headway.{name}")


def _priority(value: int) -> int:
    if abs(value) > MAX_PRIORITY:
        raise invalid(f"`headway.priority` must be within {MAX_PRIORITY} of 0, got {value}.", "headway.priority")
    return value


def _name(name: str, value: str) -> str:
    if len(value) > MAX_NAME_CHARS:
        raise invalid(f"`headway.{name}` must have at most {MAX_NAME_CHARS} characters.", f"headway.{name}")
    return value


def _tenant(value: str) -> str:
    if not 0 < len(value) <= MAX_TENANT_CHARS:
        raise invalid(f"`headway.tenant` must have from 1 to {MAX_TENANT_CHARS} characters.", "headway.tenant")
    return value
