"""Seats put together: a `Stack` is a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import numpy as np

from headway.core.actions import Action, Move, Reject, Set, Wake
from headway.core.events import Changed, Event, Refused, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft, ServingDraft
from headway.policies.serving.lengths import MostTokens
from headway.policies.serving.nouns import RequestArrived, Step, StepDone
from headway.policies.serving.pace import Pace
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import Admit, Batch, Evict, Order, Predict, Route, Seat, ServingView, Steer
from headway.policies.serving.state import InstanceState, RequestState

RETRY_S: Seconds = 0.05
"""How long after a refusal a stack tries again."""
RETRY = "retry"
"""The tag of that wake-up."""
SEATS = ("admit", "route", "order", "batch", "evict", "predict", "migrate", "place", "scale", "power")
"""The seats of a `Stack`, by name."""


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
        return min(takers(state, view.instances.values()), key=lambda instance: instance.num_requests).id


class Stack:
    """A serving policy made of seats.

    A session calls it once per event. Seats that steer act first; an arrival is admitted and routed; an instance that
    has become idle is asked for its next step.

    Parameters
    ----------
    batch : Batch
        Which tokens run next.
    route : Route
        Which instance serves a request; `LeastLoaded` by default.
    admit : Admit
        Whether a request is taken; `AdmitAll` by default.
    order : Order or None
        Who starts first; first come, first served by default.
    evict : Evict or None
        What gives way when memory is short; the latest request by default.
    predict : Predict
        How long outputs will be; `MostTokens` by default.
    migrate, place, scale, power : Steer or None
        Who moves requests that run, places adapters and models, decides how many instances there are, and limits power.
    name : str
        The name in traces and reports; the batch seat's class by default.
    """

    def __init__(
        self,
        *,
        batch: Batch,
        route: Route | None = None,
        admit: Admit | None = None,
        order: Order | None = None,
        evict: Evict | None = None,
        predict: Predict | None = None,
        migrate: Steer | None = None,
        place: Steer | None = None,
        scale: Steer | None = None,
        power: Steer | None = None,
        name: str = "",
    ) -> None:
        self.batch = batch
        self.route = route or LeastLoaded()
        self.admit = admit or AdmitAll()
        self.order = order
        self.evict = evict
        self.predict = predict or MostTokens()
        self.migrate = migrate
        self.place = place
        self.scale = scale
        self.power = power
        self.name = name or type(batch).__name__
        self._pace: Pace | None = None
        self._steering: list[Steer] = []
        self._knows_lanes = bool(getattr(batch, "knows_lanes", False))

    @property
    def pace(self) -> Pace:
        """How long steps take, as learnt in this run; it learns from the moment when a seat has asked for it."""
        if self._pace is None:
            self._pace = Pace()
        return self._pace

    @property
    def seats(self) -> list[Seat]:
        """Who sits here, each once, whatever the number of their seats."""
        found = [getattr(self, name) for name in SEATS]
        return list({id(seat): seat for seat in found if seat is not None}.values())

    def reset(self, rng: np.random.Generator) -> None:
        """Let the seats meet, and reset each of them, with a random stream of its own."""
        self._pace = None
        seats = self.seats
        for seat in seats:
            if hasattr(seat, "join"):
                seat.join(self)
        for seat, stream in zip(seats, rng.spawn(len(seats)), strict=True):
            seat.reset(stream)
        self._steering = [cast(Steer, seat) for seat in seats if hasattr(seat, "steer")]

    @property
    def foretells(self) -> bool:
        """Whether one of the seats decides by true lengths."""
        return any(getattr(seat, "foretells", False) for seat in self.seats)

    def foretell(self, ask: Callable[[Id], int]) -> None:
        """Hand a function that tells true lengths to the seats that may know them."""
        for seat in self.seats:
            if hasattr(seat, "foretell"):
                seat.foretell(ask)

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Admit and route what is new; give every instance that has become idle its next step."""
        if self._pace is not None:
            self._learn(self._pace, event)
        if not self._steering:
            # Most events by far are ends of steps.
            return self._steps(view, (event.instance,)) if isinstance(event, StepDone) else self._answer(event, view)
        actions = [action for seat in self._steering for action in seat.steer(event, view)]
        if all(isinstance(action, Wake) for action in actions):
            return [*actions, *self._answer(event, view)]
        # Steps are formed once what was steered is visible, and requests routed once it is clear where they can go.
        scales = any(isinstance(action, Set) for action in actions)
        if isinstance(event, Refused) or (isinstance(event, RequestArrived) and not scales):
            return [*actions, *self._answer(event, view), Wake(view.now_s, "form")]
        is_to_route = isinstance(event, RequestArrived | Changed) or (isinstance(event, Woke) and event.tag == RETRY)
        return [*actions, Wake(view.now_s, RETRY if is_to_route else "form")]

    def _answer(self, event: Event, view: ServingView) -> Iterable[Action]:
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

    def _learn(self, pace: Pace, event: Event) -> None:
        if isinstance(event, StepDone):
            pace.hear(event)
        elif isinstance(event, Changed):
            pace.forget_steps(event.resource.id)
        elif isinstance(event, Refused) and event.action == "Step":
            pace.take_back(event.id)

    def _take_next_in(self, view: ServingView) -> Iterator[Action]:
        """Take in who has waited longest to be routed; whoever comes after must see where this one went."""
        waiting = iter(view.unrouted.values())
        state = next(waiting, None)
        if state is not None and _takes_some(view):
            taken = self._take_in(state, view)
            yield from taken
            if taken and next(waiting, None) is not None:
                yield Wake(view.now_s, RETRY)

    def _take_in(self, state: RequestState, view: ServingView) -> list[Action]:
        if not _takes_some(view):
            return []  # they are all down or about to be; it is taken in when one comes back
        refusal = self.admit.refusal(state, view)
        if refusal:
            return [refusal if isinstance(refusal, Reject) else Reject(state.id, refusal)]
        instance = self.route.pick(state, view)
        if not instance:
            return []  # whoever holds it back moves it later
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
            if instance.num_under_way and not self._knows_lanes:
                continue
            draft = draft or view.draft()
            part = draft.on(id_)
            if self.order is None and self.evict is None and self._pace is None:
                step = self.batch.form(instance, part, view.now_s)
            else:
                step = self._form(instance, part, view.now_s)
            actions += part.actions
            if step is not None:
                actions.append(step)
            elif part.actions:  # it made room and found no use for it: no later event would bring the turn back
                actions.append(Wake(view.now_s + RETRY_S, RETRY))
        return actions

    def _form(self, instance: InstanceState, part: InstanceDraft, now_s: Seconds) -> Step | None:
        if self.order is not None:
            part.queue = self.order.queue(instance, now_s)
        if self.evict is not None:
            part.evict, part.now_s = self.evict, now_s
            self.evict.make_room(instance, part, now_s)
        if self._pace is None:
            return self.batch.form(instance, part, now_s)
        step = self.batch.form(instance, part, self._pace.start_s(instance, now_s))
        if step is not None:
            self._pace.note(instance, step)
        return step


def _takes_some(view: ServingView) -> bool:
    for instance in view.instances.values():  # noqa: SIM110 (the quicker way, and it is asked at every arrival)
        if not instance.draining:
            return True
    return False
