"""Continuum: the memory of an agent is kept while its tool works, for as long as that is likely to pay."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

from headway.core.actions import Action, Wake
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Pin, RequestArrived, RequestFinished, RequestMoved, Unpin
from headway.policies.serving.pace import Pace, Shape, pairs
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import Neighbours, ServingView
from headway.policies.serving.stack import LeastLoaded
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.ttl import Progress, ToolTimes

MAX_PROGRAMS = 10_000
"""Of more programs than these the one that was silent for longest is forgotten; not all say that they have ended."""
EXPIRY = "continuum"
"""The tag of wake-ups at the end of a time to live."""


class Program:
    """A conversation of an agent: turns of a model with tools in between.

    Attributes
    ----------
    began_s : float
        When its first turn arrived.
    turns : int
        Turns that have ended.
    open : set of str
        Requests of it that have not ended.
    instance : str
        Where its turns are served.
    tool, left_s : str, float
        Which tool its last turn called, and when.
    until_s : float
        Until when its memory is kept, where it is.
    was_lost : bool
        Whether its latest turn came back and its memory had not been kept.
    """

    __slots__ = ("began_s", "instance", "left_s", "open", "tool", "turns", "until_s", "was_lost")

    def __init__(self, began_s: Seconds) -> None:
        self.began_s = began_s
        self.turns = 0
        self.open: set[Id] = set()
        self.instance: Id = ""
        self.tool = ""
        self.left_s: Seconds = 0.0
        self.until_s: Seconds = 0.0
        self.was_lost = False


class Continuum:
    """Keeps the KV memory of a session while its tool works, for a time to live that it learns, and serves by session.

    Who has memory waiting comes first, then whoever's session began first. A session stays on one instance.

    Parameters
    ----------
    ttl : str
        ``"learned"``, the paper's; ``"fixed"`` keeps everything for `fixed_ttl_s`; ``"none"`` keeps nothing, which
        leaves the order of sessions alone.
    fixed_ttl_s : float
        Time to live with ``"fixed"``, in seconds, >= 0; 2, that of the authors' preview.
    default_ttl_s : float or None
        Time to live until there are enough samples, in seconds, >= 0; None, the paper's, takes what is best if tools
        took exponential times of mean 1 s.
    min_samples : int
        So many tool times are too few, >= 0; 100, the paper's.
    max_samples : int
        So many are remembered of each tool, >= 1; 1000, this project's guess.
    queue_window : int
        Over so many returns the delay in the queue is averaged, >= 1; 100, as in re-implementations.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Li et al., "Continuum: Efficient and Robust Multi-Turn LLM Agent Scheduling with KV Cache Time-to-Live",
    2025, arXiv 2511.02230.

    Faithful to the paper: the time to live (empirical distribution of the tool's times, of all tools' while a tool has
    few, and the default; benefit Tq x eta + C), kept sessions first and then by first arrival, the guard against
    deadlock (newest sessions lose their memory first while nothing can run), the latest session as victim, sticky
    routing. Changed: C is what the pace of steps, learnt in the run, says of a prefill of the whole context, where the
    authors measure a profile offline; a kept session's pin ends when its next turn has started. Left out: sparing
    sessions on their last turn, which nobody can know before it ends; memory offloaded to the host. Open in the paper,
    and chosen here: eta is 1 until turns have been seen, and 1,000 programs are remembered. A session with several
    requests at once is kept when the last of them ends.

    Reproduced: in virtual time sessions end about twice as soon as with vLLM where its memory is too small, and the gap
    opens with load and with the number of turns, as published. Not so that the learnt time to live is better than a
    fixed one of 2 s; `headway reproduce serving/continuum` shows it, and an ablation that says why.

    Cost: O(samples) per end of a turn; O(waiting log waiting + pins) per step.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> seat, instance = Continuum(), InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> seat.reset(np.random.default_rng(0))
    >>> for name, session, at_s in (("a", "late", 5.0), ("b", "early", 6.0)):
    ...     request = Request(id=name, arrival_s=at_s, prompt_tokens=4, max_tokens=8, session=session)
    ...     instance.waiting[name] = RequestState(request)
    >>> seat.begin("early", 1.0)
    >>> [state.id for state in seat.queue(instance, 7.0)]
    ['b', 'a']
    """

    def __init__(
        self,
        *,
        ttl: Literal["learned", "fixed", "none"] = "learned",
        fixed_ttl_s: Seconds = 2.0,
        default_ttl_s: Seconds | None = None,
        min_samples: int = 100,
        max_samples: int = 1000,
        queue_window: int = 100,
    ) -> None:
        if ttl not in ("learned", "fixed", "none"):
            raise ConfigError(f"serving/continuum: ttl must be learned, fixed or none, got {ttl!r}. Try learned.")
        for name, value, least in (
            ("fixed_ttl_s", fixed_ttl_s, 0),
            ("default_ttl_s", 0 if default_ttl_s is None else default_ttl_s, 0),
            ("min_samples", min_samples, 0),
            ("max_samples", max_samples, 1),
            ("queue_window", queue_window, 1),
        ):
            if not value >= least:
                raise ConfigError(f"serving/continuum: {name} must be >= {least}, got {value}. Leave it out.")
        self.ttl = ttl
        self.fixed_ttl_s = fixed_ttl_s
        self.default_ttl_s = default_ttl_s
        self.min_samples = min_samples
        self.max_samples = max_samples
        self.queue_window = queue_window
        self._pace: Pace | None = None
        self._spread = LeastLoaded()

    def join(self, stack: Neighbours) -> None:
        """Find the pace of steps, which tells what a lost memory costs."""
        self._pace = stack.pace

    def reset(self, rng: np.random.Generator) -> None:
        """Forget all sessions and all that was learnt from them."""
        self._programs: OrderedDict[Id, Program] = OrderedDict()
        self._requests: dict[Id, RequestArrived] = {}
        self._tools = ToolTimes(self.min_samples, self.max_samples)
        self._progress = Progress(self.max_samples)
        self._queued_s: deque[Seconds] = deque(maxlen=self.queue_window)

    def begin(self, session: Id, now_s: Seconds) -> None:
        """Note a session that is new."""
        self._programs[session] = Program(now_s)
        if len(self._programs) > MAX_PROGRAMS:
            idle = next((name for name, program in self._programs.items() if not program.open), None)
            if idle is not None:
                del self._programs[idle]

    # What happens ----------------------------------------------------------------------------------------------------

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Learn from every turn; keep its memory when it ends, and let go of it when its time is over."""
        if isinstance(event, RequestArrived):
            self._arrived(event, view)
        elif isinstance(event, RequestFinished | Failed):
            arrived = self._requests.pop(event.id, None)
            if arrived is not None:
                return self._ended(arrived, event, view)
        elif isinstance(event, RequestMoved):
            arrived = self._requests.get(event.id)
            if arrived is not None:
                self._programs[arrived.work.session].instance = event.instance
        elif isinstance(event, Woke) and event.tag == EXPIRY:
            return [
                Unpin(owner=owner, instance=instance.id)
                for instance in view.instances.values()
                for owner in self._expired(instance, event.at_s)
            ]
        return ()

    def _arrived(self, event: RequestArrived, view: ServingView) -> None:
        session = event.work.session
        if not session:
            return
        if session not in self._programs:
            self.begin(session, event.at_s)
        program = self._programs[session]
        self._programs.move_to_end(session)
        if program.turns and not program.open:
            self._tools.learn(program.tool, event.at_s - program.left_s)
            place = view.instances.get(program.instance)
            program.was_lost = place is None or session not in place.kv.pins
        program.open.add(event.work.id)
        self._requests[event.work.id] = event

    def _ended(self, arrived: RequestArrived, event: RequestFinished | Failed, view: ServingView) -> list[Action]:
        session = arrived.work.session
        program = self._programs[session]
        program.open.discard(event.id)
        place = view.instances.get(program.instance)
        pinned = {i.id: Unpin(owner=session, instance=i.id) for i in view.instances.values() if session in i.kv.pins}
        goes_on = isinstance(event, RequestFinished) and bool(event.tool)
        if isinstance(event, RequestFinished):
            program.turns += 1
            if program.was_lost:
                self._queued_s.append(event.queue_s)
                program.was_lost = False
        if program.open:
            return []
        if goes_on and isinstance(event, RequestFinished) and place is not None:
            program.tool, program.left_s = event.tool, event.at_s
            context = arrived.work.prompt_tokens + event.output_tokens
            ttl_s = self.ttl_s(place, event.tool, context)
            if ttl_s > 0 and place.kv.match(arrived.work.hashes[:1]):
                program.until_s = event.at_s + ttl_s
                elsewhere = [unpin for name, unpin in pinned.items() if name != program.instance]
                return [*elsewhere, Pin(id=event.id, owner=session), Wake(program.until_s, EXPIRY)]
        elif isinstance(event, RequestFinished) and not event.tool:
            self._progress.learn(program.turns)
            del self._programs[session]
        return [*pinned.values()]

    def ttl_s(self, instance: InstanceState, tool: str, context_tokens: int) -> Seconds:
        """Return for how long the memory of a context is kept while a tool works, in seconds."""
        if self.ttl != "learned":
            return self.fixed_ttl_s if self.ttl == "fixed" else 0.0
        return self._tools.ttl_s(tool, self.benefit_s(instance, context_tokens), self.default_ttl_s)

    @property
    def eta(self) -> float:
        """How well the turns that a session has done tell how many are left, in [-1, 1]."""
        return self._progress.eta

    def benefit_s(self, instance: InstanceState, context_tokens: int) -> Seconds:
        """Return how much time a session saves if its memory is still there when it comes back, in seconds."""
        queue_s = sum(self._queued_s) / len(self._queued_s) if self._queued_s else 0.0
        return queue_s * self.eta + self._reload_s(instance, context_tokens)

    def _reload_s(self, instance: InstanceState, tokens: int) -> Seconds:
        """Return how long it takes to compute a context again."""
        if self._pace is None:
            return 0.0
        return self._pace.step_s(instance, Shape(0, 0, tokens, pairs(tokens, 0)))

    def _expired(self, instance: InstanceState, now_s: Seconds) -> list[Id]:
        """Return the owners of pins that are over: their time is, and nobody waits for them, or they run again."""
        found = []
        for owner in instance.kv.pins:
            program = self._programs.get(owner)
            if program is None:
                found.append(owner)
            elif program.open:
                if any(id_ in instance.running for id_ in program.open):
                    found.append(owner)
            elif program.until_s <= now_s:
                found.append(owner)
        return found

    # Seats -----------------------------------------------------------------------------------------------------------

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return where the session is, as long as it can stay there; for a new one, the least loaded instance."""
        program = self._programs.get(state.request.session)
        if program is None:
            return self._spread.pick(state, view)
        if all(instance.id != program.instance for instance in takers(state, view.instances.values())):
            program.instance = self._spread.pick(state, view)  # it is gone, or about to go, or too small by now
        return program.instance

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Return those who wait: first whose memory is kept, then whoever's session began first."""
        if len(instance.waiting) < 2:
            return instance.waiting.values()
        pins = instance.kv.pins
        return sorted(
            instance.waiting.values(), key=lambda state: (state.request.session not in pins, *self._age(state))
        )

    def victim(self, instance: InstanceState, running: Sequence[RequestState], now_s: Seconds) -> RequestState:
        """Return the request whose session began last."""
        return max(running, key=self._age)

    def make_room(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> None:
        """End pins that are over, and as many others as it takes for something to run."""
        for owner in self._expired(instance, now_s):
            draft.unpin(owner)
        if not instance.kv.pins or draft.num_running > 1:
            return
        if draft.num_running == 1:
            self._let_go(instance, draft, lambda: len(instance.decodes.short) > draft.free_blocks, self._until)
            return
        head = next(iter(self.queue(instance, now_s)), None)
        if head is not None:
            self._let_go(
                instance, draft, lambda: draft.cost(head, head.known_tokens)[0] > draft.free_blocks, self._began
            )

    def _let_go(
        self, instance: InstanceState, draft: InstanceDraft, lacks: Callable[[], bool], age: Callable[[Id], Seconds]
    ) -> None:
        """End pins, the latest first, until nothing is lacking."""
        for owner in sorted(instance.kv.pins, key=age, reverse=True):
            if not lacks():
                return
            if owner not in draft.unpinned:
                draft.unpin(owner)

    def _age(self, state: RequestState) -> tuple[Seconds, Seconds]:
        program, arrival_s = self._programs.get(state.request.session), state.request.arrival_s
        return (program.began_s if program is not None else arrival_s, arrival_s)

    def _until(self, owner: Id) -> Seconds:
        program = self._programs.get(owner)
        return program.until_s if program is not None else 0.0

    def _began(self, owner: Id) -> Seconds:
        program = self._programs.get(owner)
        return program.began_s if program is not None else 0.0
