"""The books of the LoRA adapters that an instance has at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from headway.core.errors import ConfigError
from headway.core.nouns import Id


class Adapters:
    """Which adapters are in an instance's memory, and which are on their way there.

    The one that was used least recently makes room for another, unless a running request uses it.

    Parameters
    ----------
    room : int
        The most at once, those on their way included, >= 1.

    Raises
    ------
    ConfigError
        When there is no room at all.

    Attributes
    ----------
    loading : dict of str to None
        Those on their way.
    num_loads : int
        How many a request had to be loaded for when it started.
    """

    def __init__(self, room: int) -> None:
        if room < 1:
            raise ConfigError(f"adapters: room must be >= 1, got {room}. Mend max_adapters in [[fleet]].")
        self.room = room
        self.num_loads = 0
        self.loading: dict[Id, None] = {}
        self._here: OrderedDict[Id, None] = OrderedDict()

    @property
    def here(self) -> Collection[Id]:
        """Those at hand, the least recently used first."""
        return self._here.keys()

    def __contains__(self, adapter: Id) -> bool:
        """Whether an adapter is at hand or on its way."""
        return adapter in self._here or adapter in self.loading

    def __len__(self) -> int:
        return len(self._here) + len(self.loading)

    def begin(self, adapter: Id, in_use: Collection[Id]) -> str | None:
        """Let an adapter be on its way; returns why not."""
        if adapter in self:
            return "it is there already, or on its way"
        if not self._make_room(in_use):
            return f"all {self.room} places for adapters are in use"
        self.loading[adapter] = None
        return None

    def end(self, adapter: Id) -> None:
        """Note that an adapter has arrived."""
        del self.loading[adapter]
        self._here[adapter] = None

    def why_not(self, adapter: Id, in_use: Collection[Id]) -> str | None:
        """Return why no request can start that uses an adapter; None when it can."""
        if adapter in self.loading:
            return "its adapter is on its way"
        room = adapter in self._here or len(self) < self.room or any(other not in in_use for other in self._here)
        return None if room else f"all {self.room} places for adapters are in use"

    def use(self, adapter: Id, in_use: Collection[Id]) -> None:
        """Let a request that starts use an adapter, which is loaded if need be."""
        if adapter not in self._here:
            self._make_room(in_use)
            self.num_loads += 1
            self._here[adapter] = None
        self._here.move_to_end(adapter)

    def forget(self) -> None:
        """Lose all."""
        self._here.clear()
        self.loading.clear()

    def _make_room(self, in_use: Collection[Id]) -> bool:
        if len(self) < self.room:
            return True
        idle = next((adapter for adapter in self._here if adapter not in in_use), None)
        if idle is not None:
            del self._here[idle]
        return idle is not None
