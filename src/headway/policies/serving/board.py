"""The visible state of serving: where requests are, what memory they hold, and what each action does to that.

A world in virtual time and an engine in real time keep the same `ServingBoard`. It decides what an action *means*; when
it happens and how long it takes stays with the executor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from headway.core.actions import Action, Move, Preempt, Reject, Set, Start
from headway.core.nouns import Id, Resource, Seconds
from headway.core.slo import SloClass
from headway.policies.serving import lanes
from headway.policies.serving.copies import Copies, KvCopy
from headway.policies.serving.draft import ServingDraft
from headway.policies.serving.jobs import TUNE_BLOCKS, Jobs, JobState
from headway.policies.serving.lending import Lending
from headway.policies.serving.memory import give_more, num_swapped_blocks, remember, take_memory
from headway.policies.serving.nouns import Copy, Lend, Piece, Pin, Request, RequestFinished, Step, Uncopy, Unpin
from headway.policies.serving.pins import Ended, pin
from headway.policies.serving.pools import PoolState, pools_of
from headway.policies.serving.promises import promise_of, promised
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.survey import Growth, Survey, survey


class ServingBoard:
    """Instances, requests and memory, as policies see them.

    Parameters
    ----------
    instances : sequence of InstanceState
        The replicas that serve.
    can : frozenset of str
        What the executor is able to do beyond plain steps: ``"layer_ranges"``, ``"speculate"``, ``"share"``,
        ``"tune"``, ``"migrate"``, ``"copy"``, ``"swap"``, ``"lend"``. An action that needs more is refused.
        ``"repeat"`` says that it repeats steps which may be repeated; others run them once.
    promises : sequence of SloClass
        What the requests of each class are promised.
    """

    def __init__(
        self,
        instances: Sequence[InstanceState],
        can: frozenset[str] = frozenset(),
        promises: Sequence[SloClass] = (),
    ) -> None:
        self.now_s: Seconds = 0.0
        self.can = can
        self.grown: Growth = []
        self._up = {instance.id: instance for instance in instances}
        self._resources = {instance.id: resource_of(instance) for instance in instances}
        self.instances: Mapping[Id, InstanceState] = MappingProxyType(self._up)
        self.resources: Mapping[Id, Resource] = MappingProxyType(self._resources)
        self.pools: Mapping[str, PoolState] = pools_of(instances)
        self._unrouted: dict[Id, RequestState] = {}
        self._requests: dict[Id, RequestState] = {}
        self._under_way: dict[Id, list[Survey]] = {instance.id: [] for instance in instances}
        self._promises = {slo_class.name: promise_of(slo_class) for slo_class in promises}
        self._ended = Ended()
        self._num_started = 0
        self.unrouted: Mapping[Id, RequestState] = MappingProxyType(self._unrouted)
        self.requests: Mapping[Id, RequestState] = MappingProxyType(self._requests)
        self.books = Copies(self._up, self._requests)
        self.copies: Mapping[Id, KvCopy] = self.books.all
        self.lending = Lending(self._up, self._requests)
        self._parcels, self._loans = self.lending.parcels, self.lending.loans
        self.tuning = Jobs(self._up)
        self.jobs: Mapping[Id, JobState] = self.tuning.all

    def draft(self) -> ServingDraft:
        """Open a tentative overlay for one decision."""
        return ServingDraft(self)

    @property
    def lends(self) -> bool:
        """Whether anything is lent, or on its way; asked at every step."""
        return bool(self._parcels) or bool(self._loans)

    # What executors call when something happened -----------------------------------------------------------------

    def add(self, request: Request) -> RequestState:
        """Let a new request wait to be routed."""
        state = RequestState(request, promised(request, self._promises))
        self._requests[request.id] = self._unrouted[request.id] = state
        return state

    def parts(self, step: Step) -> tuple[bool, tuple[Piece, ...]]:
        """Of a step under way, whether it begins with all decodes of its instance, and the pieces beside these."""
        found = self.find(step)
        return found.whole, found.rest

    def advance(self, step: Step, now_s: Seconds, accepted: Mapping[Id, int] | None = None) -> list[RequestState]:
        """Note that an instance ran `step` once; returns the requests it gave a token, decodes first.

        `accepted` says how many of the tokens that it drafted for each request were right.
        """
        instance = self._up[step.instance]
        found = self.find(step)
        emitted: list[RequestState] = []
        if found.whole:
            self._remember_all(instance, instance.decodes.run(now_s))
            emitted += instance.decodes
        for piece in found.rest:
            state = instance.running.get(piece.request) or instance.flying.get(piece.request)
            if state is not None and self._compute(instance, state, piece):
                state.give(now_s)
                emitted.append(state)
                if accepted and (extra := accepted.get(state.id, 0)):
                    give_more(instance, state, extra, now_s)
        return emitted

    def again(self, step: Step) -> bool:
        """Give the requests of a step that is to be run once more the memory for it; says whether there is enough."""
        instance = self._up[step.instance]
        found = self.find(step)
        states = [instance.running.get(p.request) or instance.flying[p.request] for p in found.rest]
        found.growth = [(state, 1) for state in states if state.known_tokens > state.kv_tokens]
        return self._grow(instance, found)

    def coast(self, step: Step, times_s: Sequence[Seconds], more: bool) -> None:
        """Note that a step of all decodes and nothing else was run once at each of these times, and memory sufficed.

        It comes to the same as `advance` for each of them with `again` in between, and after the last if there are
        `more` to come.
        """
        instance = self._up[step.instance]
        decodes, last = instance.decodes, len(times_s) if more else len(times_s) - 1
        for number, now_s in enumerate(times_s):
            full = decodes.run(now_s)
            if full:
                self._remember_all(instance, full)
            if number < last:
                short = decodes.short
                if short:
                    instance.kv.extend([state.blocks for state in short.values()])
                    decodes.grown()

    def end(self, step: Step) -> list[RequestState]:
        """Note that a step, repeats included, is over; returns the requests that have joined the decodes by it."""
        instance = self._up[step.instance]
        found = self.find(step)
        self._under_way[instance.id].remove(found)
        joined, names = [], [piece.request for piece in found.rest]
        if instance.num_lanes > 1:
            names = lanes.landing(instance, found, self._under_way[instance.id])
        for name in names:
            state = self._land(instance, name)
            if state is not None and state.decoding and not state.layers_done:
                instance.decodes.join(state, instance.kv.caching and state.hashing)
                joined.append(state)
            elif state is not None:
                instance.prefills[state.id] = state
        if step.tune:
            self.tuning.end(step.tune)
        self._open_door(instance)
        return joined

    def leave_door(self, step: Step) -> None:
        """Note that a step has left the first stage of its instance, so that another can enter."""
        self.find(step).at_door = False
        self._open_door(self._up[step.instance])

    def finish(self, request: Id, reason: str, now_s: Seconds, tool: str = "") -> RequestFinished:
        """Forget a request, give back its memory, and say what its sender felt, and which tool it calls."""
        state = self._requests.pop(request)
        if state.remembered:
            self._ended.note(state)
        self._leave(state)
        arrival_s, tokens, last_s = state.request.arrival_s, state.output_tokens, state.last_token_s
        first_s = now_s if state.first_token_s is None else state.first_token_s
        start_s = now_s if state.first_step_s is None else state.first_step_s
        return RequestFinished(
            at_s=now_s,
            id=request,
            reason=reason,
            output_tokens=tokens,
            queue_s=start_s - arrival_s,
            ttft_s=first_s - arrival_s,
            tpot_s=(last_s - first_s) / (tokens - 1) if tokens > 1 else 0.0,
            e2e_s=(last_s if tokens else now_s) - arrival_s,
            cached_tokens=state.cached_tokens,
            num_preempted=state.num_preempted,
            tool=tool,
        )

    def fail(self, instance: Id) -> Resource:
        """Take an instance away: its memory is lost, and whoever waited or ran there waits to be routed again."""
        self.books.drop_all(instance)
        for state in self.lending.fail(instance):
            self.requeue(state)
        lost = self._up.pop(instance)
        for state in [*lost.running.values(), *lost.flying.values(), *lost.waiting.values()]:
            ran = state.id not in lost.waiting
            self._leave(state, lost)
            state.swapped_tokens = 0
            state.num_preempted += ran
            self._unrouted[state.id] = state
        self._under_way[instance].clear()
        lanes.count(lost, ())
        lost.kv.forget()
        lost.tune_blocks = []
        self.tuning.leave(instance)
        if lost.adapters is not None:
            lost.adapters.forget()
        lost.busy = False
        return self._resources.pop(instance)

    def recover(self, instance: InstanceState) -> Resource:
        """Bring a new instance, or one that failed, into use."""
        self._up[instance.id] = instance
        self._under_way[instance.id] = []
        self._resources[instance.id] = resource_of(instance)
        return self._resources[instance.id]

    def arrive(self, request: Id) -> None:
        """Let a request that was moved while it ran go on where it is now."""
        state = self._requests[request]
        instance = self._up[state.instance]
        if self._land(instance, request) is not None:
            instance.prefills[request] = state  # it joins the decodes by its next token

    # What executors call to carry out an action --------------------------------------------------------------------

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Step):
            return self._step(action)
        if isinstance(action, Move):
            return self._route(action)
        if isinstance(action, Start):
            return self._start(action)
        if isinstance(action, Preempt):
            return self._preempt(action)
        if isinstance(action, Reject):
            return self._reject(action)
        return self._keep(action)

    def _keep(self, action: Action) -> str | None:
        """Carry out what is about memory alone: where it is, and how long it is held."""
        if isinstance(action, Copy):
            if self.lending.concerns(action.what):
                return "some of its blocks are lent"
            return self.books.begin(action) if "copy" in self.can else "this executor cannot copy"
        if isinstance(action, Uncopy):
            return self.books.give_up(action)
        if isinstance(action, Lend):
            if action.what in self.copies:
                return "there is a copy of it"
            return self.lending.begin(action) if "lend" in self.can else "this executor cannot lend"
        if isinstance(action, Pin):
            return self._pin(action)
        return self._unpin(action) if isinstance(action, Unpin) else self._set(action)

    def _set(self, action: Action) -> str | None:
        if isinstance(action, Set) and action.knob == TUNE_BLOCKS and "tune" in self.can:
            return self.tuning.lend(action)
        if isinstance(action, Set) and action.knob == lanes.NUM_LANES:
            if self.tuning.at(action.of):
                return "a job is trained there"
            return lanes.set_lanes(self._up.get(action.of), action.value, self.can)
        return f"serving does not know {type(action).__name__}"

    def _route(self, action: Move) -> str | None:
        if action.what in self.jobs:
            return self.tuning.place(action) if "tune" in self.can else "this executor cannot tune"
        instance = self._up.get(action.to)
        if instance is None:
            return f"there is no instance {action.to!r}"
        if instance.draining:
            return f"{action.to} takes no more requests"
        state = self._unrouted.pop(action.what, None)
        if state is None:
            return self._migrate(action, instance)
        state.instance = instance.id
        instance.waiting[state.id] = state
        return None

    def _migrate(self, action: Move, to: InstanceState) -> str | None:
        state = self._requests.get(action.what)
        source = self._up.get(state.instance) if state else None
        if state is None or source is None or state.id not in source.running:
            return "it is not waiting to be routed"
        if "migrate" not in self.can:
            return "this executor cannot migrate"
        if source is to or any(found.takes(state, source) for found in self._under_way[source.id]):
            return "it is there already" if source is to else "a step of it is under way"
        if self.lending.concerns(state.id):
            return "some of its blocks are lent"
        if (why := self.books.why_not_move(state, to)) is not None:
            return why
        computed, blocks = state.computed_tokens, self.books.take(state, to)
        self._leave(state)
        state.blocks = blocks
        state.block_size = to.kv.block_size
        state.compute(computed)
        state.instance = to.id
        to.flying[state.id] = state
        return None

    def _start(self, action: Start) -> str | None:
        lends = len(action.on) > 1 and "lend" in self.can
        if len(action.on) != 1 and not lends:
            return "a request starts on exactly one instance"
        waits_at = self._requests[action.id].instance if lends and action.id in self._requests else ""
        name = waits_at if waits_at in action.on else next(iter(action.on))
        amounts = action.on[name]
        instance = self._up.get(name)
        state = instance.waiting.get(action.id) if instance else None
        if instance is None or state is None:
            return f"it does not wait at {name!r}"
        if (why := _full(instance, state)) is not None:
            return why
        tokens = amounts.get("kv_tokens", state.known_tokens)
        if not 0 < tokens <= instance.kv.num_blocks * instance.kv.block_size:
            return f"its KV memory must be for at least 1 token and fit into the pool, {tokens:g} asked for"
        if tokens < state.swapped_tokens:
            return f"{state.swapped_tokens} tokens come back from the host's memory, room for {tokens:g} asked for"
        if lends:
            if (why := self.lending.start(state, instance, action.on)) is not None:
                return why
        elif not take_memory(instance, state, int(tokens)):
            return "there is not enough KV memory"
        if state.request.adapter and instance.adapters is not None:
            instance.adapters.use(state.request.adapter, instance.adapters_in_use)
        del instance.waiting[state.id]
        self._num_started += 1
        state.turn = self._num_started
        instance.running[state.id] = instance.prefills[state.id] = state
        return None

    def _preempt(self, action: Preempt) -> str | None:
        state = self._requests.get(action.id)
        instance = self._up.get(state.instance) if state else None
        if state is None or instance is None or state.id not in instance.running:
            return "it is not running"
        if lanes.is_taken(instance, state):
            return "a step of its instance is under way"
        swapped = 0
        if action.how == "swap" and "swap" in self.can:
            if self.lending.concerns(state.id):
                return "some of its blocks are lent"
            swapped = state.computed_tokens
            if num_swapped_blocks(instance) + instance.kv.blocks_for(swapped) > instance.host_blocks:
                return "there is not enough host memory"
        elif action.how != "requeue":
            return f"this executor cannot {action.how}"
        self.requeue(state)
        state.swapped_tokens = swapped
        return None

    def requeue(self, state: RequestState) -> None:
        """Take a running request off, and let it wait where it ran, in front."""
        instance = self._up[state.instance]
        self._leave(state)
        state.num_preempted += 1
        state.instance = instance.id
        instance.waiting[state.id] = state
        instance.waiting.move_to_end(state.id, last=False)

    def _reject(self, action: Reject) -> str | None:
        state = self._requests.get(action.id)
        place = self._up.get(state.instance) if state else None
        if state is None or (place is not None and state.id not in place.waiting):
            return "it is not waiting"
        self._leave(self._requests.pop(action.id))
        return None

    def _pin(self, action: Pin) -> str | None:
        state = self._requests.get(action.id)
        name, hashes = (state.instance, tuple(state.hashes)) if state is not None else self._ended.of(action.id)
        instance = self._up.get(name)
        return "it has no memory" if instance is None else pin(instance.kv, action.owner, hashes)

    def _unpin(self, action: Unpin) -> str | None:
        instance = self._up.get(action.instance)
        if instance is None or action.owner not in instance.kv.pins:
            return f"nothing is kept for it at {action.instance!r}"
        instance.kv.unpin(action.owner)
        return None

    def _step(self, step: Step) -> str | None:
        instance = self._up.get(step.instance)
        if instance is None:
            return f"there is no instance {step.instance!r}"
        if instance.busy:
            return "a step is under way"
        found = survey(instance, step, self.can)
        if isinstance(found, str):
            return found
        if step.tune and (why := self.tuning.why_not(step.tune, instance)) is not None:
            return why
        if not self._grow(instance, found):
            return "there is not enough KV memory"
        for piece in found.rest:
            self._take_off(instance, instance.running[piece.request])
        self._under_way[instance.id].append(found)
        instance.busy = True
        if step.tune:
            self.tuning.begin(step.tune)
        if instance.num_lanes > 1:
            lanes.count(instance, self._under_way[instance.id])
        return None

    # What they share -------------------------------------------------------------------------------------------------

    def find(self, step: Step) -> Survey:
        """Return what a step under way comes to."""
        under_way = self._under_way[step.instance]
        return under_way[0] if len(under_way) == 1 else next(found for found in under_way if found.step is step)

    def _grow(self, instance: InstanceState, found: Survey) -> bool:
        """Give a step the blocks it needs, all or none; says whether there were enough."""
        num_free, short = instance.kv.num_free, instance.decodes.short if found.whole else {}
        if short or found.growth:
            if len(short) + sum(count for _, count in found.growth) > num_free:
                return False
            for state, count in found.growth:
                state.blocks += instance.kv.allocate(count)
        self.grown = found.growth
        if short:
            self.grown = [*((state, 1) for state in short.values()), *found.growth]
            self._grow_decodes(instance)
        return True

    def _grow_decodes(self, instance: InstanceState) -> None:
        instance.kv.extend([state.blocks for state in instance.decodes.short.values()])
        instance.decodes.grown()

    def _remember_all(self, instance: InstanceState, states: Mapping[Id, RequestState]) -> None:
        for state in states.values():
            remember(instance, state)

    def _compute(self, instance: InstanceState, state: RequestState, piece: Piece) -> bool:
        """Note what a piece computed; says whether a token follows."""
        if piece.layers is not None:
            state.layers_done = piece.layers[1] % instance.num_layers
            state.layers_tokens = piece.tokens
            if state.layers_done:
                return False
        state.compute(piece.tokens)
        if state.computed_tokens // instance.kv.block_size > state.remembered and (state.hashes or state.later_hashes):
            remember(instance, state)
        return state.left_tokens == 0

    def _take_off(self, instance: InstanceState, state: RequestState) -> None:
        """Let a request go on by itself while a step computes a piece of it."""
        if state.first_step_s is None:
            state.first_step_s = self.now_s
        if instance.prefills.pop(state.id, None) is None:
            instance.decodes.drop(state)
        if instance.num_stages > 1 or instance.num_lanes > 1:
            del instance.running[state.id]
            instance.flying[state.id] = state

    def _land(self, instance: InstanceState, request: Id) -> RequestState | None:
        """Bring a request back to where others run, in the order in which they were started, unless it has left."""
        state = instance.flying.pop(request, None)
        if state is None:
            return instance.running.get(request)
        later = [other for other in instance.running.values() if other.turn > state.turn]
        instance.running[request] = state
        for other in later:
            instance.running.move_to_end(other.id)
        return state

    def _open_door(self, instance: InstanceState) -> None:
        under_way = self._under_way[instance.id]
        if instance.num_lanes > 1:
            lanes.count(instance, under_way)
            return
        instance.busy = len(under_way) >= instance.num_stages or any(found.at_door for found in under_way)

    def _leave(self, state: RequestState, instance: InstanceState | None = None) -> None:
        self._unrouted.pop(state.id, None)
        if self.copies:
            self.books.drop(state.id)
        instance = instance or self._up.get(state.instance)
        if self.lends:
            self.lending.drop(state, instance)
        if instance is not None:
            instance.waiting.pop(state.id, None)
            instance.running.pop(state.id, None)
            instance.flying.pop(state.id, None)
            if instance.prefills.pop(state.id, None) is None and state.id in instance.decodes.members:
                instance.decodes.drop(state)
            instance.kv.release(state.blocks)
        state.forget()
        state.instance = ""

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes; contract checks compare it."""
        instances = tuple(
            (i.id, i.busy, tuple(i.waiting), tuple(i.running), tuple(i.flying), i.kv.num_free, i.kv.holders())
            for i in self._up.values()
        )
        requests = tuple((s.id, s.known_tokens, s.computed_tokens, s.kv_tokens) for s in self._requests.values())
        copies = tuple((c.id, c.to, c.tokens, c.until, len(c.blocks)) for c in self.copies.values())
        loans = tuple((loan.id, loan.source, loan.to, len(loan.blocks)) for loan in self.lending.loans.values())
        away = tuple((name, tuple(self.lending.at(name).items())) for name in self.lending.parcels)
        jobs = self.tuning.fingerprint()
        return hash((self.now_s, tuple(self._unrouted), instances, requests, copies, loans, away, jobs))


def _full(instance: InstanceState, state: RequestState) -> str | None:
    """Return why no more requests can run, or none with this one's adapter, whatever the memory."""
    if instance.num_running >= instance.max_running:
        return f"no more than {instance.max_running} requests can run at once"
    adapter, adapters = state.request.adapter, instance.adapters
    return adapters.why_not(adapter, instance.adapters_in_use) if adapter and adapters is not None else None


def resource_of(instance: InstanceState) -> Resource:
    """Return an instance as the resource that it is."""
    tokens = float(instance.kv.num_blocks * instance.kv.block_size)
    return Resource(id=instance.id, kind="instance", capacity={"kv_tokens": tokens})
