"""Bounds that a request can meet or miss, in the words of the command line: ``ttft:500`` and ``interactive=0.7``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from headway.app.bench.answer import Answer
from headway.core.errors import ConfigError

METRICS = ("ttft", "tpot", "e2el")


class SloMix(Struct, frozen=True, kw_only=True):
    """Which SLO classes the requests name, and what each promises.

    Parameters
    ----------
    shares : dict of str to float
        Share of the requests by class.
    bounds_ms : dict of str to (dict of str to float)
        Bounds by class and metric, in milliseconds.
    """

    shares: dict[str, float] = {}
    bounds_ms: dict[str, dict[str, float]] = {}


def parse_bounds(flag: str, words: Iterable[str]) -> dict[str, float]:
    """Read bounds such as ``ttft:500 tpot:50``, in milliseconds, separated by blanks or commas.

    Parameters
    ----------
    flag : str
        The flag they came with, for messages.
    words : iterable of str
        What was given.
    """
    pairs = [pair for word in words for pair in word.replace(",", " ").split()]
    bounds = {}
    for pair in pairs:
        metric, _, number = pair.replace("=", ":").partition(":")
        if metric not in METRICS:
            raise ConfigError(f"bench: {flag} bounds {', '.join(METRICS)} in milliseconds, got {pair!r}. Try ttft:500.")
        bounds[metric] = _positive(flag, pair, number)
    return bounds


def parse_mix(words: Iterable[str]) -> SloMix:
    """Read classes such as ``interactive=0.7:ttft=500,tpot=50``; share (1 by default) and bounds may be left out."""
    shares: dict[str, float] = {}
    bounds: dict[str, dict[str, float]] = {}
    for word in words:
        name_and_share, _, promised = word.partition(":")
        name, _, share = name_and_share.partition("=")
        if not name:
            raise ConfigError(
                f"bench: --slo-class must be NAME[=SHARE][:METRIC=MS,...], got {word!r}. Try interactive=0.7."
            )
        shares[name] = _positive("--slo-class", word, share or "1")
        bounds[name] = parse_bounds("--slo-class", [promised])
    return SloMix(shares=shares, bounds_ms=bounds)


def meets(answer: Answer, bounds_ms: Mapping[str, float]) -> bool:
    """Tell whether a completed request met all bounds."""
    return answer.completed and all(met(answer, metric, bound) for metric, bound in bounds_ms.items())


def met(answer: Answer, metric: str, bound_ms: float) -> bool:
    """Tell whether a request met one bound; one that failed met none."""
    value_s = {"ttft": answer.ttft_s, "tpot": answer.tpot_s, "e2el": answer.e2e_s}[metric]
    return answer.completed and value_s * 1000 <= bound_ms


def _positive(flag: str, word: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ConfigError(f"bench: {flag} needs a number > 0, got {word!r}.")
    return value
