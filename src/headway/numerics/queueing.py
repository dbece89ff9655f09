"""What queueing theory says of single stations: means in closed form, where they are known exactly.

Arrivals are a Poisson process throughout, waiting room is unbounded, and nobody leaves before being served.
"""

from __future__ import annotations

import math

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds


class Station(Struct, frozen=True, kw_only=True):
    """One station in its long run.

    Parameters
    ----------
    arrivals_per_s : float
        How many come, per second.
    load_frac : float
        Share of its capacity that is in use, in [0, 1).
    wait_s : float
        Mean time from arrival to the start of service, in seconds; 0 where service starts at once and is shared.
    response_s : float
        Mean time from arrival to departure, in seconds.
    wait_frac : float
        Share of the arrivals that find no free server; of a shared one, that find it in use.
    """

    arrivals_per_s: float
    load_frac: float
    wait_s: Seconds
    response_s: Seconds
    wait_frac: float

    @property
    def num_waiting(self) -> float:
        """How many wait, on average (Little's law)."""
        return self.arrivals_per_s * self.wait_s

    @property
    def num_present(self) -> float:
        """How many wait or are served, on average (Little's law)."""
        return self.arrivals_per_s * self.response_s


def mm1(arrivals_per_s: float, service_s: Seconds) -> Station:
    """Return M/M/1: exponential service, one server, first come first served.

    Parameters
    ----------
    arrivals_per_s : float
        Rate of arrivals, >= 0.
    service_s : float
        Mean service time, in seconds, > 0; their product must be < 1.

    Raises
    ------
    ConfigError
        When a number is out of its range, or more work comes than can be done.

    Examples
    --------
    >>> station = mm1(0.5, 1.0)
    >>> station.wait_s, station.response_s, station.num_present
    (1.0, 2.0, 1.0)
    """
    return mg1(arrivals_per_s, service_s, 1.0)


def md1(arrivals_per_s: float, service_s: Seconds) -> Station:
    """Return M/D/1: every service takes `service_s`; as `mm1` otherwise.

    Examples
    --------
    >>> md1(0.5, 1.0).wait_s
    0.5
    """
    return mg1(arrivals_per_s, service_s, 0.0)


def mg1(arrivals_per_s: float, service_s: Seconds, variation: float) -> Station:
    """Return M/G/1: any law of service, one server, first come first served.

    Parameters
    ----------
    arrivals_per_s, service_s : float
        As of `mm1`.
    variation : float
        Squared coefficient of variation of the service time (variance over squared mean), >= 0: 0 when it is always
        the same, 1 when it is exponential.

    Notes
    -----
    Source: the formula of Pollaczek and Khinchine.
    """
    load = _load("M/G/1", arrivals_per_s, service_s, 1)
    if not 0 <= variation < math.inf:
        raise ConfigError(f"M/G/1: variation must be finite and >= 0, got {variation}. Try 1, exponential service.")
    wait_s = load * service_s * (1 + variation) / (2 * (1 - load))
    return Station(
        arrivals_per_s=arrivals_per_s, load_frac=load, wait_s=wait_s, response_s=wait_s + service_s, wait_frac=load
    )


def mmc(arrivals_per_s: float, service_s: Seconds, num_servers: int) -> Station:
    """Return M/M/c: exponential service, equal servers, one queue, first come first served.

    Parameters
    ----------
    arrivals_per_s, service_s : float
        As of `mm1`; their product must be < `num_servers`.
    num_servers : int
        How many, >= 1.

    Notes
    -----
    Source: Erlang's second formula (C), from the first one (B).
    """
    load = _load("M/M/c", arrivals_per_s, service_s, num_servers)
    wait_frac = erlang_c(arrivals_per_s * service_s, num_servers)
    wait_s = wait_frac * service_s / (num_servers * (1 - load))
    return Station(
        arrivals_per_s=arrivals_per_s, load_frac=load, wait_s=wait_s, response_s=wait_s + service_s, wait_frac=wait_frac
    )


def mg1_shared(arrivals_per_s: float, service_s: Seconds) -> Station:
    """Return M/G/1 with processor sharing: all present share the server evenly, whatever the law of service.

    Notes
    -----
    The mean response depends on the law of service through its mean alone.

    Examples
    --------
    >>> mg1_shared(0.5, 1.0).response_s
    2.0
    """
    load = _load("M/G/1-PS", arrivals_per_s, service_s, 1)
    return Station(
        arrivals_per_s=arrivals_per_s,
        load_frac=load,
        wait_s=0.0,
        response_s=shared_response_s(arrivals_per_s, service_s, service_s),
        wait_frac=load,
    )


def shared_response_s(arrivals_per_s: float, service_s: Seconds, own_s: Seconds) -> Seconds:
    """Return the mean response of one that needs `own_s` of service under processor sharing."""
    return own_s / (1 - _load("M/G/1-PS", arrivals_per_s, service_s, 1))


def mm1_response_quantile_s(arrivals_per_s: float, service_s: Seconds, quantile: float) -> Seconds:
    """Return a quantile, in [0, 1), of the response of M/M/1, which is exponential."""
    if not 0 <= quantile < 1:
        raise ConfigError(f"M/M/1: quantile must be in [0, 1), got {quantile}. Try 0.9.")
    return -mm1(arrivals_per_s, service_s).response_s * math.log1p(-quantile)


def erlang_b(offered: float, num_servers: int) -> float:
    """Return the share of arrivals that find all servers taken where nobody waits (Erlang's first formula).

    Parameters
    ----------
    offered : float
        Arrivals per second times mean service time, >= 0.
    num_servers : int
        How many servers, >= 0.

    Examples
    --------
    >>> erlang_b(1.0, 1)
    0.5
    """
    if not 0 <= offered < math.inf or num_servers < 0:
        raise ConfigError(f"Erlang B: offered and num_servers must be >= 0, got {offered} and {num_servers}.")
    blocked = 1.0
    for number in range(1, num_servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked


def erlang_c(offered: float, num_servers: int) -> float:
    """Return the share of arrivals that find all servers taken where they wait (Erlang's second formula).

    Parameters
    ----------
    offered : float
        Arrivals per second times mean service time, in [0, `num_servers`).
    num_servers : int
        How many servers, >= 1.
    """
    load = _load("Erlang C", offered, 1.0, num_servers)
    blocked = erlang_b(offered, num_servers)
    return blocked / (1 - load * (1 - blocked))


def _load(where: str, arrivals_per_s: float, service_s: Seconds, num_servers: int) -> float:
    if not 0 <= arrivals_per_s < math.inf or not 0 < service_s < math.inf or num_servers < 1:
        raise ConfigError(
            f"{where}: arrivals must be >= 0, service > 0 and servers >= 1, got {arrivals_per_s} per second, "
            f"{service_s} s and {num_servers}."
        )
    load = arrivals_per_s * service_s / num_servers
    if load >= 1:
        raise ConfigError(
            f"{where}: less work must come than {num_servers} x 1 s per second, got {arrivals_per_s * service_s:g} s. "
            "Lower the rate or add servers."
        )
    return load
