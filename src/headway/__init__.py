"""Headway schedules AI work so that every kind of work keeps its service-level objective while the hardware stays busy."""

__version__ = "0.1.0"
