"""What the senders of requests felt, held against what they were promised."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from headway.core.events import Event, Failed
from headway.core.nouns import Id, Slo
from headway.core.slo import SloClass, SloLedger
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished

METRICS = ("queue_s", "ttft_s", "tpot_s", "e2e_s")
"""What is kept of every request that ran to its end."""


class RequestAccounts:
    """The accounts of serving, for a session: every metric of `METRICS`, and how each objective fared.

    A request is good when it met its own objectives and those of its class. One that failed or was turned away (an
    executor tells of both by `Failed`) met none. One that its sender cancelled is not counted at all.

    Parameters
    ----------
    classes : sequence of SloClass
        The promises that requests can name.
    max_open : int
        How many requests that have not ended are remembered, >= 1; the oldest are forgotten first, and then end
        uncounted. It bounds the memory whatever happens.
    """

    def __init__(self, classes: Sequence[SloClass] = (), *, max_open: int = 100_000) -> None:
        self.ledger = SloLedger(classes)
        self.max_open = max_open
        self._open: OrderedDict[Id, tuple[str, tuple[Slo, ...]]] = OrderedDict()

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, RequestArrived):
            self._open[event.work.id] = (event.work.slo_class, _own_slos(event.work))
            if len(self._open) > self.max_open:
                self._open.popitem(last=False)
        elif isinstance(event, RequestFinished | Failed):
            promise = self._open.pop(event.id, None)
            if promise is not None:
                self._count(event, *promise)

    @property
    def num_open(self) -> int:
        """How many requests have arrived and not ended."""
        return len(self._open)

    def _count(self, event: RequestFinished | Failed, slo_class: str, own: tuple[Slo, ...]) -> None:
        if isinstance(event, Failed):
            self.ledger.miss(slo_class, own)
        elif event.reason != "cancelled":
            metrics = {name: getattr(event, name) for name in METRICS}
            if event.output_tokens < 2:
                del metrics["tpot_s"]  # there is no time between one token
            self.ledger.record(slo_class, metrics, own)


def _own_slos(request: Request) -> tuple[Slo, ...]:
    """Return the objectives that the request itself brought, a deadline among them."""
    own = tuple(request.own_slos)
    if request.deadline_s is not None:
        own += (Slo("e2e_s", request.deadline_s - request.arrival_s, 1.0),)
    return own
