"""Where laws of lengths come from: outputs that have ended, what requests show, or the truth, more or less blurred."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import numpy as np

from headway.core.nouns import Id
from headway.policies.serving.length_laws import Certain, LengthLaw, LogNormalLaw, Seen
from headway.policies.serving.nouns import Request

Client = tuple[str, ...]


def client_of(request: Request) -> Client:
    """Return whose requests are taken to be alike: those of a tenant, class, adapter and stage."""
    return request.tenant, request.slo_class, request.adapter, request.stage


def features_of(request: Request) -> np.ndarray:
    """Return what a length is taken to depend on, `[3]`."""
    return np.array([1.0, math.log(request.prompt_tokens) / 10, math.log(request.max_tokens) / 10])


class LengthSource(Protocol):
    """Tells what is thought of a length, and learns from those that are known."""

    def law(self, request: Request) -> LengthLaw | None:
        """Return what is thought of the output of a request; None where nothing is."""

    def learn(self, request: Request, output_tokens: int) -> None:
        """Learn from an output that has ended."""


class SeenLengths:
    """Outputs of the same client that have ended lately; all clients' together while there are few.

    Parameters
    ----------
    num_kept : int
        How many are remembered of each client, >= 1.
    num_least : int
        From how many on they are enough, >= 1.
    """

    def __init__(self, num_kept: int, num_least: int) -> None:
        self.num_kept, self.num_least = num_kept, num_least
        self._seen: dict[Client, deque[int]] = {}
        self._laws: dict[Client, Seen] = {}

    def law(self, request: Request) -> LengthLaw | None:
        """Return lengths like those that were seen; None before the first."""
        client = client_of(request)
        if len(self._seen.get(client, ())) < self.num_least:
            client = ()
        if client not in self._laws:
            if client not in self._seen:
                return None
            self._laws[client] = Seen(self._seen[client])
        return self._laws[client]

    def learn(self, request: Request, output_tokens: int) -> None:
        """Remember an output that has ended."""
        for client in (client_of(request), ()):
            self._seen.setdefault(client, deque(maxlen=self.num_kept)).append(output_tokens)
            self._laws.pop(client, None)


class Regressed:
    """The logarithm of a length as a linear function of what can be seen of its request.

    Recursive least squares on the logarithms of prompt and of the most tokens asked for, plus what clients differ by.

    Parameters
    ----------
    num_least : int
        From how many outputs on it says anything, >= 1.
    """

    RIDGE = 10.0
    """Variance of the weights before anything is seen."""
    SHRINK = 5.0
    """As many outputs of a client count as much as the rest of the world."""

    def __init__(self, num_least: int) -> None:
        self.num_least = num_least
        self._num = 0
        self._weights = np.zeros(3)
        self._covariance = np.eye(3) * self.RIDGE
        self._apart: dict[Client, tuple[int, float]] = {}
        self._square = 0.0

    def law(self, request: Request) -> LengthLaw | None:
        """Return a log-normal law around the fit; None while too few are seen."""
        if self._num < self.num_least:
            return None
        return LogNormalLaw(self._centre(request), math.sqrt(self._square / self._num))

    def learn(self, request: Request, output_tokens: int) -> None:
        """Move the fit towards an output that has ended."""
        x, value = features_of(request), math.log(output_tokens)
        if self._num:
            self._square += (value - self._centre(request)) ** 2
        else:
            self._square = 0.5
        num, apart = self._apart.get(client_of(request), (0, 0.0))
        gain = self._covariance @ x / (1 + float(x @ self._covariance @ x))
        error = value - float(x @ self._weights) - apart * num / (num + self.SHRINK)
        self._weights = self._weights + gain * error
        self._covariance = self._covariance - np.outer(gain, x @ self._covariance)
        left = value - float(x @ self._weights)
        self._apart[client_of(request)] = (num + 1, apart + (left - apart) / (num + 1))
        self._num += 1

    def _centre(self, request: Request) -> float:
        num, apart = self._apart.get(client_of(request), (0, 0.0))
        return float(features_of(request) @ self._weights) + apart * num / (num + self.SHRINK)


class Told:
    """The truth, blurred as a predictor of some quality would.

    Parameters
    ----------
    ask : callable of id -> int
        Tells the true length.
    blur : callable of int -> LengthLaw
        What the predictor makes of it; called once for each request.
    """

    def __init__(self, ask: Callable[[Id], int], blur: Callable[[int], LengthLaw]) -> None:
        self._ask, self._blur = ask, blur
        self._laws: dict[Id, LengthLaw] = {}

    def law(self, request: Request) -> LengthLaw:
        """Return what the predictor says; the same whenever it is asked about the same request."""
        found = self._laws.get(request.id)
        if found is None:
            found = self._laws[request.id] = self._blur(self._ask(request.id))
        return found

    def learn(self, request: Request, output_tokens: int) -> None:
        """Forget a request that has ended."""
        self._laws.pop(request.id, None)


def noisy(sigma: float, rng: np.random.Generator) -> Callable[[int], LengthLaw]:
    """Return a predictor whose error is log-normal and does not depend on the length."""
    return lambda tokens: LogNormalLaw(math.log(tokens) + sigma * float(rng.standard_normal()), sigma)


def mean_of_prompt(within: float, between: float, rng: np.random.Generator) -> Callable[[int], LengthLaw]:
    """Return the best that can be known before: the law of the prompt, of which the truth is one sample.

    Lengths are taken to be log-normal around the median of their prompt (`within`), and these around one of all
    (`between`). Given the sample, the median of its prompt is drawn from what it can then be: so both come out as if
    the prompt had been drawn first.
    """
    variance = within**2 * between**2 / max(within**2 + between**2, 1e-12)
    keep = between**2 / max(within**2 + between**2, 1e-12)
    seen = {"num": 0, "sum": 0.0}

    def blur(tokens: int) -> LengthLaw:
        value = math.log(tokens)
        seen["num"], seen["sum"] = seen["num"] + 1, seen["sum"] + value
        middle = seen["sum"] / seen["num"]
        centre = middle + keep * (value - middle) + math.sqrt(variance) * float(rng.standard_normal())
        return LogNormalLaw(centre, within)

    return blur


def bucketed(edges: tuple[int, ...], wrong_frac: float, rng: np.random.Generator) -> Callable[[int], LengthLaw]:
    """Return a classifier into ranges of lengths that names a wrong one now and then, each other one as often."""
    bounds = [1, *edges, 4 * edges[-1]]
    laws = [Seen(np.geomspace(low, high, 33).astype(int).tolist()) for low, high in pairwise(bounds)]

    def blur(tokens: int) -> LengthLaw:
        place = int(np.searchsorted(edges, tokens))
        if rng.random() < wrong_frac:
            place = (place + int(rng.integers(1, len(laws)))) % len(laws)
        return laws[place]

    return blur


def exact(tokens: int) -> LengthLaw:
    """Return the truth."""
    return Certain(tokens)
