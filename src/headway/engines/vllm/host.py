"""The host: keeps the books of one vLLM engine and asks the policy what its next step is to compute.

vLLM calls, the host answers. `plan` is asked for before every step, `settle` hears what vLLM made of the plan, and
`ran` hears when a step's outcome is there. With asynchronous scheduling vLLM asks for a step while the one before it
is still computed; that one is then taken as run, and the policy is told how long it took one step later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from headway.core.actions import Action, Preempt, Reject, Start, Wake
from headway.core.alarms import Alarms
from headway.core.clock import Clock
from headway.core.drivers import tell
from headway.core.events import Event, Failed, Woke
from headway.core.nouns import Id, Seconds
from headway.core.policy import Policy
from headway.core.session import Session
from headway.core.trace import TraceSink
from headway.engines.vllm import amending
from headway.engines.vllm.facts import Facts
from headway.engines.vllm.patience import Patience
from headway.engines.vllm.plan import Plan, Run
from headway.engines.vllm.recording import record
from headway.engines.vllm.settings import CAN, Settings
from headway.engines.vllm.under_way import UnderWay
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.adapters import Adapters
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.memory import remember
from headway.policies.serving.nouns import DoorOpen, Pin, Request, RequestArrived, Step, StepDone, Unpin
from headway.policies.serving.stack import RETRY, Stack
from headway.policies.serving.state import InstanceState
from headway.policies.serving.vllm import Vllm

INSTANCE = "vllm"
FLUSH_S: Seconds = 1.0
"""The trace is written out at least so often while requests run."""
MAX_ROUNDS = 100
"""So often is a policy woken at one instant; who asks for more is woken before the next step."""


class Keeper(Protocol):
    """Holds blocks of vLLM's own memory in the name of an owner."""

    def keep(self, owner: Id, request: Id, num_blocks: int) -> None:
        """Hold the first blocks of a request that runs or has just ended."""

    def let_go(self, owner: Id) -> None:
        """Let go of them."""


class Host:
    """Keeps the books of one vLLM engine, and asks the policy.

    Parameters
    ----------
    settings : Settings
        Promises, seed and trace.
    policy : Policy
        Who decides.
    facts : Facts
        What is known of the engine.
    clock : Clock
        Real time.
    keeper : Keeper
        Holds what the policy pins.
    trace : TraceSink or None
        Where the conversation is written; by default the file that the settings name, if any.

    Attributes
    ----------
    board : ServingBoard
        What policies see.
    session : Session
        The only caller of the policy.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Policy[ServingBoard],
        facts: Facts,
        clock: Clock,
        keeper: Keeper,
        trace: TraceSink | None = None,
    ) -> None:
        kv = BlockPool(facts.num_blocks, facts.block_size, facts.caching)
        self.instance = InstanceState(INSTANCE, kv, facts.num_layers, facts.max_seqs)
        if facts.max_adapters:
            self.instance.adapters = Adapters(facts.max_adapters)
        self.board = ServingBoard([self.instance], CAN, settings.slo_classes)
        self._file = record(settings, facts)
        self._flushed_s: Seconds = 0.0
        self.session = Session(
            policy,
            self.board,
            seed=settings.seed,
            accounts=RequestAccounts(settings.slo_classes),
            trace=trace or self._file,
            fallback=Stack(batch=Vllm()),
        )
        self._decider = self.session.policy
        self._max_tokens, self._max_seqs = facts.max_tokens, facts.max_seqs
        self._clock = clock
        self._keeper = keeper
        self._alarms = Alarms()
        self._todo: deque[Callable[[], Event | None]] = deque()
        self._plan = Plan()
        self._steps = UnderWay(self.board, self.instance)
        self._new: dict[Id, None] = {}  # started on the board, but in no step yet
        self._again = Plan()
        self._patience = Patience()

    # What vLLM says --------------------------------------------------------------------------------------------------

    def arrive(self, request: Request, later_hashes: Sequence[int] = ()) -> None:
        """Take a new request in; `later_hashes` will hold the hashes of the blocks that its output fills."""
        self._todo.append(partial(self._arrive, request, later_hashes))

    def end(self, request: Id, reason: str, output_tokens: int, tool: str = "") -> None:
        """Hear that a request has ended in vLLM.

        Parameters
        ----------
        request : str
            Its id.
        reason : str
            ``"stop"``, ``"length"``, ``"cancelled"`` or ``"error"``.
        output_tokens : int
            How many tokens it was given, >= 0.
        tool : str
            The tool that its output calls.
        """
        self._todo.append(partial(self._end, request, reason, output_tokens, tool, self._clock.now_s()))

    def lose(self, request: Id) -> None:
        """Hear that vLLM itself has taken the memory of a running request, which waits again."""
        state = self.board.requests.get(request)
        if state is None or request not in self.instance.running:
            return
        run = self._steps.run
        if run is not None and request in run.tokens:
            self._steps.cut(run, request, 0)
        self._new.pop(request, None)
        self.board.requeue(state)
        self._refuse(_start(request), "vLLM has taken its memory back")

    def plan(self) -> Plan:
        """Return what vLLM is to do now."""
        now_s = self.board.now_s = self._clock.now_s()
        if self._goes_on(now_s):
            return self._again
        self._plan = plan = Plan()
        self._patience.begin()
        before = self._steps.run
        self._hear()
        if before is not None:  # while it was under way, no other could begin
            self._steps.conclude(before, now_s)
        self._hear_durations(is_open=before is not None)
        self._hear()
        self._listen_for_silence()
        if self._file is not None and (now_s > self._flushed_s + FLUSH_S or not self.board.requests):
            self._file.flush()  # vLLM may be ended without a word
            self._flushed_s = now_s
        return plan

    def settle(self, plan: Plan, done: Mapping[Id, int], num_done: int, found: Mapping[Id, int]) -> Run | None:
        """Hear what vLLM made of a plan; returns the run to be named to `ran`, or None when it computes nothing.

        Parameters
        ----------
        plan : Plan
            The latest.
        done : mapping of str to int
            How many tokens of whom it computes.
        num_done : int
            In total.
        found : mapping of str to int
            By request that was started, how many of its tokens were in the cache.
        """
        run = plan.run
        if run is None:
            return None
        self._allow_starts()
        for request, computed_tokens in found.items():
            amending.find(self.instance, self.board.requests[request], computed_tokens, done[request])
        for request in plan.starts:
            if request in found:
                self._new.pop(request, None)
        if num_done != run.num_tokens:
            self._mend(run, plan, done)
        if not run.tokens:
            self._give_up(run)
            return None
        run.num_runs += 1
        return run

    def ran(self, run: Run, step_s: Seconds) -> None:
        """Hear that the outcome of a run is there, after `step_s` seconds."""
        self._steps.hear(run, step_s, self._clock.now_s())

    def close(self) -> None:
        """End the session, and with it the trace."""
        self.session.close()

    # Events ----------------------------------------------------------------------------------------------------------

    def _arrive(self, request: Request, later_hashes: Sequence[int]) -> Event:
        self.board.add(request).later_hashes = later_hashes
        return RequestArrived(at_s=self.board.now_s, work=request)

    def _end(self, request: Id, reason: str, output_tokens: int, tool: str, last_s: Seconds) -> Event | None:
        state = self.board.requests.get(request)
        if state is None:
            return None
        self._new.pop(request, None)
        if state.instance and request not in self.instance.waiting:
            remember(self.instance, state)
        told = self.board.finish(request, reason, self.board.now_s, tool if reason in ("stop", "length") else "")
        if reason == "error":
            return Failed(at_s=told.at_s, id=request, why="vLLM ended it with an error")
        # The books may be a token ahead of what its sender was given.
        arrival_s = state.request.arrival_s
        e2e_s = last_s - arrival_s
        tpot_s = (e2e_s - told.ttft_s) / (output_tokens - 1) if output_tokens > 1 else 0.0
        return replace(told, output_tokens=output_tokens, e2e_s=e2e_s, tpot_s=max(0.0, tpot_s))

    def _refuse(self, action: Action, why: str) -> None:
        """Tell the policy of something that vLLM did not do, or has undone."""
        self._steps.changed = True
        refused = self.session.refuse(action, why, self.board.now_s)
        self._todo.append(lambda: replace(refused, at_s=self.board.now_s))

    def _hear(self) -> None:
        """Tell of all that has happened, and ring the alarms that are due."""
        for _ in range(MAX_ROUNDS):
            while self._todo:
                event = self._todo.popleft()()
                if event is not None:
                    self._tell(event)
            tags = self._alarms.due(self.board.now_s)
            if not tags:
                return
            for tag in tags:
                if self._patience.is_over(len(self.board.requests)):
                    self._give_over("woke itself without end")
                    break
                self._tell(Woke(at_s=self.board.now_s, tag=tag))

    def _tell(self, event: Event) -> None:
        tell(self.session, event, self._apply)
        if self.session.policy is not self._decider:
            self._take_over()

    def _take_over(self) -> None:
        """Let the fallback take in whom its predecessor held back; what that kept in memory, nobody would let go of."""
        self._decider = self.session.policy
        for owner in list(self.instance.kv.pins):
            self.instance.kv.unpin(owner)
            self._keeper.let_go(owner)
        self._tell(Woke(at_s=self.board.now_s, tag=RETRY))

    def _give_over(self, why: str) -> None:
        """Let the fallback decide from now on."""
        self._alarms = Alarms()
        self.session.abandon(why)
        self._take_over()

    def _listen_for_silence(self) -> None:
        """Let the fallback decide where the policy has left requests waiting for nothing."""
        waits = self._steps.is_nothing and bool(self.board.requests)
        if self._patience.is_out(self.board.now_s, waits=waits, has_alarm=self._alarms.next_s is not None):
            self._give_over(f"left {len(self.board.requests)} requests waiting for nothing")

    # Actions ---------------------------------------------------------------------------------------------------------

    def _apply(self, action: Action) -> str | None:
        if isinstance(action, Wake):
            self._alarms.set(action)
            return None
        why = self.board.apply(action)
        if why is None:
            self._carry_out(action)
        return why

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Step):
            self._begin(action)
        elif isinstance(action, Start):
            self._new[action.id] = None
        elif isinstance(action, Preempt):
            if action.id in self._new:  # vLLM has not heard of it yet
                del self._new[action.id]
            else:
                self._plan.preempts.append(action.id)
        elif isinstance(action, Reject):
            self._plan.turned.append((action.id, action.why, action.retry_after_s))
            self._todo.append(lambda: Failed(at_s=self.board.now_s, id=action.id, why=action.why))
        elif isinstance(action, Pin):
            self._keeper.keep(action.owner, action.id, len(self.instance.kv.pins[action.owner]))
        elif isinstance(action, Unpin):
            self._keeper.let_go(action.owner)

    def _begin(self, step: Step) -> None:
        run = self._plan.run = self._steps.begin(step)
        if run.num_tokens > self._max_tokens:
            self._fit(run)
        if self._new:
            self._plan.starts = [request for request in self._new if request in run.tokens]

    def _fit(self, run: Run) -> None:
        """Cut a step to what vLLM computes at once, the last pieces first: decodes come before them, and stay whole."""
        for piece in reversed(run.step.pieces):
            over = run.num_tokens - self._max_tokens
            if over <= 0:
                return
            tokens = max(1, piece.tokens - over)
            if tokens < piece.tokens:
                self._steps.cut(run, piece.request, tokens)

    def _goes_on(self, now_s: Seconds) -> bool:
        """Run the step under way once more, if its policy wants that and nothing has happened; says whether it does."""
        alarm_s = self._alarms.next_s
        if self._todo or (alarm_s is not None and alarm_s <= now_s) or not self._steps.goes_on(now_s):
            return False
        self._again.run = self._steps.run
        return True

    def _hear_durations(self, *, is_open: bool) -> None:
        """Tell how long steps took, as far as that is known; `is_open` says whether the instance has become idle."""
        for run in self._steps.heard():
            self._tell(self._done(run))
            is_open = False
        if is_open:
            self._tell(DoorOpen(at_s=self.board.now_s, instance=INSTANCE))

    def _done(self, run: Run) -> Event:
        return StepDone(
            at_s=self.board.now_s,
            instance=INSTANCE,
            step_s=run.took_s,
            num_tokens=run.num_computed,
            num_runs=run.num_runs,
        )

    # What vLLM did not do --------------------------------------------------------------------------------------------

    def _mend(self, run: Run, plan: Plan, done: Mapping[Id, int]) -> None:
        for request, tokens in list(run.tokens.items()):
            num = done.get(request, 0)
            if num < tokens:
                self._steps.cut(run, request, num)
                if not num:
                    self._leave_out(request, is_new=request in plan.starts)

    def _leave_out(self, request: Id, *, is_new: bool) -> None:
        """Book that vLLM computes nothing of a request that was in the step."""
        state = self.board.requests.get(request)
        if state is None:
            return
        if is_new:
            self._new.pop(request, None)
            amending.put_back(self.board, request)
            # Until a step has run without it: a policy that prefers starts to all else would try for ever.
            self.instance.max_running = self.instance.num_running or self._max_seqs
            self._refuse(_start(request), "vLLM could not start it now")
        elif state.output_tokens >= state.request.max_tokens:
            amending.rest(self.instance, state)  # its last token is under way
        else:
            self._steps.changed = True

    def _give_up(self, run: Run) -> None:
        """Book that vLLM computes nothing at all of a step, or nothing of one more run of it."""
        if run.num_runs:
            self._steps.changed = True
            return
        self._steps.give_up(run)
        self._refuse(run.step, "vLLM could run none of it now")
        if self.instance.num_running:
            self._todo.append(lambda: DoorOpen(at_s=self.board.now_s, instance=INSTANCE))

    def _allow_starts(self) -> None:
        """Let requests start again, now that a step has been handed over after some could not."""
        if self.instance.max_running < self._max_seqs:
            self.instance.max_running = self._max_seqs
            self._steps.changed = True  # its policy would have started some


def _start(request: Id) -> Start:
    return Start(request, {INSTANCE: {}})
