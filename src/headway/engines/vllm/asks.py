"""What a request asks of the scheduler, as it travels through vLLM; and what becomes of one that is turned away.

vLLM hands flat extra arguments (``vllm_xargs``) through to its scheduler. What is asked stands there under names that
begin with ``headway_``. On the way back a request that the policy turned away ends with finish reason ``abort``, a stop
reason that says why, and one token without meaning: the end of a stream without a token vLLM keeps to itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headway.core.nouns import Seconds
from headway.engines.llm.messages import UNNAMED_TOOL

PREFIX = "headway_"
_TEXTS = ("slo_class", "tenant", "session", "stage", "tool")
_BOUNDS = ("ttft_s", "tpot_s", "deadline_s")
_REJECTION = re.compile(r"headway: rejected(?: \(retry after ([0-9.e+-]+) s\))?: (.*)", re.DOTALL)


class Asks(Struct, frozen=True, kw_only=True):
    """What one request asks of the scheduler; all of it may be left out.

    Parameters
    ----------
    slo_class : str
        The promise it is to be served under; empty for the default.
    ttft_s, tpot_s : float or None
        Bounds of its own in seconds, > 0.
    deadline_s : float or None
        How long after its arrival it is to be finished, in seconds, > 0.
    priority : int or None
        Larger is more important; None for that of its class.
    tenant : str
        On whose account it runs.
    session, stage : str
        The conversation it belongs to, and which kind of call it is there.
    tool : str or None
        The tool whose result its sender will come back with; empty when its session ends with this request, None when
        nothing is said.
    """

    slo_class: str = ""
    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None
    deadline_s: Seconds | None = None
    priority: int | None = None
    tenant: str = ""
    session: str = ""
    stage: str = ""
    tool: str | None = None

    @property
    def calls(self) -> str:
        """The tool that its output will call, as far as anybody knows; a session goes on unless its sender says not."""
        return UNNAMED_TOOL if self.tool is None and self.session else self.tool or ""

    def extra_args(self) -> dict[str, str | int | float]:
        """Return it as extra arguments for vLLM."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return {
            PREFIX + name: value for name, value in given.items() if value is not None and (value or name == "tool")
        }


NOTHING = Asks()


def asks_of(extra_args: Mapping[str, Any] | None) -> Asks:
    """Read what a request asks from its extra arguments; what makes no sense there is not asked.

    The door refuses nonsense with a sentence. Whoever goes around it is served as if he had not said it, for nothing
    that a client sends may stop vLLM.
    """
    if not extra_args:
        return NOTHING
    found: dict[str, Any] = {}
    for name in _TEXTS:
        value = extra_args.get(PREFIX + name)
        if isinstance(value, str | int):
            found[name] = str(value)
    for name in _BOUNDS:
        bound = _number(extra_args.get(PREFIX + name))
        if bound is not None and 0 < bound < float("inf"):
            found[name] = bound
    priority = _number(extra_args.get(PREFIX + "priority"))
    if priority is not None and abs(priority) < 1e9:
        found["priority"] = int(priority)
    return Asks(**found) if found else NOTHING


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None


class Rejection(Struct, frozen=True):
    """Why a policy turned a request away, and in how many seconds its sender may try again."""

    why: str
    retry_after_s: Seconds | None = None


def rejection(why: str, retry_after_s: Seconds | None = None) -> str:
    """Return the stop reason of a request that is turned away."""
    again = "" if retry_after_s is None else f" (retry after {retry_after_s:.3g} s)"
    return f"headway: rejected{again}: {why}"


def read_rejection(stop_reason: object) -> Rejection | None:
    """Read a stop reason; None when it says nothing of a request turned away.

    Examples
    --------
    >>> read_rejection(rejection("too long", 2.0))
    Rejection(why='too long', retry_after_s=2.0)
    >>> read_rejection("length") is None
    True
    """
    found = _REJECTION.fullmatch(stop_reason) if isinstance(stop_reason, str) else None
    if found is None:
        return None
    return Rejection(found[2], float(found[1]) if found[1] else None)
