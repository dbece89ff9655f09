"""Quantum networks to try schedulers on, and demands of their users."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from msgspec import Struct

from headway.core.errors import unknown_name
from headway.core.nouns import Id, Resource
from headway.policies.shop.quantum_nouns import COMMUNICATION, NODE, STORAGE, Demand, Fibre

SURFNET: tuple[tuple[Id, Id, float], ...] = (
    ("Leeuwarden", "Groningen", 55), ("Groningen", "Zwolle", 95), ("Zwolle", "Enschede", 65), ("Zwolle", "Utrecht", 85),
    ("Enschede", "Arnhem", 70), ("Arnhem", "Utrecht", 60), ("Arnhem", "Nijmegen", 20), ("Nijmegen", "Eindhoven", 60),
    ("Eindhoven", "Maastricht", 75), ("Eindhoven", "Tilburg", 33), ("Tilburg", "Breda", 25), ("Breda", "Rotterdam", 45),
    ("Rotterdam", "Delft", 14), ("Delft", "Den Haag", 11), ("Den Haag", "Leiden", 18), ("Leiden", "Amsterdam", 38),
    ("Amsterdam", "Utrecht", 40), ("Amsterdam", "Leeuwarden", 115), ("Utrecht", "Rotterdam", 55),
)  # fmt: skip
"""Cities of the Dutch research network and about how many km of fibre lie between them: an approximation from memory,
scaled by `surfnet`, not the operator's map."""


class Network(Struct, frozen=True):
    """Nodes, the fibres between them, and those nodes that have users."""

    name: str
    fibres: tuple[Fibre, ...]
    users: tuple[Id, ...]

    def nodes(self, num_storage: int = 3) -> list[Resource]:
        """Make the nodes, each with one qubit for communication."""
        names = dict.fromkeys(name for fibre in self.fibres for name in (fibre.one, fibre.other))
        capacity = {COMMUNICATION: 1.0, STORAGE: float(num_storage)}
        return [Resource(id=name, kind=NODE, capacity=capacity) for name in names]


def line(num_nodes: int = 6, km: float = 5.0) -> Network:
    """Make nodes in a row, all with users."""
    names = tuple(f"n{place}" for place in range(num_nodes))
    return Network("line", tuple(Fibre(one, other, km) for one, other in pairwise(names)), names)


def star(num_users: int = 6, km: float = 5.0) -> Network:
    """Make users around one repeater, through which everything goes."""
    users = tuple(f"u{place}" for place in range(num_users))
    return Network("star", tuple(Fibre("hub", user, km) for user in users), users)


def h_shape(km: float = 5.0) -> Network:
    """Make two pairs of users on either side of a bar of two repeaters."""
    fibres = tuple(
        Fibre(*ends, km) for ends in (("a", "left"), ("b", "left"), ("left", "right"), ("right", "c"), ("right", "d"))
    )
    return Network("h", fibres, ("a", "b", "c", "d"))


def symmetric(num_repeaters: int = 4, km: float = 5.0) -> Network:
    """Make a ring of repeaters, each with a user of its own."""
    ring = [Fibre(f"r{place}", f"r{(place + 1) % num_repeaters}", km) for place in range(num_repeaters)]
    users = tuple(f"u{place}" for place in range(num_repeaters))
    return Network("symmetric", (*ring, *(Fibre(f"r{place}", user, km) for place, user in enumerate(users))), users)


def surfnet(scale: float = 0.2) -> Network:
    """Make a network with the shape of the Dutch research network, its lengths scaled down to what repeaters reach."""
    fibres = tuple(Fibre(one, other, km * scale) for one, other, km in SURFNET)
    return Network("surfnet", fibres, tuple(dict.fromkeys(city for one, other, _ in SURFNET for city in (one, other))))


def apart(num_paths: int, km: float = 5.0) -> Network:
    """Make pairs of users with a repeater between each, and nothing between the pairs."""
    fibres = [Fibre(f"{end}{path}", f"r{path}", km) for path in range(num_paths) for end in "ab"]
    return Network(
        f"apart-{num_paths}", tuple(fibres), tuple(f"{end}{path}" for path in range(num_paths) for end in "ab")
    )


NETWORKS: dict[str, Callable[[], Network]] = {
    "star": star, "h": h_shape, "symmetric": symmetric, "line": line, "surfnet": surfnet,
}  # fmt: skip
"""By name."""


def network(name: str) -> Network:
    """Make a network by its name.

    Raises
    ------
    UnknownName
        When there is none of this name.
    """
    if name not in NETWORKS:
        raise unknown_name("quantum network", name, NETWORKS)
    return NETWORKS[name]()


def demands(
    between: Sequence[tuple[Id, Id]], rng: np.random.Generator, fidelity: float, rates_per_s: Sequence[float], num: int
) -> Iterator[Demand]:
    """Draw demands that are all there at once: users and rates at random.

    Parameters
    ----------
    between : sequence of (str, str)
        Pairs of users, each as likely as any other.
    rng : Generator
        For the draws.
    fidelity : float
        That all of them want.
    rates_per_s : sequence of float
        Of which each wants one.
    num : int
        How many demands, >= 0.
    """
    for number in range(num):
        source, target = between[int(rng.integers(len(between)))]
        rate = float(rng.choice(list(rates_per_s)))
        yield Demand(
            id=f"demand-{number}",
            kind="demand",
            arrival_s=0.0,
            source=source,
            target=target,
            fidelity=fidelity,
            rate_per_s=rate,
        )


def all_pairs(users: Sequence[Id]) -> list[tuple[Id, Id]]:
    """Return every two users."""
    return [(one, other) for place, one in enumerate(users) for other in users[place + 1 :]]
