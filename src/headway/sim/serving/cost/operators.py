"""Times of single operators: a roofline each, bent by a few fitted numbers.

Every operator takes the longer of its arithmetic and its memory traffic. Real kernels reach a share of either peak
(`compute_frac`, `memory_frac`), start late (`fixed_s`), and where both matter take longer than the longer of both: they
join as ``(a ** power + b ** power) ** (1 / power)``.
"""

from __future__ import annotations

import math

from msgspec import Struct

from headway.core.nouns import Seconds
from headway.sim.serving.cost.hardware import FLOAT_BYTES, Accelerator

TILE = 128
"""Rows and columns of a product that one core computes at a time."""


class GemmFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well products of matrices run.

    Parameters
    ----------
    compute_frac, memory_frac : float
        Of the peaks, > 0.
    fixed_s : float
        Before anything moves, in seconds, >= 0.
    power : float
        How the two join, > 0: 1 adds them, infinity takes the longer.
    pad_frac : float
        How much of the rows that a tile has too many costs time, in [0, 1]: arithmetic grows as
        ``(padded / rows) ** pad_frac``.
    wave_frac : float
        How much of the cores idle in the last wave of tiles cost time, in [0, `pad_frac`].
    convert_frac : float
        Of the peak bandwidth, at which 16-bit inputs are converted to the type of the arithmetic, reading two bytes and
        writing one; 0 where they need no conversion, or where it rides along with the operator before.
    """

    compute_frac: float = 0.8
    memory_frac: float = 0.8
    fixed_s: Seconds = 4e-6
    power: float = 2.0
    pad_frac: float = 0.5
    wave_frac: float = 0.3
    convert_frac: float = 0.0

    def time_s(
        self, rows: int, outputs: int, inputs: int, on: Accelerator, dtype: str = "bf16", share: float = 1.0
    ) -> Seconds:
        """Return the time of ``[rows, inputs] @ [inputs, outputs]`` with weights of a type, at a share of compute."""
        arithmetic = on.arithmetic(dtype)
        padded = -(-rows // TILE) * TILE
        tiles = padded // TILE * -(-outputs // TILE)
        waste = (padded / rows) ** self.pad_frac * (-(-tiles // on.num_cores) * on.num_cores / tiles) ** self.wave_frac
        compute_s = 2.0 * rows * outputs * inputs * waste / (on.flops(arithmetic) * self.compute_frac * share)
        moved = outputs * inputs * FLOAT_BYTES[dtype] + rows * inputs * FLOAT_BYTES[arithmetic] + 2.0 * rows * outputs
        convert_s = on.read_s(3.0 * rows * inputs) / self.convert_frac if self.convert_frac else 0.0
        return self.fixed_s + convert_s + _join(compute_s, on.read_s(moved) / self.memory_frac, self.power)


class ExpertFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well the products of a mixture of experts run, fused into one operator.

    Parameters
    ----------
    compute_frac, memory_frac, fixed_s, power
        As of `GemmFit`.
    skew : float
        Of the routing, see `Coverage`.
    """

    compute_frac: float = 0.5
    memory_frac: float = 0.7
    fixed_s: Seconds = 2e-5
    power: float = 2.0
    skew: float = 0.5

    def time_s(
        self,
        visits: float,
        distinct: float,
        parameters: float,
        on: Accelerator,
        dtype: str = "bf16",
        share: float = 1.0,
    ) -> Seconds:
        """Return the time of `visits` rows over `distinct` experts of so many parameters (on this accelerator) each."""
        compute_s = 2.0 * visits * parameters / (on.flops(on.arithmetic(dtype)) * self.compute_frac * share)
        memory_s = on.read_s(distinct * parameters * FLOAT_BYTES[dtype]) / self.memory_frac
        return self.fixed_s + _join(compute_s, memory_s, self.power)


class PrefillFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well attention of prompts runs: arithmetic and traffic of queries, keys, values and outputs add up."""

    compute_frac: float = 0.6
    memory_frac: float = 0.4
    fixed_s: Seconds = 1.1e-5


class DecodeFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well attention of decodes runs. It reads KV memory, so its time is affine in the context.

    Parameters
    ----------
    memory_frac, fixed_s
        As of `GemmFit`.
    head_s : float
        Per request and head, in seconds, >= 0.
    occupancy : float
        With w = requests x KV heads pieces of work, each byte takes ``1 + occupancy / w`` times as long, >= 0.
    compute_frac : float
        Of the peak, for latent attention, whose arithmetic can outlast its reads.
    """

    memory_frac: float = 0.8
    fixed_s: Seconds = 1.1e-5
    head_s: Seconds = 4e-9
    occupancy: float = 2.0
    compute_frac: float = 0.5


class ElementwiseFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well norms, rotations, activations and copies run: together per layer."""

    memory_frac: float = 0.6
    fixed_s: Seconds = 1.2e-5


class ReduceFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long accelerators of one node take to sum a tensor: a fixed time, more of it with more of them, and bytes.

    Parameters
    ----------
    fixed_s, peer_s : float
        Once, and per accelerator, in seconds, >= 0.
    link_frac : float
        Of the link's bandwidth, > 0.
    power : float
        How both join; below 1 they hinder each other.
    """

    fixed_s: Seconds = 3e-6
    peer_s: Seconds = 1.6e-6
    link_frac: float = 0.6
    power: float = 0.8

    def time_s(self, num_bytes: float, num_accelerators: int, on: Accelerator) -> Seconds:
        """Return the time of one all-reduce; 0 of one accelerator."""
        if num_accelerators == 1 or num_bytes <= 0:
            return 0.0
        moved = 2.0 * (num_accelerators - 1) / num_accelerators * num_bytes
        start_s = self.fixed_s + self.peer_s * num_accelerators
        return _join(start_s, moved / (on.link_bytes_per_s * self.link_frac), self.power)


class SendFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a tensor takes from one accelerator to another of its node."""

    fixed_s: Seconds = 8e-6
    link_frac: float = 0.6

    def time_s(self, num_bytes: float, on: Accelerator) -> Seconds:
        """Return the time of one transfer."""
        return self.fixed_s + num_bytes / (on.link_bytes_per_s * self.link_frac)


def _join(first: float, second: float, power: float) -> float:
    """Return ``(first ** power + second ** power) ** (1 / power)``, safe at the ends."""
    high, low = (first, second) if first >= second else (second, first)
    if low <= 0 or math.isinf(power):
        return high
    return high * float((1 + (low / high) ** power) ** (1 / power))
