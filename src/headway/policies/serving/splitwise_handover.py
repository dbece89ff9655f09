"""How keys and values come from the machine of the prompt to that of the output.

Patel et al. 2024 (arXiv 2311.18677): layer by layer behind a long prompt, at once after a short one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headway.core.actions import Action, Move
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Copy
from headway.policies.serving.seats import ServingView
from headway.policies.serving.splitwise_pools import Plan
from headway.policies.serving.state import InstanceState, RequestState


@dataclass
class Handover:
    """Those that are to leave the machine of their prompt.

    Parameters
    ----------
    layerwise_tokens : int
        Prompts of at least so many tokens are sent layer by layer, >= 0.
    """

    layerwise_tokens: int
    leaving: dict[Id, dict[Id, None]] = field(default_factory=dict)
    _ready: dict[Id, None] = field(default_factory=dict)  # whose prompt is computed
    _asked: dict[Id, int] = field(default_factory=dict)  # blocks that this instant's decisions take of a machine
    _asked_s: Seconds = -1.0

    def expect(self, request: Id, plan: Plan) -> None:
        """Note that a request is to leave the machine of its prompt."""
        if plan.prompt != plan.token:
            self.leaving.setdefault(plan.prompt, {})[request] = None

    def forget(self, request: Id, plan: Plan | None) -> None:
        """Note that a request has left, or ended."""
        self._ready.pop(request, None)
        if plan is not None:
            self.leaving.get(plan.prompt, {}).pop(request, None)

    def step_done(self, instance: Id, requests: Mapping[Id, RequestState]) -> None:
        """Note whose prompt was computed by a step that is over."""
        for request in self.leaving.get(instance, ()):
            state = requests.get(request)
            if state is not None and state.decoding:
                self._ready[request] = None

    def copy_started(self, draft: InstanceDraft, to: Mapping[Id, InstanceState], now_s: Seconds) -> None:
        """Let what has just been started follow its prompt to another machine, where that has room."""
        for request, num_left in draft.started.items():
            target = to.get(request)
            if target is not None and num_left >= self.layerwise_tokens:
                blocks = target.kv.blocks_for(draft.instance.waiting[request].known_tokens)
                if self._take(target, blocks, now_s):
                    draft.actions.append(Copy(request, target.id))

    def moves(self, view: ServingView, plans: Mapping[Id, Plan]) -> Iterator[Action]:
        """Send those off whose prompt is computed and copied, or too short to have been copied."""
        for request in list(self._ready):
            state, copy, plan = view.requests.get(request), view.copies.get(request), plans[request]
            target = view.instances.get(plan.token)
            if state is None or target is None or not state.decoding or state.instance != plan.prompt:
                self._ready.pop(request, None)  # it has lost its memory, or its destination
            elif view.lending.concerns(request):
                self.forget(request, plan)  # blocks of it are lent, so it stays where it is
            elif copy is None or not copy.under_way:
                reserved = len(copy.blocks) if copy is not None and copy.to == target.id else 0
                if self._can_leave(state, target, reserved, view.now_s):
                    yield Move(request, target.id)

    def _can_leave(self, state: RequestState, to: InstanceState, reserved: int, now_s: Seconds) -> bool:
        has_seat = to.num_running < to.max_running and not to.draining
        return has_seat and self._take(to, to.kv.blocks_for(state.known_tokens) - reserved, now_s)

    def _take(self, to: InstanceState, blocks: int, now_s: Seconds) -> bool:
        """Take blocks of a machine, one more than what its own requests may need for their next token."""
        if now_s != self._asked_s:
            self._asked, self._asked_s = {}, now_s
        asked = self._asked.get(to.id, 0) + max(0, blocks)
        if asked and asked + to.num_running > to.kv.num_free:
            return False
        self._asked[to.id] = asked
        return True
