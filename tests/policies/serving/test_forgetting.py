"""A server runs for weeks: no mechanism may keep something of every request, or session, that it has ever served."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from headway.core import catalogue
from headway.core.drivers import simulate
from headway.core.session import Session
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import InstanceState
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld

MODULE = "headway.policies"
IDS = [row.id for row in catalogue.rows("serving") if row.id != "serving/stack" and "foretells" not in row.tags]


def strings(thing: Any, seen: set[int]) -> Iterator[str]:
    """Yield all texts that are to be found in what an object keeps, those in instances of the world excepted."""
    if isinstance(thing, str):
        yield thing
    elif id(thing) not in seen and not isinstance(thing, InstanceState):
        seen.add(id(thing))
        for part in _parts(thing):
            yield from strings(part, seen)


def _parts(thing: Any) -> Collection[Any]:
    if isinstance(thing, Mapping):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return thing
    if not type(thing).__module__.startswith(MODULE) or isinstance(thing, type):
        return ()
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    fields = [*slots, *getattr(type(thing), "__struct_fields__", ())]
    return [*vars(thing).values()] if hasattr(thing, "__dict__") else [getattr(thing, name, None) for name in fields]


@pytest.mark.parametrize("id_", IDS)
def test_nothing_is_kept_of_requests_and_sessions_that_have_ended(id_: str) -> None:
    policy = catalogue.build(id_)
    requests = [
        structs.replace(true, request=structs.replace(true.request, session=f"session-{true.request.id}"))
        for true in RandomRequests(num_requests=60).draw(0)
    ]
    world = ServingWorld(requests, [InstanceState(name, BlockPool(80), num_layers=8) for name in "ab"])
    simulate(world, policy, session=Session(policy, world.view))
    assert world.num_left == 0
    left = {text for text in strings(policy, set()) if text in {f"r{n}" for n in range(60)} or text[:8] == "session-"}
    # Those who ran when somebody last looked may still be known.
    assert len(left) <= 10, sorted(left)


def test_what_is_kept_is_found() -> None:
    policy = catalogue.build("serving/continuum")
    policy.reset(np.random.default_rng(0))
    policy.order.begin("session-x", 0.0)
    assert "session-x" in set(strings(policy, set()))
