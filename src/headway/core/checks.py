"""Contract checks: what every mechanism must hold, run from its catalogue row.

`headway check` and the tests run them over all rows; a plug-in's rows are checked in the same way. Each check is a
function of a `Subject` that raises `AssertionError` with a sentence when the contract is broken, or `NotApplicable`.
"""

from __future__ import annotations

import ast
import inspect
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec
import numpy as np

from headway.core import catalogue
from headway.core.actions import Action, Reject, Wake
from headway.core.drivers import World, simulate
from headway.core.errors import ConfigError, HeadwayError
from headway.core.events import Arrived, Event, Failed, Finished, Woke
from headway.core.parameters import clone, decode, params
from headway.core.session import Session
from headway.core.trace import MemoryTrace

DECIDE_BUDGET_S = 0.25
"""No decision in a small world may take longer; a bound for accidents, not a benchmark."""
FORETELLS = "foretells"
"""The tag of mechanisms that are told the truth in advance."""
PLANS = "plans"
"""The tag of mechanisms that search for a plan within a budget of computing time."""
SECTIONS = ("Source", "Faithful to the paper", "Cost", "Examples")


class NotApplicable(Exception):
    """Raised by a check that has nothing to say about this row."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one check said about one row."""

    id: str
    check: str
    status: Literal["passed", "failed", "skipped"]
    why: str = ""
    took_s: float = 0.0


class Subject:
    """One catalogue row under test.

    Parameters
    ----------
    row : Row
        The row.
    """

    def __init__(self, row: catalogue.Row) -> None:
        self.row = row
        self.cls = catalogue.load(row.id)

    def part(self) -> Any:
        """Make the mechanism itself, with its defaults."""
        return self.cls()

    def policy(self) -> Any:
        """Make it as a whole policy, with its defaults."""
        return catalogue.build(self.row.id)

    def world(self, seed: int = 0) -> World[Any]:
        """Make its small world, or its family's."""
        path = self.row.world or catalogue.families()[self.row.family].world
        if not path:
            raise NotApplicable(f"family {self.row.family} has no small world")
        world, _ = catalogue.resolve(path)(seed)
        return world  # type: ignore[no-any-return]

    def run(self, policy: Any, seed: int = 0, world: World[Any] | None = None) -> MemoryTrace:
        """Run a policy through a small world; returns the whole conversation."""
        world = world or self.world(seed)
        trace = MemoryTrace(1_000_000)
        simulate(world, policy, session=Session(policy, world.view, seed=seed, trace=trace))
        return trace


def run(ids: Iterable[str] = ()) -> Iterator[Outcome]:
    """Run every check over the rows named, or over all; yields outcomes as they come.

    Raises
    ------
    UnknownName
        When there is no such row.
    """
    rows = [catalogue.find(id_) for id_ in ids] or catalogue.rows()
    for row in rows:
        try:
            subject = Subject(row)
        except HeadwayError as error:
            yield Outcome(id=row.id, check="can_be_imported", status="failed", why=str(error))
            continue
        for check in CHECKS:
            yield _run_one(check, subject)


def _run_one(check: Callable[[Subject], None], subject: Subject) -> Outcome:
    name, start_s = check.__name__.removeprefix("check_"), time.perf_counter()
    status: Literal["passed", "failed", "skipped"] = "passed"
    why = ""
    try:
        check(subject)
    except NotApplicable as reason:
        status, why = "skipped", str(reason)
    except Exception as error:
        status, why = "failed", f"{type(error).__name__}: {error}"
    return Outcome(id=subject.row.id, check=name, status=status, why=why, took_s=time.perf_counter() - start_s)


# The constructor is the configuration --------------------------------------------------------------------------------


def check_constructor_takes_keywords_only(subject: Subject) -> None:
    """Every argument is keyword-only and has a default."""
    for name, parameter in inspect.signature(subject.cls).parameters.items():
        assert parameter.kind is parameter.KEYWORD_ONLY, f"argument {name!r} must be keyword-only"
        assert parameter.default is not parameter.empty, f"argument {name!r} must have a default"


def check_constructor_stores_its_arguments(subject: Subject) -> None:
    """Arguments are stored under their own names, unchanged."""
    signature = inspect.signature(subject.cls).parameters
    for name, value in params(subject.part()).items():
        default = signature[name].default
        assert default is None or value == default, f"argument {name!r} must be stored unchanged, got {value!r}"


def check_parameters_survive_as_plain_data(subject: Subject) -> None:
    """Parameters written as JSON and read back make the same object."""
    found = params(subject.part())
    try:
        plain = msgspec.json.decode(msgspec.json.encode(found))
    except TypeError as error:
        raise NotApplicable("it has arguments that are objects") from error
    given = {name: value for name, value in plain.items() if value is not None}
    again = params(decode(subject.cls, given, where=subject.row.id))
    assert again == found, f"parameters changed: {found} became {again}"


def check_unknown_parameters_are_errors(subject: Subject) -> None:
    """A misspelt parameter is a configuration error."""
    try:
        catalogue.build(subject.row.id, {"no_such_parameter": 1})
    except ConfigError:
        return
    raise AssertionError("an unknown parameter must be a ConfigError")


# Decisions --------------------------------------------------------------------------------------------------------


def check_same_seed_same_decisions(subject: Subject) -> None:
    """Two runs with one seed make the same decisions."""
    first, second = (subject.run(subject.policy(), seed=3).actions for _ in range(2))
    assert first, "a small world must cause decisions"
    assert first == second, "two runs with one seed must decide the same"


def check_reset_forgets(subject: Subject) -> None:
    """A policy that has run before decides like a fresh one."""
    policy = subject.policy()
    subject.run(policy, seed=1)
    assert subject.run(policy, seed=2).actions == subject.run(subject.policy(), seed=2).actions, "reset must forget all"


def check_clones_and_pickles_decide_the_same(subject: Subject) -> None:
    """A clone and a pickled copy make the same decisions as the original."""
    policy = subject.policy()
    expected = subject.run(policy, seed=4).actions
    copies = {"clone": clone(subject.policy()), "pickled copy": pickle.loads(pickle.dumps(policy))}
    for what, copy in copies.items():
        assert subject.run(copy, seed=4).actions == expected, f"a {what} must decide the same"


def check_the_view_is_only_read(subject: Subject) -> None:
    """No decision changes what it looks at."""
    world = subject.world(5)
    fingerprint = getattr(world.view, "fingerprint", None)
    if fingerprint is None:
        raise NotApplicable("the view has no fingerprint")
    watched = _Watched(subject.policy(), fingerprint)
    subject.run(watched, world=world)
    assert not watched.changed_by, f"the decision on {watched.changed_by[0]} changed the view"


def check_all_work_ends(subject: Subject) -> None:
    """All work that arrives is finished, failed or rejected."""
    for seed in range(3):
        _assert_all_ends(subject.run(subject.policy(), seed=seed))


def check_refusals_are_survived(subject: Subject) -> None:
    """All work ends although every seventh action is refused."""
    world = _Grumpy(subject.world(6))
    _assert_all_ends(subject.run(subject.policy(), seed=6, world=world))
    assert world.num_refused, "the world must have refused something"


def check_legal_actions_only(subject: Subject) -> None:
    """In a plain run nothing is refused."""
    world, policy = subject.world(7), subject.policy()
    report = simulate(world, policy, seed=7)
    assert not report.num_refused, f"actions were refused: {report.refused}"


def check_quiet_when_there_is_nothing_to_do(subject: Subject) -> None:
    """After the last work a wake-up causes no action but, at most, another wake-up."""
    world, policy = subject.world(8), subject.policy()
    subject.run(policy, seed=8, world=world)
    answer = [a for a in policy.decide(Woke(at_s=world.view.now_s), world.view) if not isinstance(a, Wake)]
    assert not answer, f"nothing is left to do, got {answer}"


def check_unknown_events_are_ignored(subject: Subject) -> None:
    """News of work that the policy never heard of is no reason to fail."""
    world, policy = subject.world(9), subject.policy()
    policy.reset(np.random.default_rng(0))
    for event in (Finished(at_s=0.0, id="nobody"), Failed(at_s=0.0, id="nobody", why="test"), _Unheard(at_s=0.0)):
        list(policy.decide(event, world.view))


def check_decisions_take_little_time(subject: Subject) -> None:
    """No decision in a small world takes longer than `DECIDE_BUDGET_S`."""
    if PLANS in subject.row.tags:
        raise NotApplicable("it searches as long as it is told to")
    world, policy = subject.world(10), subject.policy()
    slowest = simulate(world, policy, seed=10).decide_s["max"]
    assert slowest < DECIDE_BUDGET_S, f"a decision took {slowest:.3f} s"


def check_no_clock_and_no_dice(subject: Subject) -> None:
    """The mechanism's module imports no clock, no event loop, no threads and no global dice."""
    module = inspect.getmodule(subject.cls)
    tree = ast.parse(inspect.getsource(module)) if module else ast.Module([], [])
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    forbidden = {name.partition(".")[0] for name in imported} & {"time", "datetime", "asyncio", "threading", "random"}
    assert not forbidden, f"policies must not use {', '.join(sorted(forbidden))}"


def check_hidden_truth_is_not_read(subject: Subject) -> None:
    """In a world that lies about what is hidden, decisions are the same until the first work ends."""
    path = subject.row.lying or catalogue.families()[subject.row.family].lying
    if not path:
        raise NotApplicable(f"family {subject.row.family} has no world that lies")
    if FORETELLS in subject.row.tags:
        raise NotApplicable("it says that it knows the future")
    for seed in (11, 12, 13):
        honest = _until_an_end(subject.run(subject.policy(), seed=seed))
        lying = _until_an_end(subject.run(subject.policy(), seed=seed, world=catalogue.resolve(path)(seed)))
        num = min(len(honest), len(lying))
        assert num > 2, "something must be decided before the first work ends"
        assert honest[:num] == lying[:num], "decisions depended on what no policy can know"


# Words --------------------------------------------------------------------------------------------------------------


def check_docstring_is_whole(subject: Subject) -> None:
    """The docstring has all its sections and describes every parameter."""
    text = inspect.getdoc(subject.cls) or ""
    if subject.row.level == "draft" and text:
        raise NotApplicable("a draft may lack sections")
    missing = [section for section in SECTIONS if section not in text]
    missing += [name for name in inspect.signature(subject.cls).parameters if f"{name} :" not in text]
    assert not missing, f"the docstring lacks {', '.join(missing)}"


def check_source_is_that_of_the_row(subject: Subject) -> None:
    """The docstring names the title, the year and the arXiv id of the row."""
    if subject.row.level == "draft":
        raise NotApplicable("a draft may lack its source")
    text = " ".join((inspect.getdoc(subject.cls) or "").split())
    wanted = [subject.row.title, str(subject.row.year), subject.row.arxiv]
    missing = [fact for fact in wanted if fact and fact not in text]
    assert not missing, f"the docstring's source lacks {', '.join(missing)}"


CHECKS: tuple[Callable[[Subject], None], ...] = tuple(
    function for name, function in list(globals().items()) if name.startswith("check_")
)
"""All checks, in the order in which they stand here."""


class _Unheard(Event, frozen=True, gc=False, kw_only=True):
    """An event of no family."""


class _Watched:
    """A policy whose view is compared before and after each decision."""

    def __init__(self, policy: Any, fingerprint: Callable[[], int]) -> None:
        self._policy = policy
        self._fingerprint = fingerprint
        self.changed_by: list[str] = []

    def reset(self, rng: np.random.Generator) -> None:
        self._policy.reset(rng)

    def decide(self, event: Event, view: Any) -> list[Action]:
        before = self._fingerprint()
        actions = list(self._policy.decide(event, view))
        if self._fingerprint() != before:
            self.changed_by.append(type(event).__name__)
        return actions


class _Grumpy:
    """A world that refuses every seventh action but wake-ups."""

    def __init__(self, world: World[Any]) -> None:
        self._world = world
        self._num_asked = 0
        self.num_refused = 0

    @property
    def view(self) -> Any:
        return self._world.view

    def next(self) -> Event | None:
        return self._world.next()

    def apply(self, action: Action) -> str | None:
        if not isinstance(action, Wake):
            self._num_asked += 1
            if self._num_asked % 7 == 0:
                self.num_refused += 1
                return "this world is in a bad mood"
        return self._world.apply(action)


def _until_an_end(trace: MemoryTrace) -> list[Event | Action]:
    """Return the conversation before the first end of a work, or of the last step before it."""
    ends = [place for place, record in enumerate(trace.records) if isinstance(record, Finished | Failed)]
    return list(trace.records)[: ends[0] if ends else None]


def _assert_all_ends(trace: MemoryTrace) -> None:
    arrived = {record.work.id for record in trace.records if isinstance(record, Arrived)}
    ended = {record.id for record in trace.records if isinstance(record, Finished | Failed | Reject)}
    assert arrived, "a small world must bring work"
    assert arrived <= ended, f"{len(arrived - ended)} of {len(arrived)} never ended, for example {min(arrived - ended)}"
