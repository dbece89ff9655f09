"""Which instances of a virtual world are in use: they start, fail, drain and leave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from headway.core.actions import Set
from headway.core.events import Changed, Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.pools import PoolState
from headway.policies.serving.state import InstanceState
from headway.sim.serving.agenda import NEWS, Agenda, Entry
from headway.sim.serving.outages import Outage

KNOB = "num_instances"
"""What `Set` turns, of a pool."""


class Fleet:
    """Brings instances into use and out of it, as somebody asks and as they fail.

    Of those that are too many, those that are not up yet are called off; then those with the fewest requests drain, the
    youngest first. One that drains takes no requests, finishes those it has, and leaves; when more are wanted before,
    it goes on at once. Any other has to start.

    Parameters
    ----------
    board : ServingBoard
        With the instances that are up from the beginning.
    spares : sequence of InstanceState
        Those that are not.
    agenda : Agenda
        Where starts and repairs are noted.
    taken_away : callable of str
        Called with an instance that has been taken away, to end what runs on it.
    startup_s : mapping of str to float
        From asked for to serving, in seconds, >= 0, by pool; 0 where it is missing.

    Attributes
    ----------
    num_later : int
        Entries of the agenda that nobody waits for: failures, repairs and starts.
    """

    def __init__(
        self,
        board: ServingBoard,
        spares: Sequence[InstanceState],
        agenda: Agenda,
        taken_away: Callable[[Id], None],
        startup_s: Mapping[str, Seconds] | None = None,
    ) -> None:
        self.num_later = 0
        self._board = board
        self._agenda = agenda
        self._taken_away = taken_away
        self._startup_s = startup_s or {}
        self._all = {instance.id: instance for instance in [*board.instances.values(), *spares]}
        self._off = {instance.id: -float("inf") for instance in spares}  # since when
        self._coming: dict[Id, Entry] = {}
        self._draining: dict[Id, InstanceState] = {}
        self._offs: dict[Id, list[tuple[Seconds, Seconds]]] = defaultdict(list)
        self._names: dict[str, list[Id]] = defaultdict(list)
        for instance in self._all.values():
            self._names[instance.pool].append(instance.id)
        self._pools = {pool: PoolState(most=len(names)) for pool, names in self._names.items()}
        board.pools = self._pools
        for pool in self._pools:
            self._count(pool)

    def on_s(self, instance: Id, duration_s: Seconds) -> Seconds:
        """Return how much of the last `duration_s` an instance was in use, from the beginning of its start on."""
        now_s = self._board.now_s
        since_s = now_s - duration_s
        offs = [*self._offs[instance], (self._off[instance], now_s)] if instance in self._off else self._offs[instance]
        return max(0.0, duration_s - sum(max(0.0, end_s - max(begin_s, since_s)) for begin_s, end_s in offs))

    # What is asked ---------------------------------------------------------------------------------------------------

    def set(self, action: Set) -> str | None:
        """Have as many instances of a pool in use as asked for; returns why not."""
        if action.knob != KNOB:
            return f"there is no knob {action.knob!r}, only {KNOB!r} of a pool"
        pool = self._pools.get(action.of)
        if pool is None:
            return f"there is no pool {action.of!r}"
        if not float(action.value).is_integer() or not 0 <= action.value <= pool.most:
            return f"{KNOB} must be a whole number from 0 to {pool.most}, {action.value:g} asked for"
        more = int(action.value) - pool.num_wanted
        if more > 0:
            self._grow(action.of, more)
        elif more < 0:
            self._shrink(action.of, -more)
        self._count(action.of)
        return None

    def _grow(self, pool: str, num: int) -> None:
        back = [instance for instance in reversed(self._draining.values()) if instance.pool == pool][:num]
        for instance in back:
            del self._draining[instance.id]
            instance.draining = False
            self._agenda.add(self._board.now_s, NEWS, partial(self._tell, instance.id))
        off = [name for name in self._names[pool] if name in self._off]
        for name in off[: num - len(back)]:
            self._offs[name].append((self._off.pop(name), self._board.now_s))
            self._expect(name, self._board.now_s + self._startup_s.get(pool, 0.0))

    def _shrink(self, pool: str, num: int) -> None:
        coming = [name for name in reversed(self._coming) if self._all[name].pool == pool][:num]
        for name in coming:
            self._agenda.call_off(self._coming.pop(name))
            self.num_later -= 1
            self._off[name] = self._board.now_s
        up = [i for i in reversed(list(self._board.instances.values())) if i.pool == pool and not i.draining]
        for instance in sorted(up, key=_num_requests)[: num - len(coming)]:
            instance.draining = True
            self._draining[instance.id] = instance
        self.look()

    # What happens ----------------------------------------------------------------------------------------------------

    def expect_failures(self, outages: Iterable[Outage]) -> None:
        """Note failures to come."""
        for outage in outages:
            self.num_later += 1
            self._agenda.add(outage.at_s, NEWS, partial(self._break_down, outage))

    def look(self) -> None:
        """Let instances that drain and are empty leave, as soon as everything has happened that happens now."""
        for instance in self._draining.values():
            if not instance.num_requests and not instance.guests:
                self._agenda.add(self._board.now_s, NEWS, partial(self._leave, instance))

    def _leave(self, instance: InstanceState) -> Iterator[Event]:
        if instance.id not in self._draining or instance.num_requests or instance.guests:
            return  # it is wanted again, or somebody has come from another instance
        yield self._take_away(instance)

    def _take_away(self, instance: InstanceState) -> Event:
        resource = self._board.fail(instance.id)
        self._taken_away(instance.id)
        if self._draining.pop(instance.id, None) is not None:
            instance.draining = False
            self._off[instance.id] = self._board.now_s
        self._count(instance.pool)
        return Changed(at_s=self._board.now_s, resource=resource, up=False)

    def _break_down(self, outage: Outage) -> Iterator[Event]:
        self.num_later -= 1
        instance = self._board.instances.get(outage.instance)
        if instance is None:  # it is away already
            return
        if not instance.draining:
            self._expect(instance.id, self._board.now_s + outage.lasts_s)
        yield self._take_away(instance)

    def _expect(self, name: Id, at_s: Seconds) -> None:
        self.num_later += 1
        self._coming[name] = self._agenda.add(at_s, NEWS, partial(self._come_up, name))

    def _come_up(self, name: Id) -> Iterator[Event]:
        self.num_later -= 1
        del self._coming[name]
        instance = self._all[name]
        resource = self._board.recover(instance)
        self._count(instance.pool)
        yield Changed(at_s=self._board.now_s, resource=resource, up=True)

    def _tell(self, name: Id) -> Iterator[Event]:
        """Tell that an instance takes requests again."""
        resource = self._board.resources.get(name)
        if resource is not None:
            yield Changed(at_s=self._board.now_s, resource=resource, up=True)

    def _count(self, pool: str) -> None:
        names, counts = self._names[pool], self._pools[pool]
        counts.num_draining = sum(name in self._draining for name in names)
        counts.num_starting = sum(name in self._coming for name in names)
        counts.num_up = sum(name in self._board.instances for name in names) - counts.num_draining


def _num_requests(instance: InstanceState) -> int:
    return instance.num_requests
