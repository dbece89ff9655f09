"""What steps cost at a lower clock."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.nouns import Seconds
from headway.sim.serving.price import BatchShape, StepPrice

DECODE_EXPONENT = 0.25
"""Decodes wait for memory, whose clock stays: they take 1 / f^0.25 times as long. ASSUMPTION."""
POWER_EXPONENT = 2.2
"""Power above idle goes with f^2.2, for the voltage falls with the clock. ASSUMPTION."""


class ClockedPrice:
    """The price of steps of an instance whose clock can be changed.

    What its decodes alone would take grows by ``1 / f^0.25``, the rest of a step (prompts, which are arithmetic) by
    ``1 / f``. At the highest clock it is the price itself.

    Parameters
    ----------
    price : StepPrice
        At the highest clock.

    Attributes
    ----------
    frac : float
        The clock as a share of the highest, in (0, 1].

    Examples
    --------
    >>> from headway.sim.serving.price import Chunk, LinearPrice
    >>> price = ClockedPrice(LinearPrice(fixed_s=0.01, prefill_token_s=1e-4, context_token_s=0.0))
    >>> price.frac = 0.5
    >>> round(price.step_s(BatchShape(0, 0, (Chunk(100, 0),))), 9)
    0.04
    """

    def __init__(self, price: StepPrice) -> None:
        self.price = price
        self.frac = 1.0

    @property
    def dynamic_frac(self) -> float:
        """How much of the power above idle is drawn at this clock."""
        return float(self.frac**POWER_EXPONENT)

    def step_s(self, shape: BatchShape) -> Seconds:
        """Return the time of one run, in seconds."""
        whole_s = self.price.step_s(shape)
        if self.frac == 1.0:
            return whole_s
        decodes_s = 0.0
        if shape.num_decodes:
            is_bare = not shape.chunks and not shape.drafted_tokens
            decodes_s = whole_s if is_bare else self.price.step_s(replace(shape, chunks=(), drafted_tokens=0))
        return float(decodes_s / self.frac**DECODE_EXPONENT + max(0.0, whole_s - decodes_s) / self.frac)

    def decode_line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return (base_s, per_token_s) of a step of decodes alone."""
        base_s, per_token_s = self.price.decode_line(num_decodes)
        slower = self.frac**-DECODE_EXPONENT
        return base_s * slower, per_token_s * slower

    def reads_frac(self, shape: BatchShape) -> float:
        """Return the share of the memory bandwidth that a step reads, where the price knows it; else 0."""
        reads = getattr(self.price, "reads_frac", None)
        return float(reads(shape)) if reads is not None else 0.0
