"""Fine-tuning beside serving: any serving policy, and a seat that says what fine-tuning may have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from msgspec.structs import replace

from headway.core.actions import Action, Move, Set, Start, Wake
from headway.core.events import Changed, Event, Failed, Refused, Woke
from headway.core.nouns import Id, Seconds
from headway.core.policy import Policy
from headway.policies.serving.jobs import TUNE_BLOCKS, JobState
from headway.policies.serving.nouns import JobArrived, JobFinished, Step, StepDone
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.apart import SetsApart, without
from headway.policies.tuning.lent_memory import LentMemory
from headway.policies.tuning.share import Share

TAG = "tuning"
"""Of the wake-ups that are ours."""
AGAIN_S: Seconds = 0.05
"""How long after nothing could be done it is looked again."""


class Beside:
    """A serving policy with fine-tuning beside it.

    The serving policy decides as if it were alone. The steps that it asks for are then given units of fine-tuning to
    carry, instances that have nothing to serve may run units alone, and memory that serving leaves free is lent. A job
    is placed where the fewest are; of several at one instance, the one that was trained least goes on after a
    microbatch.

    Parameters
    ----------
    policy : Policy
        Who serves.
    share : Share
        How much fine-tuning may have.
    memory : LentMemory
        How much memory it may have.
    name : str
        In traces and reports.
    """

    def __init__(
        self, *, policy: Policy[ServingView], share: Share, memory: LentMemory | None = None, name: str = ""
    ) -> None:
        self.policy = policy
        self.share = share
        self.memory = memory or LentMemory()
        self.name = name or type(share).__name__
        self._waits_until_s: Seconds = -1.0
        self._ids: set[Id] = set()
        self._owed: set[Id] = set()  # instances whose step under way the share seat knows of, and is told the end of
        self._sets_apart = share if isinstance(share, SetsApart) else None

    def reset(self, rng: np.random.Generator) -> None:
        """Reset both, with random streams of their own."""
        first, second = rng.spawn(2)
        self._waits_until_s = -1.0
        self._ids = set()
        self._owed = set()
        self.policy.reset(first)
        self.share.reset(second)

    @property
    def foretells(self) -> bool:
        """Whether the serving policy decides by true lengths."""
        return bool(getattr(self.policy, "foretells", False))

    def foretell(self, ask: Callable[[Id], int]) -> None:
        """Hand a function that tells true lengths to the serving policy, if it may know them."""
        if hasattr(self.policy, "foretell"):
            self.policy.foretell(ask)

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Let serving decide, then see what is left for fine-tuning."""
        serving = self._serving_view(view)
        if not view.jobs and not self._owed and not self._concerns_us(event):
            return self.policy.decide(event, serving)
        self._note(event, view)
        held = {state.instance for state in view.jobs.values() if state.under_way}  # until its units are over
        free = [instance for instance in view.instances.values() if instance.id not in held]
        taken = [s for instance in free if (s := self.memory.take_back(instance)) is not None]
        actions = [self._carried(action, view, taken) for action in self.policy.decide(self._told(event), serving)]
        taken = taken or self._waited_for(view, free, actions)
        if taken:  # serving looks again, now that it has the memory
            return [*taken, *actions, Wake(view.now_s, TAG)]
        actions += self._placed(view)
        actions += self._lent(view, actions)
        actions += self._filled(view, actions)
        return actions

    # What is told to whom --------------------------------------------------------------------------------------------

    def _serving_view(self, view: ServingView) -> ServingView:
        """Return what serving sees: everything but what is set apart."""
        if self._sets_apart is None:
            return view
        apart = self._sets_apart.trains_at(view)
        return without(view, apart) if apart else view

    def _concerns_us(self, event: Event) -> bool:
        if isinstance(event, JobArrived | JobFinished):
            return True
        return (isinstance(event, Woke) and event.tag == TAG) or (isinstance(event, Failed) and event.id in self._ids)

    def _told(self, event: Event) -> Event:
        """Return what serving is told of an event: what is not about it just gives it an occasion to act."""
        alone = isinstance(event, StepDone) and event.tune_s > 0 and not event.num_tokens
        return Woke(at_s=event.at_s, tag="form") if alone or self._concerns_us(event) else event

    def _note(self, event: Event, view: ServingView) -> None:
        if isinstance(event, JobArrived):
            self._ids.add(event.work.id)
        if isinstance(event, Woke) and event.tag == TAG and event.at_s >= self._waits_until_s:
            self._waits_until_s = -1.0
        self.share.hear(event, view)
        if isinstance(event, StepDone):
            self._owed.discard(event.instance)
        elif isinstance(event, Refused) and event.action == "Step":
            self._owed.discard(event.id)
        elif isinstance(event, Changed) and not event.up:
            self._owed.discard(event.resource.id)

    # What is done ----------------------------------------------------------------------------------------------------

    def _carried(self, action: Action, view: ServingView, taken: Sequence[Action]) -> Action:
        """Return an action of serving; a step may carry a unit, and is then run once."""
        if not isinstance(action, Step) or action.tune:
            return action
        instance = view.instances[action.instance]
        job = None if taken else ready_job(instance, view)
        if job is None:
            return action
        step = self.share.carry(action, instance, job, view)
        self._owed.add(instance.id)
        return replace(step, repeat=1) if step.repeat > 1 else step  # the next one may carry something

    def _placed(self, view: ServingView) -> list[Action]:
        """Place jobs that wait, each where the fewest are."""
        able = [i for i in view.instances.values() if not i.draining and i.num_stages == 1 and i.num_lanes == 1]
        if self._sets_apart is not None:
            apart = self._sets_apart.trains_at(view)
            able = [instance for instance in able if instance.id in apart]
        waiting = [state for state in view.jobs.values() if not state.instance]
        if not able or not waiting or "tune" not in view.can:
            return []
        num = {i.id: sum(state.instance == i.id for state in view.jobs.values()) for i in able}
        moves: list[Action] = []
        for state in waiting:
            to = min(num, key=lambda name: num[name])
            num[to] += 1
            moves.append(Move(state.id, to))
        return [*moves, Wake(view.now_s, TAG)]

    def _waited_for(self, view: ServingView, free: Sequence[InstanceState], actions: Sequence[Action]) -> list[Set]:
        """Take memory back where serving starts nothing for those who wait: it may be what they wait for."""
        concerned = _concerned(actions)
        lends = [instance for instance in free if instance.tune_blocks]
        return [Set(TUNE_BLOCKS, 0, of=i.id) for i in lends if self._is_held_up(i, concerned, view)]

    def _is_held_up(self, instance: InstanceState, concerned: Collection[Id], view: ServingView) -> bool:
        waits = instance.num_requests or (view.unrouted and self._sets_apart is None)
        return bool(waits) and not instance.busy and instance.id not in concerned

    def _lent(self, view: ServingView, actions: Sequence[Action]) -> list[Action]:
        """Lend memory where jobs need some."""
        lent: list[Action] = []
        concerned = _concerned(actions)
        carrying = {action.instance for action in actions if isinstance(action, Step) and action.tune}
        for instance in view.instances.values():
            jobs = [state for state in view.jobs.values() if state.instance == instance.id]
            if not jobs or instance.id in carrying or any(state.under_way for state in jobs):
                continue
            if self._is_held_up(instance, concerned, view):
                continue
            growth = instance.kv.blocks_for(sum(_most_tokens(action, instance, view) for action in actions))
            found = self.memory.lend(instance, jobs, growth)
            if found is not None:
                lent += [found, Wake(view.now_s, TAG)]
        return lent

    def _filled(self, view: ServingView, actions: Sequence[Action]) -> list[Action]:
        """Let units run alone where there is nothing to serve; look again later where none can now."""
        concerned = _concerned(actions)
        steps: list[Action] = []
        is_stuck = False
        for instance in view.instances.values():
            if instance.busy or instance.num_requests or instance.id in concerned:
                continue
            job = ready_job(instance, view)
            step = self.share.fill(instance, job, view) if job is not None else None
            if step is not None:
                steps.append(step)
                self._owed.add(instance.id)
            is_stuck |= step is None and any(state.instance == instance.id for state in view.jobs.values())
        if is_stuck and not steps and self._waits_until_s <= view.now_s:
            self._waits_until_s = view.now_s + AGAIN_S
            steps.append(Wake(self._waits_until_s, TAG))
        return steps


def ready_job(instance: InstanceState, view: ServingView) -> JobState | None:
    """Return the job that goes on at an instance, of those that have their memory.

    It is the one with a microbatch under way, else the one trained least.
    """
    here = [s for s in view.jobs.values() if s.instance == instance.id and not s.under_way and not s.is_done]
    able = [state for state in here if len(instance.tune_blocks) >= state.job.kv_blocks]
    amid = [state for state in able if not state.is_between]
    return amid[0] if amid else min(able, key=lambda state: state.trained_tokens, default=None)


def _concerned(actions: Iterable[Action]) -> set[Id]:
    return {where for action in actions for where in _places(action)}


def _places(action: Action) -> tuple[Id, ...]:
    """Return the instances that an action gives something to do."""
    if isinstance(action, Step):
        return (action.instance,)
    if isinstance(action, Move):
        return (action.to,)
    return tuple(action.on) if isinstance(action, Start) else ()


def _most_tokens(action: Action, instance: InstanceState, view: ServingView) -> int:
    """Return for how many tokens more an action takes memory of an instance."""
    if isinstance(action, Start) and instance.id in action.on:
        state = view.requests.get(action.id)
        known = state.known_tokens if state is not None else 0
        return int(action.on[instance.id].get("kv_tokens", known)) + instance.kv.block_size
    return action.num_tokens if isinstance(action, Step) and action.instance == instance.id else 0
