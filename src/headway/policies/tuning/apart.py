"""Instances set apart for fine-tuning: serving does not see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast, runtime_checkable

from headway.core.nouns import Id, Resource
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState


@runtime_checkable
class SetsApart(Protocol):
    """A share seat that may have it, too: instances that train and serve nothing."""

    def trains_at(self, view: ServingView) -> Collection[Id]:
        """Return the instances that are set apart; jobs are placed there and nowhere else."""


class _Without:
    """A view in which some instances are missing."""

    def __init__(self, view: ServingView, apart: Collection[Id]) -> None:
        self._view = view
        self._apart = apart

    @property
    def instances(self) -> Mapping[Id, InstanceState]:
        return _left(self._view.instances, self._apart)

    @property
    def resources(self) -> Mapping[Id, Resource]:
        return _left(self._view.resources, self._apart)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


def without(view: ServingView, apart: Collection[Id]) -> ServingView:
    """Return a view in which some instances are missing."""
    return cast(ServingView, _Without(view, apart))


def _left(every: Mapping[Id, Any], apart: Collection[Id]) -> Mapping[Id, Any]:
    return MappingProxyType({name: one for name, one in every.items() if name not in apart})
