"""LoRA adapters come to instances in virtual time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from headway.core.actions import Move
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import AdapterLoaded
from headway.policies.serving.state import InstanceState
from headway.sim.serving.agenda import NEWS, Agenda, Entry


class Loading:
    """Brings adapters to instances, in the background of what these compute.

    A request whose adapter is neither at hand nor on its way when it starts has it loaded there and then: the next step
    of its instance waits for that.

    Parameters
    ----------
    board : ServingBoard
        With the instances.
    agenda : Agenda
        Where arrivals of adapters are noted.
    load_s : mapping of str to float
        How long loading one takes, in seconds, >= 0, by pool; 0 where it is missing.

    Attributes
    ----------
    known : set of str
        The adapters that anybody has asked for.
    """

    def __init__(self, board: ServingBoard, agenda: Agenda, load_s: Mapping[str, Seconds] | None = None) -> None:
        self.known: set[Id] = set()
        self._board = board
        self._agenda = agenda
        self._load_s = load_s or {}
        self._under_way: dict[tuple[Id, Id], Entry] = {}
        self._num_seen: dict[Id, int] = {}

    def begin(self, action: Move) -> str | None:
        """Let an adapter be on its way to an instance; returns why not."""
        instance = self._board.instances.get(action.to)
        if instance is None or instance.adapters is None:
            return f"there is no instance {action.to!r}" if instance is None else "all adapters are at hand there"
        why = instance.adapters.begin(action.what, instance.adapters_in_use)
        if why is None:
            took_s = self.load_s(instance.pool)
            end = partial(self._end, action.what, action.to, took_s)
            self._under_way[action.what, action.to] = self._agenda.add(self._board.now_s + took_s, NEWS, end)
        return why

    def owed_s(self, instance: InstanceState) -> Seconds:
        """Return how long an instance has to wait for adapters that requests needed when they started."""
        if instance.adapters is None:
            return 0.0
        num = instance.adapters.num_loads - self._num_seen.get(instance.id, 0)
        self._num_seen[instance.id] = instance.adapters.num_loads
        return num * self.load_s(instance.pool)

    def load_s(self, pool: str) -> Seconds:
        """How long loading an adapter takes."""
        return self._load_s.get(pool, 0.0)

    def call_off(self, instance: Id) -> None:
        """Note that an instance is gone, and with it what was on its way there."""
        for adapter, to in [key for key in self._under_way if key[1] == instance]:
            self._agenda.call_off(self._under_way.pop((adapter, to)))

    def _end(self, adapter: Id, to: Id, took_s: Seconds) -> Iterator[Event]:
        del self._under_way[adapter, to]
        adapters = self._board.instances[to].adapters
        assert adapters is not None
        adapters.end(adapter)
        yield AdapterLoaded(at_s=self._board.now_s, id=adapter, instance=to, took_s=took_s)
