"""The visible state of serving, and what each action does to it.

A world and an engine both keep one `ServingBoard`: an action means the same in virtual and in real time because it is
carried out by the same lines. What costs time (running the step) and what is hidden (which token comes, when a request
ends) stays with the executor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from headway.core.actions import Action, Move, Preempt, Reject, Start
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.serving.decodes import Decodes, Growth
from headway.policies.serving.draft import ServingDraft
from headway.policies.serving.nouns import Piece, Request, RequestFinished, Step
from headway.policies.serving.state import InstanceState, RequestState


class ServingBoard:
    """Instances, requests and memory, as policies see them.

    Parameters
    ----------
    instances : sequence of InstanceState
        The replicas that serve.
    can : frozenset of str
        What the executor is able to do beyond plain steps: ``"layer_ranges"``, ``"repeat"``, ``"speculate"``,
        ``"share"``, ``"tune"``, ``"migrate"``. A step that needs more is refused.
    """

    def __init__(self, instances: Sequence[InstanceState], can: frozenset[str] = frozenset()) -> None:
        self.now_s: Seconds = 0.0
        self.can = can
        self.grown: Growth = []
        self.instances: Mapping[Id, InstanceState] = MappingProxyType({i.id: i for i in instances})
        self.resources: Mapping[Id, Resource] = MappingProxyType({i.id: _resource(i) for i in instances})
        self._unrouted: dict[Id, RequestState] = {}
        self._requests: dict[Id, RequestState] = {}
        self._decodes: dict[Id, Decodes] = {}  # the latest step of an instance, while the next may be like it
        self.unrouted: Mapping[Id, RequestState] = MappingProxyType(self._unrouted)
        self.requests: Mapping[Id, RequestState] = MappingProxyType(self._requests)

    def draft(self) -> ServingDraft:
        """Open a tentative overlay for one decision."""
        return ServingDraft(self)

    # What executors call when something happened -----------------------------------------------------------------

    def add(self, request: Request) -> RequestState:
        """Let a new request wait to be routed."""
        state = RequestState(request)
        self._requests[request.id] = self._unrouted[request.id] = state
        return state

    def advance(self, step: Step, now_s: Seconds) -> list[RequestState]:
        """Note that an instance ran `step` once; returns the requests it gave a token, in the order of the pieces."""
        instance = self.instances[step.instance]
        running, block_size = instance.running, instance.kv.block_size
        decodes = self._decodes.get(instance.id)
        if decodes is not None and decodes.pieces is step.pieces:
            for full in decodes.advance(now_s, block_size):
                self._remember(instance, full)
            return decodes.states.copy()
        emitted: list[RequestState] = []
        for piece in step.pieces:
            state = running.get(piece.request)
            if state is None or (piece.layers is not None and not self._pass_layers(instance, state, piece)):
                continue
            computed = state.computed_tokens = state.computed_tokens + piece.tokens
            if computed // block_size > state.remembered < len(state.hashes):
                self._remember(instance, state)
            if computed == state.known_tokens:
                state.known_tokens = computed + 1
                state.output_tokens += 1
                if state.first_token_s is None:
                    state.first_token_s = now_s
                state.last_token_s = now_s
                emitted.append(state)
        return emitted

    def finish(self, request: Id, reason: str, now_s: Seconds) -> RequestFinished:
        """Forget a request, give back its memory, and say what its sender felt."""
        state = self._requests.pop(request)
        self._leave(state)
        arrival_s, tokens = state.request.arrival_s, state.output_tokens
        first_s = now_s if state.first_token_s is None else state.first_token_s
        start_s = now_s if state.first_step_s is None else state.first_step_s
        return RequestFinished(
            at_s=now_s,
            id=request,
            reason=reason,
            output_tokens=tokens,
            queue_s=start_s - arrival_s,
            ttft_s=first_s - arrival_s,
            tpot_s=(state.last_token_s - first_s) / (tokens - 1) if tokens > 1 else 0.0,
            e2e_s=(state.last_token_s if tokens else now_s) - arrival_s,
            cached_tokens=state.cached_tokens,
            num_preempted=state.num_preempted,
        )

    # What executors call to carry out an action --------------------------------------------------------------------

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Step):
            return self._step(action)
        if isinstance(action, Start):
            return self._start(action)
        if isinstance(action, Move):
            return self._route(action)
        if isinstance(action, Preempt):
            return self._preempt(action)
        if isinstance(action, Reject):
            return self._reject(action)
        return f"serving does not know {type(action).__name__}"

    def _route(self, action: Move) -> str | None:
        instance = self.instances.get(action.to)
        if instance is None:
            return f"there is no instance {action.to!r}"
        state = self._unrouted.pop(action.what, None)
        if state is None:
            return "it is not waiting to be routed"
        state.instance = instance.id
        instance.waiting[state.id] = state
        return None

    def _start(self, action: Start) -> str | None:
        if len(action.on) != 1:
            return "a request starts on exactly one instance"
        (name, amounts), *_ = action.on.items()
        instance = self.instances.get(name)
        state = instance.waiting.get(action.id) if instance else None
        if instance is None or state is None:
            return f"it does not wait at {name!r}"
        if len(instance.running) >= instance.max_running:
            return f"no more than {instance.max_running} requests can run at once"
        tokens = amounts.get("kv_tokens", state.known_tokens)
        if not 0 < tokens <= instance.kv.num_blocks * instance.kv.block_size:
            return f"its KV memory must be for at least 1 token and fit into the pool, {tokens:g} asked for"
        if not self._take_memory(instance, state, int(tokens)):
            return "there is not enough KV memory"
        del instance.waiting[state.id]
        instance.running[state.id] = state
        return None

    def _take_memory(self, instance: InstanceState, state: RequestState, tokens: int) -> bool:
        kv = instance.kv
        found = kv.match(state.hashes[: (state.known_tokens - 1) // kv.block_size])
        count = max(0, kv.blocks_for(tokens) - len(found))
        if count + kv.num_cached_free(found) > kv.num_free:
            return False
        kv.hold(found)
        state.blocks = found + kv.allocate(count)
        state.kv_tokens = len(state.blocks) * kv.block_size
        state.remembered = len(found)
        state.computed_tokens = len(found) * kv.block_size
        kv.num_queried_tokens += state.known_tokens
        kv.num_hit_tokens += state.computed_tokens
        if not state.num_preempted:  # what it finds later may be its own
            state.cached_tokens = state.computed_tokens
        return True

    def _preempt(self, action: Preempt) -> str | None:
        state = self._requests.get(action.id)
        instance = self.instances.get(state.instance) if state else None
        if state is None or instance is None or state.id not in instance.running:
            return "it is not running"
        if action.how != "requeue":
            return f"this executor cannot {action.how}"
        if instance.busy:
            return "a step of its instance is under way"
        self._leave(state)
        state.num_preempted += 1
        state.instance = instance.id
        instance.waiting[state.id] = state
        instance.waiting.move_to_end(state.id, last=False)
        return None

    def _reject(self, action: Reject) -> str | None:
        state = self._requests.get(action.id)
        if state is None or (state.instance and state.id in self.instances[state.instance].running):
            return "it is not waiting"
        self._leave(self._requests.pop(action.id))
        return None

    def _step(self, step: Step) -> str | None:
        instance = self.instances.get(step.instance)
        if instance is None:
            return f"there is no instance {step.instance!r}"
        if instance.busy:
            return "a step is under way"
        decodes = self._decodes.get(instance.id)
        again = decodes is not None and decodes.pieces == step.pieces
        growth: Growth = decodes.growth(step, instance.kv.block_size) if decodes is not None and again else []
        why = self._why_not(step) or (None if again else self._survey(instance, step, growth))
        if why is None and growth and sum(count for _, count in growth) > instance.kv.num_free:
            why = "there is not enough KV memory"
        if why is not None:
            return why
        self._grow(instance, growth)
        if not again:
            self._begin(instance, step)
        elif decodes is not None:
            decodes.pieces = step.pieces
        instance.busy = True
        return None

    def _grow(self, instance: InstanceState, growth: Growth) -> None:
        self.grown = growth
        for state, count in growth:
            state.blocks += instance.kv.allocate(count)
            state.kv_tokens += count * instance.kv.block_size

    def _begin(self, instance: InstanceState, step: Step) -> None:
        """Note who runs for the first time, and whether the next step may be like this one."""
        states = [instance.running[piece.request] for piece in step.pieces]
        for state in states:
            if state.first_step_s is None:
                state.first_step_s = self.now_s
        decodes = Decodes.of(step, states)
        if decodes is None:
            self._decodes.pop(instance.id, None)
        else:
            self._decodes[instance.id] = decodes

    def _why_not(self, step: Step) -> str | None:
        asked = {"speculate": step.speculate, "share": step.share != 1.0, "tune": step.tune, "repeat": step.repeat > 1}
        for ability, wanted in asked.items():
            if wanted and ability not in self.can:
                return f"this executor cannot {ability}"
        if step.repeat < 1 or not 0 < step.share <= 1:
            return f"repeat must be >= 1 and share in (0, 1], got {step.repeat} and {step.share:g}"
        if not step.pieces and step.tune is None:
            return "a step must compute something"
        return None

    def _survey(self, instance: InstanceState, step: Step, growth: Growth) -> str | None:
        """Check every piece and list the blocks to add; nothing is changed."""
        if len({piece.request for piece in step.pieces}) != len(step.pieces):
            return "a step takes at most one piece of a request"
        running, block_size, later = instance.running, instance.kv.block_size, step.repeat - 1
        for piece in step.pieces:
            state = running.get(piece.request)
            if state is None:
                return f"{piece.request} is not running here"
            end = state.computed_tokens + piece.tokens
            if piece.tokens < 1 or end > state.known_tokens:
                return f"{piece.request} has {state.left_tokens} tokens left, {piece.tokens} asked for"
            if later and (end != state.known_tokens or piece.tokens > 1 or piece.layers is not None):
                return "only steps of single tokens, each followed by another, can be repeated"
            if end + later > state.kv_tokens:
                growth.append((state, -(-(end + later - state.kv_tokens) // block_size)))
            if (piece.layers is not None or state.layers_done) and (why := self._bad_layers(instance, state, piece)):
                return why
        return None

    def _bad_layers(self, instance: InstanceState, state: RequestState, piece: Piece) -> str | None:
        if "layer_ranges" not in self.can:
            return "this executor cannot layer_ranges"
        first, last = piece.layers or (0, instance.num_layers)
        if first != state.layers_done or not first < last <= instance.num_layers:
            return f"{state.id} must go on from layer {state.layers_done}, got layers {first} to {last}"
        if state.layers_done and piece.tokens != state.layers_tokens:
            return f"{state.id} is amid a chunk of {state.layers_tokens} tokens, {piece.tokens} asked for"
        return None

    # What they share -------------------------------------------------------------------------------------------------

    def _pass_layers(self, instance: InstanceState, state: RequestState, piece: Piece) -> bool:
        """Note a partial walk through the layers; says whether the chunk has now been through all of them."""
        assert piece.layers is not None
        state.layers_done = piece.layers[1] % instance.num_layers
        state.layers_tokens = piece.tokens
        return not state.layers_done

    def _remember(self, instance: InstanceState, state: RequestState) -> None:
        full = min(state.computed_tokens // instance.kv.block_size, len(state.hashes))
        for index in range(state.remembered, full):
            instance.kv.remember(state.blocks[index], state.hashes[index])
        state.remembered = max(state.remembered, full)

    def _leave(self, state: RequestState) -> None:
        self._unrouted.pop(state.id, None)
        instance = self.instances.get(state.instance)
        if instance is not None:
            instance.waiting.pop(state.id, None)
            instance.running.pop(state.id, None)
            self._decodes.pop(instance.id, None)
            instance.kv.release(state.blocks)
        state.blocks, state.kv_tokens, state.computed_tokens = [], 0, 0
        state.layers_done, state.remembered, state.instance = 0, 0, ""

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes; contract checks compare it."""
        instances = tuple(
            (i.id, i.busy, tuple(i.waiting), tuple(i.running), i.kv.num_free, i.kv.holders())
            for i in self.instances.values()
        )
        requests = tuple((s.id, s.known_tokens, s.computed_tokens, s.kv_tokens) for s in self._requests.values())
        return hash((self.now_s, tuple(self._unrouted), instances, requests))


def _resource(instance: InstanceState) -> Resource:
    tokens = float(instance.kv.num_blocks * instance.kv.block_size)
    return Resource(id=instance.id, kind="instance", capacity={"kv_tokens": tokens})
