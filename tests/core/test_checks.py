"""The contract checks find broken contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from headway.core import catalogue, checks
from headway.core.actions import Action
from headway.core.events import Event
from headway.policies.serving.nouns import RequestArrived
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack

ROW = catalogue.find("serving/sarathi")


class Broken(checks.Subject):
    """A subject whose policy is bent by `bend`."""

    def __init__(self, bend: Callable[[Stack], Any], cls: type[Any] = SarathiServe) -> None:
        super().__init__(ROW)
        self.bend = bend
        self.cls = cls

    def policy(self) -> Any:
        return self.bend(super().policy())


class Bent:
    """A policy that listens to a good one and answers something else."""

    def __init__(self, *, good: Stack | None = None, seen: list[Event] | None = None) -> None:
        self.good = good
        self.seen = [] if seen is None else seen

    def reset(self, rng: np.random.Generator) -> None:
        assert self.good is not None
        self.good.reset(rng)

    def decide(self, event: Event, view: Any) -> Iterator[Action]:
        assert self.good is not None
        yield from self.good.decide(event, view)


class Deaf(Bent):
    def decide(self, event: Event, view: Any) -> Iterator[Action]:
        if not isinstance(event, RequestArrived) or not event.work.id.endswith("1"):
            yield from super().decide(event, view)


class Meddling(Bent):
    def decide(self, event: Event, view: Any) -> Iterator[Action]:
        view.now_s += 1.0
        yield from super().decide(event, view)


class Forgetless(Bent):
    """It stops taking work once it has seen enough events, and no reset helps."""

    def decide(self, event: Event, view: Any) -> Iterator[Action]:
        self.seen.append(event)
        if len(self.seen) < 40:
            yield from super().decide(event, view)


@pytest.mark.parametrize(
    ("check", "bend"),
    [
        (checks.check_all_work_ends, lambda stack: Deaf(good=stack)),
        (checks.check_the_view_is_only_read, lambda stack: Meddling(good=stack)),
    ],
)
def test_a_bent_policy_fails_its_check(check: Callable[[checks.Subject], None], bend: Callable[[Stack], Any]) -> None:
    check(Broken(lambda stack: stack))
    with pytest.raises(AssertionError):
        check(Broken(bend))


def test_a_policy_that_remembers_across_resets_fails() -> None:
    with pytest.raises(AssertionError, match="reset must forget"):
        checks.check_reset_forgets(Broken(lambda stack: Forgetless(good=stack)))


def test_constructors_that_work_or_take_positions_fail() -> None:
    class Positional:
        def __init__(self, budget: int = 1) -> None:
            self.budget = budget * 2

    subject = Broken(lambda stack: stack, cls=Positional)
    with pytest.raises(AssertionError, match="keyword-only"):
        checks.check_constructor_takes_keywords_only(subject)
    with pytest.raises(AssertionError, match="stored unchanged"):
        checks.check_constructor_stores_its_arguments(subject)
    with pytest.raises(AssertionError, match="lacks"):
        checks.check_docstring_is_whole(subject)


def test_run_reports_every_check_of_every_row() -> None:
    outcomes = list(checks.run(["serving/orca"]))
    assert [outcome.check for outcome in outcomes] == [c.__name__.removeprefix("check_") for c in checks.CHECKS]
    assert {outcome.id for outcome in outcomes} == {"serving/orca"}
    assert all(outcome.took_s >= 0 for outcome in outcomes)
