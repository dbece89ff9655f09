"""The bubble rule: how far apart two global batches of one adapter must lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from headway.core.nouns import Id
from headway.policies.tuning.lorafusion_nouns import Mix


class Distance:
    """Walks along a sequence of microbatches and says how many are missing before each.

    Between the last microbatch with examples of an adapter's global batch and the first with examples of its next one
    there must be so many others that the first has left the pipeline: the distance is at least the number of stages.
    """

    def __init__(self, num_stages: int) -> None:
        self._num_stages = num_stages
        self._place = 0
        self._last: dict[tuple[Id, int], int] = {}

    def missing(self, mix: Mix) -> int:
        """Return how many more microbatches must come before this one."""
        found = [self._last.get((part.job, part.batch - 1)) for part in mix.parts]
        return max([0, *(last + self._num_stages - self._place for last in found if last is not None)])

    def add(self, mix: Mix) -> None:
        """Take a step."""
        for part in mix.parts:
            self._last[part.job, part.batch] = self._place
        self._place += 1


def spaced(mixes: Iterable[Mix], num_stages: int, under_way: Sequence[Mix] = ()) -> list[Mix]:
    """Put empty microbatches wherever the distance is too short, also from those that are under way."""
    return list(_spaced(mixes, num_stages, under_way))


def _spaced(mixes: Iterable[Mix], num_stages: int, under_way: Sequence[Mix]) -> Iterator[Mix]:
    distance = Distance(num_stages)
    for mix in under_way:
        distance.add(mix)
    for mix in mixes:
        for one in [Mix()] * distance.missing(mix) + [mix]:
            distance.add(one)
            yield one


def num_missing(mixes: Iterable[Mix], num_stages: int) -> int:
    """Return how many empty microbatches `spaced` would put between these."""
    distance, found = Distance(num_stages), 0
    for mix in mixes:
        missing = distance.missing(mix)
        found += missing
        for one in [Mix()] * missing + [mix]:
            distance.add(one)
    return found
