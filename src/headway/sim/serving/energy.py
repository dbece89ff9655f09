"""How much energy a run took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from headway.core.nouns import Id, Seconds
from headway.sim.serving.price import BatchShape, Chunk

JOULES_PER_KWH = 3.6e6
TOKENS_PER_BIN = 64


class Power(Protocol):
    """What draws power: `headway.sim.serving.cost.power.PowerModel` is one."""

    @property
    def idle_watts(self) -> float:
        """While nothing runs."""

    def watts(self, shape: BatchShape) -> float:
        """While such a step runs."""


class EnergyMeter:
    """A meter that adds up time by the shape of steps, and asks for the power of each shape once, at the end.

    Steps are told apart by their number of decodes and, to 64, of prompt tokens; their contexts are averaged over time.

    Parameters
    ----------
    power : mapping of str to Power
        By instance; those without one are not counted.
    """

    def __init__(self, power: Mapping[Id, Power]) -> None:
        self._power = power
        self._spent: dict[tuple[Id, int, int], list[float]] = {}

    def spent(self, instance: Id, shape: BatchShape, took_s: Seconds) -> None:
        """Note that an instance took this long for steps of about this shape."""
        chunks = shape.chunks
        tokens = sum([chunk.tokens for chunk in chunks]) if chunks else 0
        key = (instance, shape.num_decodes, -(-tokens // TOKENS_PER_BIN))
        found = self._spent.get(key)
        if found is None:
            found = self._spent[key] = [0.0, 0.0, 0.0, 0.0]
        found[0] += took_s
        found[1] += took_s * shape.context_tokens
        if chunks:
            found[2] += took_s * tokens
            found[3] += took_s * sum([chunk.tokens * chunk.context_tokens for chunk in chunks])

    def joules(self, duration_s: Seconds) -> float:
        """Return the energy of all instances over a run of this length, idle time included."""
        total = 0.0
        busy_s = dict.fromkeys(self._power, 0.0)
        for (instance, num_decodes, _), (took_s, context, tokens, pairs) in self._spent.items():
            power = self._power.get(instance)
            if power is None or took_s <= 0:
                continue
            busy_s[instance] += took_s
            chunks = (Chunk(max(1, round(tokens / took_s)), round(pairs / tokens)),) if tokens else ()
            total += took_s * power.watts(BatchShape(num_decodes, round(context / took_s), chunks))
        idle = (power.idle_watts * max(0.0, duration_s - busy_s[name]) for name, power in self._power.items())
        return total + sum(idle)
