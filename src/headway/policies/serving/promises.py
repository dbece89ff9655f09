"""What one request is promised, as one record that seats can read at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds, Slo
from headway.core.slo import SloClass
from headway.policies.serving.nouns import Request

SLO_CLASSES = (
    SloClass(name="interactive", slos=(Slo("ttft_s", 1.0, 0.95), Slo("tpot_s", 0.1, 0.95)), priority=1),
    SloClass(name="default", slos=(Slo("ttft_s", 5.0, 0.95), Slo("tpot_s", 0.25, 0.95))),
    SloClass(name="batch", priority=-1),
)
"""The promises that requests can name unless an executor is told others."""


class Promise(Struct, frozen=True, gc=False):
    """Bounds that a request was promised, each in seconds and infinite where nothing was.

    Parameters
    ----------
    ttft_s : float
        On the time from arrival to the first token.
    tpot_s : float
        On the mean time per output token after the first.
    e2e_s : float
        On the time from arrival to the last token.
    queue_s : float
        On the time from arrival to the first step.
    """

    ttft_s: Seconds = math.inf
    tpot_s: Seconds = math.inf
    e2e_s: Seconds = math.inf
    queue_s: Seconds = math.inf

    @property
    def is_none(self) -> bool:
        """Whether nothing was promised: best effort."""
        return min(self.ttft_s, self.tpot_s, self.e2e_s, self.queue_s) == math.inf


NO_PROMISE = Promise()
"""Best effort."""


def check_slo_classes(classes: Sequence[SloClass], where: str) -> None:
    """Refuse SLO classes of one name, and those that promise what is not measured.

    Parameters
    ----------
    classes : sequence of SloClass
        The promises that requests can name.
    where : str
        Named in errors.

    Raises
    ------
    ConfigError
        With one sentence on what to change.
    """
    names = [slo_class.name for slo_class in classes]
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: the names of SLO classes must differ, got {', '.join(names)}. Rename one.")
    metrics = Promise.__struct_fields__
    for name, slo in [(slo_class.name, slo) for slo_class in classes for slo in slo_class.slos]:
        if slo.metric not in metrics:
            raise ConfigError(
                f"{where}: SLO class {name!r}: metric must be one of {', '.join(metrics)}, got {slo.metric!r}."
            )


def check_default(default: str, classes: Sequence[SloClass], where: str) -> None:
    """Refuse a default that is none of the classes.

    Raises
    ------
    ConfigError
        With one sentence on what to change.
    """
    names = [slo_class.name for slo_class in classes]
    if default not in names:
        raise ConfigError(
            f"{where}: default_slo_class must be one of the SLO classes ({', '.join(names)}), got {default!r}. "
            "Set it to one of them, or add a class of that name; one without objectives promises nothing."
        )


def listed(classes: Any) -> Any:
    """Return SLO classes that were written as a table by name as a list, and anything else as it is.

    Examples
    --------
    >>> listed({"batch": {"priority": -1}})
    [{'name': 'batch', 'priority': -1}]
    """
    if not isinstance(classes, Mapping) or not all(isinstance(rest, Mapping) for rest in classes.values()):
        return classes
    return [{"name": name, **rest} for name, rest in classes.items()]


def promise_of(slo_class: SloClass) -> Promise:
    """Return the bounds of a class; the quantiles are for whoever counts."""
    return Promise(**{slo.metric: slo.bound for slo in slo_class.slos if slo.metric in Promise.__struct_fields__})


def promised(request: Request, promises: Mapping[str, Promise]) -> Promise:
    """Return what a request is promised: its own bounds, and those of its class where it brought none."""
    found = promises.get(request.slo_class, NO_PROMISE)
    if request.ttft_s is None and request.tpot_s is None and request.deadline_s is None:
        return found
    until_s = math.inf if request.deadline_s is None else request.deadline_s - request.arrival_s
    return Promise(
        ttft_s=found.ttft_s if request.ttft_s is None else request.ttft_s,
        tpot_s=found.tpot_s if request.tpot_s is None else request.tpot_s,
        e2e_s=min(found.e2e_s, until_s),
        queue_s=found.queue_s,
    )
