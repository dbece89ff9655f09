"""From flags and recipes to made traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headway.core.errors import ConfigError
from headway.core.parameters import decode, read_toml
from headway.core.session import arrival_stream
from headway.traces import reshape
from headway.traces.generate.extend import extend
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable

PROCESS = ("cv", "period_s", "swing_frac")
NORMAL = ("prompt_median", "prompt_p90", "output_median", "output_p90")
NUM = 1000


def make(spec: Path | None, like: str, flags: Mapping[str, Any], seed: int) -> RequestTable:
    """Make a trace.

    Parameters
    ----------
    spec : Path or None
        A recipe, or its trace table alone.
    like : str
        A recorded trace to be carried on.
    flags : dict of str to object
        What was said on the command line, by the name of the flag.
    seed : int
        Of all dice.

    Raises
    ------
    ConfigError
        When flags do not go together, or have no sense.
    """
    if spec is not None:
        _only(flags, (), "--spec")
        if like:
            raise ConfigError("trace synthesise: must have --spec or --like, got both. Leave one out.")
        return from_recipe(spec).draw(seed)
    if like:
        _only(flags, ("num", "rate", "arrivals", *PROCESS, "max_tokens"), "--like")
        return _like(like, flags, seed)
    return _setting({**_lengths(flags), **_times(flags), **_prefixes(flags)}).draw(seed)


def from_recipe(path: Path) -> TraceSpec:
    """Read the trace of a recipe; paths in it count from its folder."""
    content = read_toml(path)
    given = dict(content.get("trace", content))
    source = given.get("source")
    if isinstance(source, str) and (path.parent / source).is_file():
        given["source"] = str(path.parent / source)
    return _setting(given, str(path))


def _like(like: str, flags: Mapping[str, Any], seed: int) -> RequestTable:
    source = TraceSpec(source=like, sort=True).read().table
    num = flags.get("num", NUM)
    longer = extend(source, len(source) + num, arrival_stream(seed).spawn(1)[0])
    table = longer.take(np.arange(len(source), len(longer)))
    table = replace(table, arrival_s=table.arrival_s - table.arrival_s[0])
    table = reshape.shortened(table, max_tokens=flags.get("max_tokens"))
    timed = _setting({"lengths": {"kind": "fixed"}, **_times({"rate": source.rate_per_s or 1.0, **flags})})
    if timed.arrivals is not None:
        return reshape.arriving(table, timed.arrivals, arrival_stream(seed))
    return reshape.at_rate(table, flags["rate"]) if "rate" in flags else table


def _setting(given: Mapping[str, Any], where: str = "trace synthesise") -> TraceSpec:
    def setting(*, trace: TraceSpec) -> TraceSpec:
        return trace

    return decode(setting, {"trace": given}, where=where)


def _times(flags: Mapping[str, Any]) -> dict[str, Any]:
    process = {name: flags[name] for name in PROCESS if name in flags}
    if "arrivals" in flags or process:
        kind = flags.get("arrivals") or ("diurnal" if "cv" not in process else "gamma")
        return {"arrivals": {"kind": kind, "rate_per_s": flags.get("rate", 1.0), **process}}
    return {"rate_per_s": flags["rate"]} if "rate" in flags else {}


def _lengths(flags: Mapping[str, Any]) -> dict[str, Any]:
    normal = {name: flags[name] for name in NORMAL if name in flags}
    if bool(normal) == ("lengths" in flags):
        raise ConfigError(
            "trace synthesise: must have --lengths NAME, or --prompt-median, --prompt-p90, --output-median and "
            f"--output-p90, got {'both' if normal else 'neither'}. Try --lengths openchat-sharegpt4."
        )
    missing = [name for name in NORMAL if normal and name not in normal]
    if missing:
        raise ConfigError(f"trace synthesise: --{missing[0].replace('_', '-')} must be given too, got nothing.")
    model = {"kind": "lognormal", **normal, "max_tokens": flags.get("max_tokens")} if normal else flags["lengths"]
    bound = {} if normal else {"max_tokens": flags.get("max_tokens")}
    return {"lengths": model, "num_requests": flags.get("num", NUM), **bound}


def _prefixes(flags: Mapping[str, Any]) -> dict[str, Any]:
    given = {"num_groups": flags.get("prefix_groups"), "prefix_tokens": flags.get("prefix_tokens")}
    known = {name: value for name, value in given.items() if value is not None}
    return {"prefixes": known} if known else {}


def _only(flags: Mapping[str, Any], allowed: tuple[str, ...], beside: str) -> None:
    wrong = [name for name in flags if name not in allowed]
    if wrong:
        raise ConfigError(
            f"trace synthesise: --{wrong[0].replace('_', '-')} must not stand beside {beside}. Leave it out."
        )
