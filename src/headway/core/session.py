"""The session: the only caller of a policy."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from headway.core.actions import Action
from headway.core.errors import IllegalAction, PolicyFailed
from headway.core.events import Event, Refused
from headway.core.policy import Policy
from headway.core.quantiles import Quantiles
from headway.core.report import Report
from headway.core.slo import SloLedger
from headway.core.trace import TraceSink
from headway.core.view import View

V = TypeVar("V", bound=View)

log = logging.getLogger(__name__)

MAX_REFUSALS_PER_EVENT = 100
"""After so many refusals following one event the policy is not told of more, so that it cannot spin for ever."""


class Instrument(Protocol):
    """Somebody who listens to a session. One that raises is logged and removed; the run goes on.

    It may have an attribute `hears`, a tuple of event types; it is then told of these alone.
    """

    def on_event(self, event: Event) -> None:
        """Hear of one event, after the policy has answered it."""


class Accounts(Instrument, Protocol):
    """An instrument that keeps the family's metrics."""

    ledger: SloLedger


class Session(Generic[V]):
    """Feeds events to a policy, checks and times its answers, keeps the accounts and writes the trace.

    Parameters
    ----------
    policy : Policy
        Who decides. It is reset here, with a generator of its own.
    view : View
        What it may see.
    seed : int
        Of the run; the policy's random stream is spawned from it.
    accounts : Accounts or None
        The family's metrics and objectives.
    instruments : sequence of Instrument
        Who else listens.
    trace : TraceSink or None
        Where events and actions are written.
    fallback : Policy or None
        Who decides from then on when `policy` raises or answers nonsense. Without one the session raises
        `PolicyFailed`.
    strict : bool
        Whether a refused action raises `IllegalAction` instead of coming back as a `Refused` event.
    """

    def __init__(
        self,
        policy: Policy[V],
        view: V,
        *,
        seed: int = 0,
        accounts: Accounts | None = None,
        instruments: Sequence[Instrument] = (),
        trace: TraceSink | None = None,
        fallback: Policy[V] | None = None,
        strict: bool = False,
    ) -> None:
        self.policy = policy
        self.view = view
        self.seed = seed
        self.strict = strict
        self.accounts = accounts
        self.num_events = 0
        self.num_actions = 0
        self.refused: Counter[str] = Counter()
        self._fallback = fallback
        self._trace = trace
        self._decide_s = Quantiles()
        self._listeners: list[Instrument] = ([accounts] if accounts else []) + list(instruments)
        self._told: dict[type[Event], list[Instrument]] = {}  # who hears of which kind of event
        self._first_s = self._last_s = 0.0
        policy.reset(policy_stream(seed))
        if fallback is not None:
            fallback.reset(policy_stream(seed))

    def feed(self, event: Event) -> Sequence[Action]:
        """Give one event to the policy and return its checked answer, in order."""
        if self._trace is not None:
            self._trace.write(event)
        start_s = time.perf_counter()
        actions = self._decide(event)
        self._decide_s.add(time.perf_counter() - start_s)
        self._count(event, actions)
        return actions

    def refuse(self, action: Action, why: str, at_s: float) -> Refused:
        """Note that an executor could not carry out `action`; returns the event that tells the policy."""
        if self.strict:
            raise IllegalAction(f"{name_of(self.policy)}: {type(action).__name__} {action.subject!r} refused: {why}.")
        self.refused[why] += 1
        return Refused(at_s=at_s, action=type(action).__name__, id=action.subject, why=why)

    def abandon(self, why: str) -> None:
        """Let the fallback decide from now on, for a reason that the executor sees.

        Raises
        ------
        PolicyFailed
            When there is no fallback, or it decides already.
        """
        if self._fallback is None:
            raise PolicyFailed(f"{name_of(self.policy)}: {why}")
        log.error("%s: %s. %s decides from now on.", name_of(self.policy), why, name_of(self._fallback))
        self.policy, self._fallback = self._fallback, None

    def report(self) -> Report:
        """Sum up what went through so far."""
        ledger = self.accounts.ledger if self.accounts else SloLedger()
        spent = self._decide_s
        return Report(
            policy=name_of(self.policy),
            seed=self.seed,
            duration_s=self._last_s - self._first_s,
            num_events=self.num_events,
            num_actions=self.num_actions,
            num_refused=sum(self.refused.values()),
            refused=dict(self.refused),
            decide_s={"mean": spent.mean, "p50": spent.at(0.5), "p99": spent.at(0.99), "max": spent.max},
            numbers=ledger.numbers(),
            slos=ledger.rows(),
        )

    def close(self) -> Report:
        """End the session: close the trace and sum up."""
        if self._trace is not None:
            self._trace.close()
        return self.report()

    def _decide(self, event: Event) -> list[Action]:
        try:
            actions = list(self.policy.decide(event, self.view))
            for action in actions:
                if not isinstance(action, Action):
                    raise TypeError(f"an answer must be an action, got {action!r}")
        except Exception as error:
            return self._recover(event, error)
        return actions

    def _recover(self, event: Event, error: Exception) -> list[Action]:
        name = name_of(self.policy)
        failure = f"{name}: failed on {type(event).__name__} at {event.at_s:.6f} s: {type(error).__name__}: {error}"
        if self._fallback is None:
            raise PolicyFailed(failure) from error
        log.exception("%s. %s decides from now on.", failure, name_of(self._fallback))
        self.policy, self._fallback = self._fallback, None
        return self._decide(event)

    def _count(self, event: Event, actions: list[Action]) -> None:
        if not self.num_events:
            self._first_s = event.at_s
        self._last_s = event.at_s
        self.num_events += 1
        self.num_actions += len(actions)
        if self._trace is not None:
            for action in actions:
                self._trace.write(action)
        kind = type(event)
        told = self._told.get(kind)
        if told is None:
            told = self._told[kind] = [who for who in self._listeners if issubclass(kind, getattr(who, "hears", Event))]
        for listener in told:
            try:
                listener.on_event(event)
            except Exception:
                log.exception("%s raised and is removed from the session", type(listener).__name__)
                self._listeners = [other for other in self._listeners if other is not listener]
                self._told = {}


def policy_stream(seed: int) -> np.random.Generator:
    """Return the policy's own random stream of a run, apart from those of arrivals and truth."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[2])


def arrival_stream(seed: int) -> np.random.Generator:
    """Return the random stream from which a run's arrivals are drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0])


def truth_stream(seed: int) -> np.random.Generator:
    """Return the random stream from which a world draws what policies cannot know."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[1])


def name_of(policy: object) -> str:
    """Return the name by which a policy is known: its catalogue id when it has one, else its class."""
    return str(getattr(policy, "name", "") or type(policy).__name__)
