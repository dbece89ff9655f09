"""How much energy a run took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    def utilisation(self, shape: BatchShape) -> tuple[float, float]:
        """Shares of the peaks of arithmetic and of memory bandwidth that such a step makes use of."""


class EnergyMeter:
    """A meter that adds up time by the shape of steps, and asks for the power of each shape once, at the end.

    Steps are told apart by their number of decodes, of prompt tokens (to 64) and of layers that these pass through (to
    a thousandth); their contexts are averaged over time.

    Parameters
    ----------
    power : mapping of str to Power
        By instance; those without one are not counted.
    """

    def __init__(self, power: Mapping[Id, Power]) -> None:
        self._power = power
        self._spent: dict[tuple[Id, int, int, int], list[float]] = {}

    def spent(self, instance: Id, shape: BatchShape, took_s: Seconds) -> None:
        """Note that an instance took this long for steps of about this shape."""
        chunks = shape.chunks
        tokens, pairs, layers_frac = shape.drafted_tokens, 0, 0.0 if chunks else 1.0
        for chunk in chunks:
            tokens += chunk.tokens
            pairs += chunk.tokens * chunk.context_tokens
            if chunk.layers_frac > layers_frac:
                layers_frac = chunk.layers_frac
        layers = 1000 if layers_frac == 1 else round(1000 * layers_frac)
        key = (instance, shape.num_decodes, -(-tokens // TOKENS_PER_BIN), layers)
        found = self._spent.get(key)
        if found is None:
            found = self._spent[key] = [0.0, 0.0, 0.0, 0.0]
        found[0] += took_s
        found[1] += took_s * shape.context_tokens
        if tokens:
            found[2] += took_s * tokens
            found[3] += took_s * pairs

    def joules(self, on_s: Mapping[Id, Seconds]) -> float:
        """Return the energy of all instances, each of which was in use for so long; idle time is included."""
        total, busy_s = 0.0, dict.fromkeys(self._power, 0.0)
        for instance, shape, took_s in self._shapes():
            busy_s[instance] += took_s
            total += took_s * self._power[instance].watts(shape)
        idle = (power.idle_watts * max(0.0, on_s[name] - busy_s[name]) for name, power in self._power.items())
        return total + sum(idle)

    def used(self, on_s: Mapping[Id, Seconds]) -> tuple[float, float]:
        """Return the shares of peak arithmetic and memory bandwidth that were made use of while they were in use."""
        arithmetic = bandwidth = 0.0
        for instance, shape, took_s in self._shapes():
            of_arithmetic, of_bandwidth = self._power[instance].utilisation(shape)
            arithmetic += took_s * of_arithmetic
            bandwidth += took_s * of_bandwidth
        whole_s = sum(on_s[name] for name in self._power)
        return (arithmetic / whole_s, bandwidth / whole_s) if whole_s > 0 else (0.0, 0.0)

    def _shapes(self) -> Iterator[tuple[Id, BatchShape, Seconds]]:
        """Yield every kind of step with the time spent on it, as the mean of its like."""
        for (instance, num_decodes, _, layers), (took_s, context, tokens, pairs) in self._spent.items():
            if instance in self._power and took_s > 0:
                chunks: tuple[Chunk, ...] = ()
                if tokens:
                    chunks = (Chunk(max(1, round(tokens / took_s)), round(pairs / tokens), max(1, layers) / 1000),)
                yield instance, BatchShape(num_decodes, round(context / took_s), chunks), took_s
