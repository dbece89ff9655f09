"""Do many things at once on a Ray cluster, or on a local Ray."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from headway import __version__
from headway.core.errors import EngineError, HeadwayError, missing_extra

T = TypeVar("T")
R = TypeVar("R")

KNOCK_S = 5.0
"""How long a cluster may take to answer the door."""
NUM_AHEAD = 2
"""Tasks handed out per core of the cluster."""
LOCAL = "local"
"""The address that means: start a Ray of our own here, and stop it afterwards."""


def spread_on_ray(do: Callable[[T], R], tasks: Iterable[T], address: str = LOCAL) -> Iterator[tuple[int, R]]:
    """Do every task on a cluster, one core each; yields its place among the tasks and its result, as they come.

    Parameters
    ----------
    do : callable of (task) -> result
        At the top of a module that every machine of the cluster has.
    tasks : iterable
        Plain data, taken when there is a core for it. Files that it names must be under the same path on every machine.
    address : str
        Of the cluster, such as ``"auto"`` or ``"ray://host:10001"``; `LOCAL` starts one here.

    Raises
    ------
    MissingExtra
        When Ray is not installed.
    EngineError
        When the cluster cannot be reached, or runs another version of this package.
    """
    ray = _ray()
    _join(ray, address)
    try:
        yield from _as_they_come(ray, do, tasks)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, HeadwayError) else EngineError(f"ray: a task failed: {cause!r}.")) from error
    except ray.exceptions.RayError as error:
        raise EngineError(f"ray: the cluster must stay reachable, got: {str(error).splitlines()[0]}.") from error
    finally:
        ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise missing_extra("ray", "ray", "to spread a sweep over machines") from error
    return ray


def _join(ray: Any, address: str) -> None:
    _knock(address)
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {"include_dashboard": False, "num_cpus": len(os.sched_getaffinity(0))}
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        what = str(error).splitlines()[0].rstrip(".")
        raise EngineError(
            f"ray: a cluster must answer at {address!r}, got: {what}. Try --ray-address local."
        ) from error


def _knock(address: str) -> None:
    """Raise when nobody answers at a host and port: Ray itself would go on trying for a long time."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        text = f"ray: a cluster must answer at {address!r}, got: {error}. Try --ray-address {LOCAL}."
        raise EngineError(text) from error


def _as_they_come(ray: Any, do: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R]]:
    def told(task: T) -> tuple[str, R]:
        return __version__, do(task)

    remotely = ray.remote(num_cpus=1, max_retries=2)(told)
    num_ahead = NUM_AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    todo = iter(enumerate(tasks))
    under_way: dict[Any, int] = {}
    while True:
        for place, task in itertools.islice(todo, num_ahead - len(under_way)):
            under_way[remotely.remote(task)] = place
        if not under_way:
            return
        done, _ = ray.wait(list(under_way), num_returns=1)
        for reference in done:
            version, result = ray.get(reference)
            if version != __version__:
                raise EngineError(f"ray: headway must be {__version__} on every machine, got {version} on one.")
            yield under_way.pop(reference), result
