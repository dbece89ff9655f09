"""Chips, and applications that run on them.

`top` is a published table. The others have the shapes of applications that simulators of radio and radar chips use
(transmitting, receiving, range detection, pulse Doppler); their graphs, times (in microseconds there, seconds of
virtual time here) and volumes are written from memory and rounded: they are like the originals, not equal to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from headway.core.nouns import Resource
from headway.policies.shop.soc_nouns import PE, SLOT, Application

Edge = tuple[int, int, float]

_TOP_TIMES = (
    (14, 13, 11, 13, 12, 13, 7, 5, 18, 21),
    (16, 19, 13, 8, 13, 16, 15, 11, 12, 7),
    (9, 18, 19, 17, 10, 9, 11, 14, 20, 16),
)
_TOP_EDGES = (
    (0, 1, 18), (0, 2, 12), (0, 3, 9), (0, 4, 11), (0, 5, 14), (1, 7, 19), (1, 8, 16), (2, 6, 23), (3, 7, 27),
    (3, 8, 23), (4, 8, 13), (5, 7, 15), (6, 9, 17), (7, 9, 11), (8, 9, 13),
)  # fmt: skip

SPEEDS: dict[str, dict[str, float]] = {
    "control": {"big": 8, "little": 20},
    "scramble": {"big": 12, "little": 30, "scrambler": 6},
    "interleave": {"big": 6, "little": 12},
    "modulate": {"big": 15, "little": 25},
    "pilots": {"big": 6, "little": 10},
    "fft": {"big": 118, "little": 290, "fft": 16},
    "crc": {"big": 5, "little": 9},
    "filter": {"big": 16, "little": 24},
    "decode": {"big": 740, "little": 1800, "viterbi": 80},
    "multiply": {"big": 30, "little": 70},
    "amplitude": {"big": 25, "little": 55},
    "detect": {"big": 28, "little": 50},
}
"""By kind of task, the time on each kind of element that can run it."""


class Chip(Struct, frozen=True):
    """The processing elements of a chip.

    Parameters
    ----------
    kinds : tuple of str
        Of each element.
    bandwidth : float
        Volume that goes from one to another per second, > 0.
    """

    kinds: tuple[str, ...]
    bandwidth: float = 1.0

    def pes(self) -> list[Resource]:
        """Make the elements."""
        return [Resource(id=f"P{n}", kind=PE, capacity={SLOT: 1.0}) for n, _ in enumerate(self.kinds, start=1)]


def top_chip() -> Chip:
    """Make the chip of three elements for which `top` is tabled."""
    return Chip(("1", "2", "3"))


def radio_chip() -> Chip:
    """Make a chip of ten: two large and four small cores, and elements for scrambling, transforms and decoding."""
    return Chip(("big",) * 2 + ("little",) * 4 + ("scrambler", "fft", "fft", "viterbi"), bandwidth=8.0)


def top() -> Application:
    """Make the ten tasks on three elements by which HEFT was introduced; its schedule takes 80."""
    times = tuple(tuple(float(row[task]) for row in _TOP_TIMES) for task in range(10))
    return Application("top", times, tuple((one, other, float(volume)) for one, other, volume in _TOP_EDGES))


def wifi_tx(chip: Chip, num_streams: int = 5) -> Application:
    """Make a transmitter: streams that are scrambled, interleaved, modulated and transformed, then one checksum."""
    return _streams("wifi-tx", chip, ("scramble", "interleave", "modulate", "pilots", "fft"), num_streams, "crc", 64.0)


def wifi_rx(chip: Chip, num_streams: int = 2) -> Application:
    """Make a receiver: streams that are filtered, transformed, demodulated and decoded, then one checksum."""
    steps = ("filter", "fft", "pilots", "modulate", "interleave", "decode", "scramble")
    return _streams("wifi-rx", chip, steps, num_streams, "crc", 64.0)


def range_detection(chip: Chip) -> Application:
    """Make a radar that looks for a distance: two transforms, their product, its transform back, a peak."""
    kinds = ("control", "fft", "fft", "multiply", "fft", "amplitude", "detect")
    edges = ((0, 1, 128.0), (0, 2, 128.0), (1, 3, 128.0), (2, 3, 128.0), (3, 4, 128.0), (4, 5, 128.0), (5, 6, 64.0))
    return _made("range-detection", chip, kinds, edges)


def pulse_doppler(chip: Chip, num_pulses: int = 6) -> Application:
    """Make a radar that looks for a speed: pulses that are correlated, then transformed across, then one peak."""
    steps = ("fft", "multiply", "fft", "fft", "amplitude")
    return _streams("pulse-doppler", chip, steps, num_pulses, "detect", 128.0)


def radio_applications(chip: Chip) -> tuple[Application, ...]:
    """Make one application of each kind."""
    return wifi_tx(chip), wifi_rx(chip), range_detection(chip), pulse_doppler(chip)


def _streams(name: str, chip: Chip, steps: Sequence[str], num: int, last: str, volume: float) -> Application:
    """One task that begins, `num` chains of steps beside each other, one task that ends."""
    kinds, edges = ["control"], list[Edge]()
    for _ in range(num):
        for nth, step in enumerate(steps):
            edges.append((len(kinds) - 1 if nth else 0, len(kinds), volume))
            kinds.append(step)
    edges += [(1 + nth * len(steps) + len(steps) - 1, len(kinds), volume) for nth in range(num)]
    return _made(name, chip, [*kinds, last], edges)


def _made(name: str, chip: Chip, kinds: Sequence[str], edges: Sequence[Edge]) -> Application:
    times = tuple(tuple(_time(kind, pe, place) for place, pe in enumerate(chip.kinds)) for kind in kinds)
    return Application(name, times, tuple(edges))


def _time(kind: str, pe: str, place: int) -> float | None:
    """Return the time of a kind of task; on a chip without kinds, that of a core that differs from its neighbours."""
    if pe.isdecimal():
        return round(math.sqrt(SPEEDS[kind]["big"]) * (2.0 + (place + len(kind)) % 3), 1)
    return SPEEDS[kind].get(pe)
