"""Serving in virtual time: a world that runs steps at a price and alone knows how long outputs are.

Simulated are time (each run of a step takes what a `StepPrice` says), the requests (when they arrive, after how many
tokens they stop, what their blocks hash to), transfers and failures. Everything else, which is what an action does to
queues, memory and prefixes, is the same `ServingBoard` that a live engine keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from headway.core.actions import Action, Move, Preempt, Reject, Set, Start, Wake
from headway.core.events import Event, Failed, Woke
from headway.core.nouns import Id, Seconds
from headway.core.slo import SloClass
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.jobs import TUNE_BLOCKS
from headway.policies.serving.kv_pool import KvPool
from headway.policies.serving.lanes import NUM_LANES
from headway.policies.serving.nouns import Copy, Lend, Pin, RequestArrived, Step, Uncopy, Unpin
from headway.policies.serving.power_news import FREQUENCY
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.afar import Afar
from headway.sim.serving.agenda import NEWS, WAKE, Agenda
from headway.sim.serving.copying import Copying
from headway.sim.serving.fleet import Fleet
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.lending import Moving
from headway.sim.serving.links import Links
from headway.sim.serving.loading import Loading
from headway.sim.serving.machine import Machine, Meter
from headway.sim.serving.machines import Machines
from headway.sim.serving.outages import Outage
from headway.sim.serving.price import LinearPrice, StepPrice
from headway.sim.serving.row_power import RowPower
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.truth import Given, Source, TrueRequest
from headway.sim.serving.tuning import Tuning

ABILITIES = frozenset(
    {"repeat", "layer_ranges", "share", "migrate", "copy", "swap", "lend", "scale", "lanes", "tune", "fuse"}
)
"""What this world can do beyond plain steps."""
MAX_IDLE_WAKES = 10_000
"""After so many wake-ups in a row between which nothing else happened, the world takes it that nothing ever will."""


class ServingWorld:
    """Requests, instances and a price list, played in virtual time.

    What happens at one instant happens in this order: arrivals, failures and transfers, ends of steps, wake-ups;
    within each, in the order in which it was asked for. The world ends when no request is left and none is to come,
    whoever still wants to be woken or is still to come back. After a `Reject` comes a `Failed`. A repeated step is cut
    when a request comes to wait at its instance.

    Parameters
    ----------
    requests : sequence of TrueRequest, or Source
        What arrives, with the hidden truth; a sequence may be in any order.
    instances : sequence of InstanceState
        The replicas that serve; they are changed.
    price : StepPrice, mapping of str to StepPrice, or None
        What a step costs, on all instances or by instance; `LinearPrice` with its defaults by default.
    gaps : TokenGaps or None
        Told of every token that a request is given.
    meter : Meter or None
        Told of everything that instances compute.
    links : Links or None
        How fast memory moves between instances and to the host; at once by default.
    outages : sequence of Outage
        When instances fail, and for how long.
    spares : sequence of InstanceState
        Instances that are not up; ``Set("num_instances", n, of=pool)`` brings them up, and others down.
    startup_s : mapping of str to float
        How long an instance of a pool takes to come up, in seconds, >= 0; 0 by default.
    can : frozenset of str
        What the world is able to do, of `ABILITIES`.
    adapter_load_s : mapping of str to float
        How long a LoRA adapter takes to come to an instance of a pool, in seconds, >= 0; 0 by default. It matters where
        instances have `adapters`: ``Move(adapter, instance)`` then brings one there.
    kv_pool : KvPool or None
        Where instances find blocks that others have computed.
    speculation : Speculation or None
        The draft model; with one, the world can ``"speculate"`` as well.
    promises : sequence of SloClass
        What the requests of each class are promised.
    power : RowPower or None
        How much power there is for all instances; with one, the world can do ``"power"`` as well: it tells of
        `PowerRead` and takes ``Set("frequency_frac", f, of=instance)``. It is the meter then, and tells its own.
    tuning : Tuning or None
        Fine-tuning jobs that arrive. They do not keep the world going, unless it says so.

    Attributes
    ----------
    num_ended, num_unsent : int
        Requests that have ended, and those never sent because the one they were to follow was turned away.
    """

    def __init__(
        self,
        requests: Sequence[TrueRequest] | Source,
        instances: Sequence[InstanceState],
        price: StepPrice | Mapping[Id, StepPrice] | None = None,
        *,
        gaps: TokenGaps | None = None,
        meter: Meter | None = None,
        links: Links | None = None,
        outages: Sequence[Outage] = (),
        spares: Sequence[InstanceState] = (),
        startup_s: Mapping[str, Seconds] | None = None,
        adapter_load_s: Mapping[str, Seconds] | None = None,
        kv_pool: KvPool | None = None,
        can: frozenset[str] = ABILITIES,
        speculation: Speculation | None = None,
        promises: Sequence[SloClass] = (),
        power: RowPower | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        can |= {"speculate"} if speculation is not None else set()
        self.view = ServingBoard(instances, can | {"power"} if power is not None else can, promises)
        self.num_ended = 0
        self.num_unsent = 0
        self._source: Source = Given(requests) if isinstance(requests, Sequence) else requests
        self._arrivals = iter(self._source)
        self._next = next(self._arrivals, None)
        self._links = links or Links()
        self._agenda = Agenda()
        self._copying = Copying(self.view, self._links, self._agenda, self._cut)
        self._truth: dict[Id, TrueRequest] = {}
        price = price or LinearPrice()
        prices = price if isinstance(price, Mapping) else {i.id: price for i in [*instances, *spares]}
        self._power = power
        if power is not None:
            prices, meter = power.clocked(prices), power
        self._tuning, self._all = tuning, Machines(tuning)
        self._machines = self._all.of
        afar = Afar(self.view, self._links, prices, self._all.replan)
        self._moving = Moving(self.view, self._links, self._agenda, self._all.run_s, self._all.settle)

        def machine(kind: type[Machine], i: InstanceState) -> Machine:
            return kind(i, self.view, prices[i.id], self._agenda, self, gaps, meter, speculation, afar)

        self._all.fill([*instances, *spares], machine)
        self._at_once = True  # whether what happens now comes before the ends of steps at this instant
        self._transfers = False  # whether there has ever been a copy or a loan
        self._wakes: set[tuple[Seconds, str]] = set()
        self._num_idle_wakes = 0
        self._idle_s: Seconds = -1.0  # when so many had come in a row for the last time
        self.fleet = Fleet(self.view, spares, self._agenda, self._taken_away, startup_s)
        self.fleet.expect_failures(outages)
        self._loading = Loading(self.view, self._agenda, adapter_load_s)
        self.kv_pool = kv_pool
        for instance in [*instances, *spares]:
            instance.kv.beyond = kv_pool
        if power is not None:
            power.begin(self.view, self._agenda, self._all.replan)
        if tuning is not None:
            tuning.begin(self.view, self._agenda)
        self._events = self._play()

    @property
    def num_left(self) -> int:
        """Requests that have not ended, or not even arrived."""
        return len(self._source) - self.num_ended - self.num_unsent

    @property
    def busy_s(self) -> dict[Id, Seconds]:
        """Time that each instance has spent computing, in seconds."""
        return self._all.busy_s()

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        return next(self._events, None)

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Step):
            why = self.view.apply(action)
            if why is None:
                self._machines[action.instance].begin(action)
            return why
        if isinstance(action, Move):
            return self._move(action)
        if isinstance(action, Wake):
            self._wake_at(action)
            return None
        if isinstance(action, Start | Preempt):
            return self._start_or_preempt(action)
        if isinstance(action, Copy | Uncopy | Lend):
            return self._lend(action) if isinstance(action, Lend) else self._copy(action)
        if isinstance(action, Set):
            return self._set(action)
        why = self.view.apply(action)
        if why is None and isinstance(action, Pin | Unpin):
            self._look_again(action)
        if why is None and isinstance(action, Reject):
            self.fleet.look()
            self._agenda.add(self.view.now_s, NEWS, partial(self._fail, action))
        return why

    def foretell(self, request: Id) -> int:
        """Return how many output tokens a request that is here will be given; for policies that may know the truth."""
        return self._truth[request].given_tokens

    # What machines ask -----------------------------------------------------------------------------------------------

    def left_tokens(self, state: RequestState) -> int:
        """How many more tokens a request is given."""
        return self._truth[state.id].given_tokens - state.output_tokens

    def finish(self, state: RequestState) -> Event:
        """End a request, and send those that waited for its end."""
        now_s = self.view.now_s
        true = self._truth.pop(state.id)
        event = self.view.finish(state.id, true.reason, now_s, true.tool)
        self._tidy_up()
        self.fleet.look()
        self.num_ended += 1
        for follower in self._source.after(state.id, now_s):
            self._agenda.add(follower.request.arrival_s, NEWS, partial(self._follow, follower))
        return event

    def computed(self, step: Step, start_s: Seconds) -> None:
        """Let copies of its requests follow a step that has just ended."""
        self._copying.computed(step, start_s)

    # What happens ----------------------------------------------------------------------------------------------------

    def _play(self) -> Iterator[Event]:
        agenda = self._agenda
        while self._goes_on():
            coming = self._next
            if coming is not None and coming.request.arrival_s <= agenda.next_s():
                self._next = next(self._arrivals, None)
                self._go_to(coming.request.arrival_s, NEWS)
                yield self._arrive(coming)
                continue
            at_s, rank, _, happening = agenda.pop()
            self._go_to(at_s, rank)
            yield from happening()
            if self._num_idle_wakes >= MAX_IDLE_WAKES and self._is_stuck():
                return

    def _goes_on(self) -> bool:
        """Whether something is certain to come that is about a request, or somebody still waits for something."""
        tuning, num_later, waits = self._tuning, self.fleet.num_later, bool(self.view.requests)
        if tuning is not None:
            if not (self.num_left or tuning.until_done):
                return False  # jobs alone do not keep a world going
            num_later += tuning.num_later
            waits = waits or bool(self.view.jobs)
        return self._next is not None or self._agenda.num_pending > num_later or (waits and not self._agenda.is_empty)

    def _is_stuck(self) -> bool:
        """Whether only wake-ups are left, or time stands still between them."""
        stands, self._idle_s, self._num_idle_wakes = self.view.now_s == self._idle_s, self.view.now_s, 0
        return stands or (self._next is None and not self._agenda.num_pending)

    def _go_to(self, now_s: Seconds, rank: int) -> None:
        self.view.now_s = now_s
        self._at_once = rank == NEWS
        self._num_idle_wakes = self._num_idle_wakes + 1 if rank == WAKE else 0
        if self.kv_pool is not None:
            self.kv_pool.settle()
        for machine in self._all.all:
            if machine.look_s <= now_s:
                machine.catch_up(now_s, rank != NEWS)

    def _arrive(self, true: TrueRequest) -> Event:
        request = true.request
        if request.adapter:
            self._loading.known.add(request.adapter)
        state = self.view.add(request)
        self._truth[request.id] = true
        state.later_hashes = true.output_hashes
        state.hashing = bool(true.output_hashes)  # blocks of the prompt are full before it decodes
        return RequestArrived(at_s=self.view.now_s, work=request)

    def _follow(self, true: TrueRequest) -> Iterator[Event]:
        yield self._arrive(true)

    def _fail(self, action: Reject) -> Iterator[Event]:
        del self._truth[action.id]
        self.num_ended += 1
        lost = [action.id]
        while lost:  # whoever was to follow is never sent, nor are those who were to follow them
            followers = self._source.lost(lost.pop())
            self.num_unsent += len(followers)
            lost += followers
        yield Failed(at_s=self.view.now_s, id=action.id, why=action.why)

    def _wake(self, at_s: Seconds, tag: str) -> Iterator[Event]:
        self._wakes.remove((at_s, tag))
        yield Woke(at_s=at_s, tag=tag)

    def _taken_away(self, instance: Id) -> None:
        self._machines[instance].stop()
        self._loading.call_off(instance)
        self._tidy_up()
        for home in sorted(self.view.lending.hit & self._machines.keys()):
            self._cut(home)  # it has lost decodes

    # Actions ---------------------------------------------------------------------------------------------------------

    def _look_again(self, action: Pin | Unpin) -> None:
        """Let an instance see what is left of its plan now that memory was kept, or let go of."""
        if isinstance(action, Unpin):
            self._machines[action.instance].cut(inclusive=not self._at_once)
        else:
            for machine in self._all.all:
                machine.plan_anew()

    def _set(self, action: Set) -> str | None:
        if action.knob == FREQUENCY and self._power is not None:
            return self._power.set(action)
        if action.knob not in (NUM_LANES, TUNE_BLOCKS) and "scale" in self.view.can:
            return self.fleet.set(action)
        why = self.view.apply(action)
        if why is None and action.knob == TUNE_BLOCKS:
            self._machines[action.of].plan_anew()
            if self._tuning is not None:
                self._tuning.note_lent(self.view.instances[action.of], self.view.now_s)
        elif why is None:
            self._all.change_lanes(action.of)
        return why

    def _wake_at(self, action: Wake) -> None:
        at_s = max(self.view.now_s, action.at_s)  # in this order, what is no number is now
        if (at_s, action.tag) not in self._wakes:
            self._wakes.add((at_s, action.tag))
            self._agenda.add(at_s, WAKE, partial(self._wake, at_s, action.tag))

    def _move(self, action: Move) -> str | None:
        state = self.view.requests.get(action.what)
        if state is None and action.what in self._loading.known:
            return self._loading.begin(action)
        ran = state is not None and state.id not in self.view.unrouted
        missing = self.view.books.num_missing(state, action.to) if state is not None and ran else 0
        why = self.view.apply(action)
        if why is not None:
            return why
        if state is None:
            self._cut(action.to)  # of fine-tuning: what repeats there ends, so that steps can carry it
            return None
        machine = self._machines[action.to]
        if ran:
            self._tidy_up()
            machine.plan_anew()
            self.fleet.look()
            took_s = self._links.between_s(missing)
            self._agenda.add(self.view.now_s + took_s, NEWS, partial(machine.land, state, took_s))
        else:
            self._cut(action.to)
        return None

    def _copy(self, action: Copy | Uncopy) -> str | None:
        why = self.view.apply(action)
        if why is None and isinstance(action, Copy):
            self._machines[action.to].plan_anew()
            self._transfers = True
            self._copying.begin(action.what)
        self._tidy_up()
        return why

    def _lend(self, action: Lend) -> str | None:
        why = self.view.apply(action)
        if why is None:
            self._machines[action.to].plan_anew()
            self._transfers = True
            self._moving.begin(action.what)
            self._cut(self.view.requests[action.what].instance)
        return why

    def _tidy_up(self) -> None:
        if self._transfers:
            self._copying.tidy_up()
            self._moving.tidy_up()

    def _cut(self, instance: Id) -> None:
        """Let what an instance repeats end with the repeat under way."""
        self._machines[instance].cut(inclusive=not self._at_once)

    def _start_or_preempt(self, action: Start | Preempt) -> str | None:
        state = self.view.requests.get(action.id)
        swapped = state.swapped_tokens if state is not None else 0
        fetched = self.kv_pool.num_fetched_blocks if self.kv_pool is not None else 0
        why = self.view.apply(action)
        if why is None and state is not None:
            machine = self._machines[state.instance]
            machine.owe(self._links.host_s(abs(swapped - state.swapped_tokens)))
            if self.kv_pool is not None:
                num = self.kv_pool.num_fetched_blocks - fetched
                machine.owe(self._links.pool_s(num * machine.instance.kv.block_size))
            if machine.instance.adapters is not None:
                machine.owe(self._loading.owed_s(machine.instance))
            machine.plan_anew()
            for name in action.on if isinstance(action, Start) and len(action.on) > 1 else ():
                self._machines[name].plan_anew()
            self._tidy_up()
        return why
