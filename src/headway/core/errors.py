"""What can go wrong, as a tree.

::

    HeadwayError
      ConfigError(ValueError)      a parameter, file or combination that cannot work
      UnknownName(LookupError)     a name that is not in a catalogue, table or file
      IllegalAction(RuntimeError)  an action refused under ``strict``
      PolicyFailed(RuntimeError)   a policy raised, or answered with something that is no action
      MissingExtra(ImportError)    an optional package that is not installed
      TraceError(ValueError)       a trace file that cannot be read
      EngineError(RuntimeError)    a real-time engine that cannot go on
      PlanError(RuntimeError)      a planner that found no plan
      TuneError(RuntimeError)      a fine-tuning run that cannot go on

Messages read *where - what must hold - what came - what to do*.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HeadwayError(Exception):
    """Root of all errors that Headway raises on purpose."""


class ConfigError(HeadwayError, ValueError):
    """A parameter, file or combination that cannot work."""


class UnknownName(HeadwayError, LookupError):
    """A name that is not in a catalogue, table or file."""


class IllegalAction(HeadwayError, RuntimeError):
    """An action that its executor refused while the session was strict."""


class PolicyFailed(HeadwayError, RuntimeError):
    """A policy raised, or answered with something that is not an action."""


class MissingExtra(HeadwayError, ImportError):
    """An optional package that is not installed."""


class TraceError(HeadwayError, ValueError):
    """A trace file that cannot be read."""


class EngineError(HeadwayError, RuntimeError):
    """A real-time engine that cannot go on."""


class PlanError(HeadwayError, RuntimeError):
    """A planner that found no plan."""


class TuneError(HeadwayError, RuntimeError):
    """A fine-tuning run that cannot go on."""


def unknown_name(where: str, name: str, known: Iterable[str], see: str = "") -> UnknownName:
    """Build the error for a name that is not known, with the nearest three that are.

    Parameters
    ----------
    where : str
        What was looked up, for example ``"policy"``.
    name : str
        The name that came.
    known : iterable of str
        All names that would have been right.
    see : str
        A command that lists them, appended when given.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
    hint = f" Nearest: {', '.join(near)}." if near else " None are known."
    return UnknownName(f"{where}: {name!r} is not known.{hint}" + (f" See `{see}`." if see else ""))


def missing_extra(package: str, extra: str, why: str) -> MissingExtra:
    """Build the error for an optional package, with the exact pip line.

    Parameters
    ----------
    package : str
        The import name that failed.
    extra : str
        The extra of Headway that brings it.
    why : str
        What needs it, as a short clause.
    """
    return MissingExtra(f"{package}: needed {why}, but it is not installed. Run `pip install 'headway[{extra}]'`.")
