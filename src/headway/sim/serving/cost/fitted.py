"""Prices measured on a live engine: what `headway calibrate` writes, and a replica made of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from pathlib import Path

import msgspec
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.core.parameters import read_toml
from headway.sim.serving.cost.replica import Replica
from headway.sim.serving.price import BatchShape


class FittedPrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step takes a time that follows from how many tokens it computes, and how many it attends to.

    Parameters
    ----------
    knots : tuple of (int, float)
        Time in seconds of a step that computes so many tokens, attention apart; in between it is linear, beyond the
        last it goes on with the last slope. At least two, with rising numbers of tokens.
    decode_s : float
        More for each decode, in seconds.
    context_s : float
        More for each token in memory that a decode attends to, in seconds, >= 0.
    chunk_s : float
        More for each chunk of a prompt, in seconds.
    pair_s : float
        More for each pair of a chunk's token and a token that it attends to, in seconds, >= 0.

    Raises
    ------
    ConfigError
        When there are not enough knots, or they do not rise.
    """

    knots: tuple[tuple[int, Seconds], ...]
    decode_s: Seconds = 0.0
    context_s: Seconds = 0.0
    chunk_s: Seconds = 0.0
    pair_s: Seconds = 0.0

    def __post_init__(self) -> None:
        tokens = [knot[0] for knot in self.knots]
        if len(tokens) < 2 or sorted(set(tokens)) != tokens or min(knot[1] for knot in self.knots) <= 0:
            raise ConfigError(
                f"FittedPrice: knots must be at least two, with rising tokens and times > 0, got {self.knots}."
            )

    def step_s(self, shape: BatchShape) -> Seconds:
        """Return the time of one run, in seconds."""
        if not shape.chunks and not shape.drafted_tokens:
            base_s, per_token_s = self.decode_line(shape.num_decodes)
            return (base_s + per_token_s * shape.context_tokens) / shape.share
        tokens = float(shape.num_decodes + shape.drafted_tokens)
        chunks_s = 0.0
        for chunk in shape.chunks:
            tokens += chunk.tokens * chunk.layers_frac
            pairs = chunk.tokens * (chunk.context_tokens + 0.5 * chunk.tokens)
            chunks_s += (self.chunk_s + self.pair_s * pairs) * chunk.layers_frac
        decodes_s = self.decode_s * shape.num_decodes + self.context_s * shape.context_tokens
        return (self._tokens_s(tokens) + decodes_s + chunks_s) / shape.share

    def decode_line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return (base_s, per_token_s) of a step of decodes alone."""
        return self._tokens_s(num_decodes) + self.decode_s * num_decodes, self.context_s

    def _tokens_s(self, tokens: float) -> Seconds:
        knots = self.knots
        index = min(max(1, bisect_right(knots, (tokens,))), len(knots) - 1)
        (low, low_s), (high, high_s) = knots[index - 1], knots[index]
        return max(knots[0][1] * 0.5, low_s + (tokens - low) * (high_s - low_s) / (high - low))


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that `headway calibrate` writes.

    Parameters
    ----------
    price : FittedPrice
        What a step costs.
    model, machine, date : str
        Whose it is, where and when it was measured.
    num_layers : int
        Of the model.
    num_kv_tokens : int
        Size of the engine's KV memory in tokens.
    block_size : int
        Tokens per block of it.
    max_seqs : int
        The most requests that it ran at once; 0 where that is not known.
    engine : str
        In what, on what and with what it computed.
    versions : dict of str to str
        Of the packages that did.
    errors : dict of str to float
        How far the fit is from what was measured, on steps that it has not seen.
    overheads : dict of str to float
        Times outside of steps, in seconds, that a client sees.
    """

    price: FittedPrice
    num_layers: int
    num_kv_tokens: int
    block_size: int = 16
    max_seqs: int = 0
    model: str = ""
    engine: str = ""
    machine: str = ""
    date: str = ""
    versions: dict[str, str] = {}
    errors: dict[str, float] = {}
    overheads: dict[str, float] = {}


def read_calibration(path: str | Path) -> Calibration:
    """Read what `headway calibrate` wrote.

    Raises
    ------
    ConfigError
        When the file is not there or not such a file.
    """
    found = read_toml(path)
    try:
        return msgspec.convert(found, Calibration)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: must be a file that `headway calibrate` wrote, got: {error}.") from error


def fitted_replica(path: str | Path) -> Replica:
    """Return the replica that a calibration describes; of its power and its price nothing is known."""
    calibration = read_calibration(path)
    return Replica(
        price=calibration.price,
        power=None,
        num_layers=calibration.num_layers,
        num_stages=1,
        num_kv_tokens=calibration.num_kv_tokens,
        kv_token_bytes=0.0,
        num_accelerators=1,
        usd_per_h=math.nan,
        load_s=0.0,
        link_bytes_per_s=25e9,
        host_bytes_per_s=25e9,
        notes=(f"{calibration.model} as measured on {calibration.machine}, {calibration.date}.",),
    )
