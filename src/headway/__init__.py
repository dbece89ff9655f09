"""Headway schedules AI work so that every kind of work keeps its service-level objective while the hardware stays busy.

The public names are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.core.actions import Action, Move, Preempt, Reject, Set, Start, Wake
    from headway.core.catalogue import build
    from headway.core.clock import ScaledClock, TestClock, WallClock
    from headway.core.drivers import Engine, World, serve, simulate
    from headway.core.errors import HeadwayError
    from headway.core.events import Arrived, Changed, Event, Failed, Finished, Progressed, Refused, Started, Woke
    from headway.core.nouns import Resource, Slo, Work
    from headway.core.policy import FollowPlan, Plan, Planner, Policy
    from headway.core.report import Report
    from headway.core.session import Session
    from headway.core.slo import SloClass
    from headway.core.view import Board, View

__version__ = "0.1.0"

_HOMES = {
    "actions": ("Action", "Move", "Preempt", "Reject", "Set", "Start", "Wake"),
    "catalogue": ("build",),
    "clock": ("ScaledClock", "TestClock", "WallClock"),
    "drivers": ("Engine", "World", "serve", "simulate"),
    "errors": ("HeadwayError",),
    "events": ("Arrived", "Changed", "Event", "Failed", "Finished", "Progressed", "Refused", "Started", "Woke"),
    "nouns": ("Resource", "Slo", "Work"),
    "policy": ("FollowPlan", "Plan", "Planner", "Policy"),
    "report": ("Report",),
    "session": ("Session",),
    "slo": ("SloClass",),
    "view": ("Board", "View"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Action", "Arrived", "Board", "Changed", "Engine", "Event", "Failed", "Finished", "FollowPlan", "HeadwayError",
    "Move", "Plan", "Planner", "Policy", "Preempt", "Progressed", "Refused", "Reject", "Report", "Resource",
    "ScaledClock", "Session", "Set", "Slo", "SloClass", "Start", "Started", "TestClock", "View", "Wake", "WallClock",
    "Woke", "Work", "World", "build", "serve", "simulate",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'headway' has no attribute {name!r}")
    return getattr(import_module(f"headway.core.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
