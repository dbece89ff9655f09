"""Length models: how long prompts and outputs are, drawn together."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError, unknown_name
from headway.traces.table import Floats, Ints, RequestTable

Z90 = 1.2815515655446004
"""The 90% quantile of the standard normal distribution."""
MAX_TRIES = 200


class LengthModel(Protocol):
    """How long requests are."""

    def draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return prompt and output tokens of `num` requests, each >= 1."""


class Lengths(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all length models have.

    Parameters
    ----------
    max_prompt_tokens, max_output_tokens, max_tokens : int or None
        Longest prompt, output, and both together, >= 1 (2 for both); what is longer is drawn again.
    """

    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_prompt_tokens", 1), ("max_output_tokens", 1), ("max_tokens", 2)):
            value = getattr(self, name)
            _require(name, value, value is None or value >= least, f">= {least}")

    def draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Draw the lengths of `num` requests.

        Raises
        ------
        ConfigError
            When hardly any request is within the bounds.
        """
        prompt, output = self._draw(num, rng)
        for _ in range(MAX_TRIES):
            long = np.flatnonzero(self._is_long(prompt, output))
            if not len(long):
                return prompt, output
            prompt[long], output[long] = self._draw(len(long), rng)
        raise ConfigError(
            f"lengths: bounds must let most requests through, got {len(long)} of {num} beyond. Raise them."
        )

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        raise NotImplementedError

    def _is_long(self, prompt: Ints, output: Ints) -> Any:
        most = np.iinfo(np.int64).max
        return (
            (prompt > (self.max_prompt_tokens or most))
            | (output > (self.max_output_tokens or most))
            | (prompt + output > (self.max_tokens or most))
        )


class Fixed(Lengths, frozen=True, kw_only=True, tag="fixed"):
    """The same lengths for all.

    Parameters
    ----------
    prompt_tokens, output_tokens : int
        The lengths, >= 1.
    """

    prompt_tokens: int = 1024
    output_tokens: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("prompt_tokens", "output_tokens"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, ">= 1")

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:  # noqa: ARG002 (nothing to draw)
        return np.full(num, self.prompt_tokens), np.full(num, self.output_tokens)


class LogNormal(Lengths, frozen=True, kw_only=True, tag="lognormal"):
    """Log-normal lengths, prompt and output apart from each other.

    Parameters
    ----------
    prompt_median, output_median : float
        Half of the requests are shorter, > 0, in tokens.
    prompt_sigma, output_sigma : float or None
        Standard deviation of the logarithm, >= 0.
    prompt_p90, output_p90 : float or None
        The 90% quantile, in tokens, instead of sigma.
    prompt_mean, output_mean : float or None
        The mean, in tokens, instead of sigma.
    correlation : float
        Between the logarithms of prompt and output, in [-1, 1]; 0 by default.
    """

    prompt_median: float
    output_median: float
    prompt_sigma: float | None = None
    output_sigma: float | None = None
    prompt_p90: float | None = None
    output_p90: float | None = None
    prompt_mean: float | None = None
    output_mean: float | None = None
    correlation: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("correlation", self.correlation, abs(self.correlation) <= 1, "in [-1, 1]")
        for what in ("prompt", "output"):
            _require(f"{what}_median", self._of(what, "median"), (self._of(what, "median") or 0) > 0, "> 0")
            self._sigma(what)

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        normal = correlated(num, self.correlation, rng)
        pairs = zip(("prompt", "output"), normal, strict=True)
        prompt, output = (self._of(what, "median") * np.exp(self._sigma(what) * z) for what, z in pairs)
        return whole(prompt), whole(output)

    def _sigma(self, what: str) -> float:
        given = {name: self._of(what, name) for name in ("sigma", "p90", "mean")}
        chosen = [name for name, value in given.items() if value is not None]
        _require(f"{what}_sigma, {what}_p90 or {what}_mean", chosen, len(chosen) == 1, "exactly one of them")
        value = given[chosen[0]]
        if chosen[0] == "sigma":
            _require(f"{what}_sigma", value, value >= 0, ">= 0")
            return float(value)
        ratio = value / self._of(what, "median")
        _require(f"{what}_{chosen[0]}", value, ratio >= 1, f">= {what}_median")
        return float(np.log(ratio) / Z90 if chosen[0] == "p90" else np.sqrt(2 * np.log(ratio)))

    def _of(self, what: str, name: str) -> Any:
        return getattr(self, f"{what}_{name}")


class Quantiles(Lengths, frozen=True, kw_only=True, tag="quantiles"):
    """Lengths from tables of quantiles, straight between them.

    Parameters
    ----------
    prompt, output : tuple of float
        Quantiles in tokens, rising, two or more, each >= 1.
    levels : tuple of float
        Which quantiles these are, rising from 0 to 1; empty when they are equally far apart.
    correlation : float
        Between the normal scores of prompt and output (a Gaussian copula), in [-1, 1]; 0 by default.
    """

    prompt: tuple[float, ...]
    output: tuple[float, ...]
    levels: tuple[float, ...] = ()
    correlation: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("correlation", self.correlation, abs(self.correlation) <= 1, "in [-1, 1]")
        levels = self.levels
        fine = not levels or (rises(levels) and (levels[0], levels[-1]) == (0, 1))
        _require("levels", levels, fine, "rising from 0 to 1")
        for name in ("prompt", "output"):
            table = getattr(self, name)
            _require(name, table, len(table) >= 2 and rises(table) and table[0] >= 1, "rising quantiles >= 1")
            _require(name, table, not levels or len(levels) == len(table), "as many as the levels")

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        shares = normal_cdf(correlated(num, self.correlation, rng)) if self.correlation else rng.random((2, num))
        tables = zip((self.prompt, self.output), shares, strict=True)
        prompt, output = (np.interp(share, self._levels(table), table) for table, share in tables)
        return whole(prompt), whole(output)

    def _levels(self, table: tuple[float, ...]) -> Floats:
        return np.array(self.levels) if self.levels else np.linspace(0, 1, len(table))


CORPORA = {
    "dolly": 0.6, "sharegpt": 1.0, "alpaca": 0.7, "mbpp": 0.8, "apps": 1.6, "ds-1000": 0.9, "bigcodebench": 1.4,
}  # fmt: skip
"""How much longer than a model's mean outputs to the prompts of a corpus are: an assumption, in the order in which
short instructions, chats and programming contests ask for them."""


class Castillo(Lengths, frozen=True, kw_only=True, tag="castillo"):
    """Outputs of a model to prompts of a corpus: prompts differ, so do samples of one prompt, and a few never end.

    Parameters
    ----------
    mean_tokens : float
        Of the model's outputs over all corpora, without those that never end, >= 1; 350, an assumption.
    corpus : str
        ``"dolly"``, ``"sharegpt"``, ``"alpaca"``, ``"mbpp"``, ``"apps"``, ``"ds-1000"`` or ``"bigcodebench"``.
    between_sigma, within_sigma : float
        Standard deviations of the logarithms of the medians of prompts, and of samples around that of theirs, >= 0;
        0.7 and 0.25, assumptions: samples vary by 10 to 50% of their mean, all together by about 100%.
    endless_frac : float
        The share of outputs that repeat themselves up to `most_tokens`, in [0, 1]; 0.005, of published 0 to 2%.
    most_tokens : int
        Where outputs are cut off, >= 1; 15,000, as published.
    prompt_median, prompt_sigma : float
        Of the prompts, in tokens, > 0, and of their logarithm, >= 0; 150 and 0.9, assumptions.
    longest_prompt_tokens : int
        Where prompts are cut off, >= 1; 2,500, as published.

    Notes
    -----
    Source: Perez-Ramirez, Kostic, Boman, "CASTILLO: Characterizing Response Length Distributions of Large Language
    Models", 2025, arXiv 2505.16881: the structure and both cuts. The sizes are assumptions, to be replaced by those
    of one's own model.
    """

    mean_tokens: float = 350.0
    corpus: str = "sharegpt"
    between_sigma: float = 0.7
    within_sigma: float = 0.25
    endless_frac: float = 0.005
    most_tokens: int = 15_000
    prompt_median: float = 150.0
    prompt_sigma: float = 0.9
    longest_prompt_tokens: int = 2500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corpus not in CORPORA:
            raise ConfigError(str(unknown_name("lengths: corpus", self.corpus, list(CORPORA))))
        for name in ("mean_tokens", "most_tokens", "longest_prompt_tokens"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, ">= 1")
        for name in ("between_sigma", "within_sigma", "prompt_sigma"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, ">= 0")
        _require("prompt_median", self.prompt_median, self.prompt_median > 0, "> 0")
        _require("endless_frac", self.endless_frac, 0 <= self.endless_frac <= 1, "in [0, 1]")

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        prompt = self.prompt_median * np.exp(self.prompt_sigma * rng.standard_normal(num))
        between, within = self.between_sigma, self.within_sigma
        centre = np.log(self.mean_tokens * CORPORA[self.corpus]) - (between**2 + within**2) / 2
        output = np.exp(centre + between * rng.standard_normal(num) + within * rng.standard_normal(num))
        output[rng.random(num) < self.endless_frac] = self.most_tokens
        return whole(np.minimum(prompt, self.longest_prompt_tokens)), whole(np.minimum(output, self.most_tokens))


class Zipf(Lengths, frozen=True, kw_only=True, tag="zipf"):
    """Power-law lengths: mostly short ones, and a few that are very long.

    A rank is drawn from 1 to twice the mean by Zipf's law, and scaled so that the mean comes out.

    Parameters
    ----------
    prompt_mean, output_mean : int
        Mean lengths before anything is cut off, >= 1, in tokens.
    prompt_exponent, output_exponent : float
        The probability of a rank is its inverse to this power, >= 0.
    cut_tokens : int
        Longer prompts and outputs are cut off there, >= 1; 6144.

    Notes
    -----
    Source: the generator that the authors of Sun et al., "Llumnix: Dynamic Scheduling for Large Language Model
    Serving", OSDI 2024, arXiv 2406.03243, released with exponents 2.0, 1.5 and 1.15 for means of 128, 256 and 512.
    """

    prompt_mean: int
    output_mean: int
    prompt_exponent: float = 1.5
    output_exponent: float = 1.5
    cut_tokens: int = 6144

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("prompt_mean", "output_mean", "cut_tokens"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, ">= 1")
        for name in ("prompt_exponent", "output_exponent"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < np.inf, ">= 0")

    def _draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        prompt = self._one(self.prompt_mean, self.prompt_exponent, num, rng)
        return prompt, self._one(self.output_mean, self.output_exponent, num, rng)

    def _one(self, mean: int, exponent: float, num: int, rng: np.random.Generator) -> Ints:
        ranks = np.arange(1, 2 * mean)
        weights = ranks.astype(float) ** -exponent
        weights /= weights.sum()
        drawn = rng.choice(ranks, size=num, p=weights)
        return np.minimum(whole(drawn * mean / float((ranks * weights).sum())), self.cut_tokens)


class Like(Struct, frozen=True):
    """Lengths as in a table: whole rows are drawn from it, so that prompt and output stay together.

    Parameters
    ----------
    table : RequestTable
        Whose lengths; at least one request.
    """

    table: RequestTable

    def draw(self, num: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Draw the lengths of `num` requests."""
        rows = rng.integers(len(self.table), size=num)
        return self.table.prompt_tokens[rows], self.table.output_tokens[rows]


AnyLengths = Fixed | LogNormal | Quantiles | Castillo | Zipf
"""What ``lengths = { kind = ... }`` of a recipe may be."""


def correlated(num: int, correlation: float, rng: np.random.Generator) -> Floats:
    """Draw two standard normal rows with a correlation, `[2, num]`."""
    first, second = rng.standard_normal((2, num))
    return np.stack([first, correlation * first + np.sqrt(1 - correlation**2) * second])


def normal_cdf(z: Floats) -> Floats:
    """Return the standard normal distribution function, to 1e-7.

    Notes
    -----
    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, equation 7.1.26.
    """
    x = np.abs(z) / np.sqrt(2)
    t = 1 / (1 + 0.3275911 * x)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    upper = 0.5 * poly * np.exp(-(x**2))
    result: Floats = np.where(z > 0, 1 - upper, upper)
    return result


def whole(values: Floats) -> Ints:
    """Round lengths to whole tokens, 1 or more."""
    return np.maximum(np.rint(values), 1).astype(np.int64)


def rises(values: tuple[float, ...]) -> bool:
    """Say whether values never fall."""
    return all(a <= b for a, b in pairwise(values))


def _require(name: str, value: Any, fine: bool, must: str) -> None:
    if not fine:
        raise ConfigError(f"lengths: {name} must be {must}, got {value}.")
