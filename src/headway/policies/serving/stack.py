"""Seats put together: a `Stack` is a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from headway.core.actions import Action, Move, Reject, Wake
from headway.core.events import Changed, Event, Refused, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import ServingDraft
from headway.policies.serving.nouns import RequestArrived, StepDone
from headway.policies.serving.seats import Admit, Batch, Route, ServingView
from headway.policies.serving.state import RequestState

RETRY_S: Seconds = 0.05
"""How long after a refusal a stack tries again."""
RETRY = "retry"
"""The tag of that wake-up."""


class AdmitAll:
    """Takes every request that can fit into an instance at all."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def refusal(self, state: RequestState, view: ServingView) -> str | None:
        """Turn away only what no instance could ever hold."""
        largest = max(i.kv.num_blocks * i.kv.block_size for i in view.instances.values())
        if state.reach_tokens > largest:
            return f"it may come to {state.reach_tokens} tokens, and the largest KV memory holds {largest}"
        return None


class LeastLoaded:
    """Sends each request to the instance with the fewest requests; the first of equals."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the instance with the fewest waiting and running requests, of those that could hold this one."""
        able = [i for i in view.instances.values() if i.kv.num_blocks * i.kv.block_size >= state.reach_tokens]
        return min(able or view.instances.values(), key=lambda instance: instance.num_requests).id


class Stack:
    """A serving policy made of seats.

    A session calls it once per event. An arrival is admitted and routed; an instance that has become idle is asked for
    its next step.

    Parameters
    ----------
    batch : Batch
        Which tokens run next.
    route : Route
        Which instance serves a request; `LeastLoaded` by default.
    admit : Admit
        Whether a request is taken; `AdmitAll` by default.
    name : str
        The name in traces and reports; the batch seat's class by default.
    """

    def __init__(self, *, batch: Batch, route: Route | None = None, admit: Admit | None = None, name: str = "") -> None:
        self.batch = batch
        self.route = route or LeastLoaded()
        self.admit = admit or AdmitAll()
        self.name = name or type(batch).__name__

    def reset(self, rng: np.random.Generator) -> None:
        """Reset every seat, each with a random stream of its own."""
        seats = (self.batch, self.route, self.admit)
        for seat, stream in zip(seats, rng.spawn(len(seats)), strict=True):
            seat.reset(stream)

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Admit and route what is new; give every instance that has become idle its next step."""
        if isinstance(event, StepDone):
            return self._steps(view, (event.instance,))
        if isinstance(event, RequestArrived):
            state = view.unrouted.get(event.work.id)
            return self._take_in(state, view) if state is not None else ()
        if isinstance(event, Refused):
            return (Wake(view.now_s + RETRY_S, RETRY),)  # trying again at once would be refused again
        if isinstance(event, Changed) or (isinstance(event, Woke) and event.tag == RETRY):
            return [*self._take_next_in(view), *self._steps(view, view.instances)]
        return self._steps(view, view.instances)

    def _take_next_in(self, view: ServingView) -> Iterator[Action]:
        """Take in who has waited longest to be routed; whoever comes after must see where this one went."""
        waiting = iter(view.unrouted.values())
        state = next(waiting, None)
        if state is not None and view.instances:
            yield from self._take_in(state, view)
            if next(waiting, None) is not None:
                yield Wake(view.now_s, RETRY)

    def _take_in(self, state: RequestState, view: ServingView) -> list[Action]:
        if not view.instances:
            return []  # they are all down; it is taken in when one comes back
        refusal = self.admit.refusal(state, view)
        if refusal:
            return [Reject(state.id, refusal)]
        instance = self.route.pick(state, view)
        if view.instances[instance].busy:
            return [Move(state.id, instance)]
        # Its step is formed once the move is visible, and with all that arrives at the same instant.
        return [Move(state.id, instance), Wake(view.now_s, "form")]

    def _steps(self, view: ServingView, instances: Iterable[Id]) -> list[Action]:
        actions: list[Action] = []
        draft: ServingDraft | None = None
        for id_ in instances:
            instance = view.instances.get(id_)
            if instance is None or instance.busy or not instance.num_requests:
                continue
            draft = draft or view.draft()
            part = draft.on(id_)
            step = self.batch.form(instance, part, view.now_s)
            actions += part.actions
            if step is not None:
                actions.append(step)
            elif part.actions:  # it made room and found no use for it: no later event would bring the turn back
                actions.append(Wake(view.now_s + RETRY_S, RETRY))
        return actions
