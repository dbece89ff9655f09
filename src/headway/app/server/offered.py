"""Models that are offered beside those that the server was started with: they come and go while it runs."""

from __future__ import annotations

from msgspec import Struct


class Offer(Struct, frozen=True):
    """One such model.

    Parameters
    ----------
    name : str
        What clients call it.
    adapter : str
        The LoRA adapter behind it, by the engine's name.
    created : int
        When it was made, in seconds of the Unix epoch.
    """

    name: str
    adapter: str
    created: int


class Offers:
    """The models on offer, by name, and the adapters that were and are no longer."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self._hidden: set[str] = set()

    def add(self, offer: Offer) -> None:
        """Offer a model whose adapter the engine has, or has whenever it is ready."""
        self._offers[offer.name] = offer
        self._hidden.add(offer.adapter)

    def remove(self, name: str) -> None:
        """Offer a model no longer; those who are being answered by it are not disturbed."""
        self._offers.pop(name, None)

    def find(self, name: str) -> Offer | None:
        """The model of this name."""
        return self._offers.get(name)

    @property
    def names(self) -> list[str]:
        """The names of all, in the order in which they came."""
        return list(self._offers)

    def hides(self, adapter: str) -> bool:
        """Whether an adapter of the engine is only reached by the name of an offer, or not at all any more."""
        return adapter in self._hidden

    def shown(self, adapters: tuple[str, ...]) -> tuple[str, ...]:
        """What clients call the adapters that the engine has."""
        plain = [name for name in adapters if not self.hides(name)]
        return (*plain, *(offer.name for offer in self._offers.values()))
