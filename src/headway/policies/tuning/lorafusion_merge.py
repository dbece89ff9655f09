"""The merge pass: room that a global batch leaves in its last microbatch is filled from those that follow."""

from __future__ import annotations

from headway.core.nouns import Id
from headway.policies.tuning.lorafusion_nouns import Mix, apart, merged
from headway.policies.tuning.lorafusion_rule import num_missing


class _Merging:
    def __init__(self, mixes: list[Mix], capacity_tokens: int, tile_tokens: int, num_stages: int) -> None:
        self.mixes = mixes
        self._capacity_tokens = capacity_tokens
        self._tile_tokens = tile_tokens
        self._num_stages = num_stages

    def room(self, place: int) -> int:
        """Tokens that are free at a place."""
        return self._capacity_tokens - self.mixes[place].padded_tokens(self._tile_tokens)

    def fill(self, place: int, lookahead: int) -> bool:
        """Bring something from one of the following microbatches to a place; says whether anything came."""
        following = range(place + 1, min(place + 1 + lookahead, len(self.mixes)))
        by_size = sorted(following, key=lambda other: self.mixes[other].tokens)
        return any(self._whole(place, other) for other in by_size) or any(self._some(place, other) for other in by_size)

    def _whole(self, place: int, other: int) -> bool:
        return self._commit(place, other, merged(self.mixes[place], self.mixes[other]), None)

    def _some(self, place: int, other: int) -> bool:
        """Move examples, the smallest first, as long as they fit."""
        ones, here, num = apart(self.mixes[other]), self.mixes[place], 0
        for one in ones:
            if self._is_too_large(larger := merged(here, one)):
                break
            here, num = larger, num + 1
        return 0 < num < len(ones) and self._commit(place, other, here, merged(*ones[num:]))

    def _commit(self, place: int, other: int, here: Mix, there: Mix | None) -> bool:
        """Take the change if there is room, the jobs stay in order, and no more empty microbatches are needed."""
        if self._is_too_large(here) or len({part.job for part in here.parts}) < len(here.parts):
            return False
        first, end = max(0, place - self._num_stages), other + self._num_stages + 1
        before, behind = self.mixes[first:place], self.mixes[other + 1 : end]
        between = self.mixes[place + 1 : other]
        after = [here, *between, *([there] if there is not None else [])]
        old = self.mixes[first:end]
        if not _in_order(before + after + behind):
            return False
        if num_missing(before + after + behind, self._num_stages) > num_missing(old, self._num_stages):
            return False
        self.mixes[place : other + 1] = after
        return True

    def _is_too_large(self, mix: Mix) -> bool:
        return mix.padded_tokens(self._tile_tokens) > self._capacity_tokens


def merge_pass(
    mixes: list[Mix], capacity_tokens: int, tile_tokens: int, num_stages: int, merge_tokens: int, lookahead: int
) -> list[Mix]:
    """Fill each microbatch that has `merge_tokens` free or more from the `lookahead` ones behind it.

    The smallest that fits comes as a whole; if none does, examples of one of them come, the smallest first. A change
    is made only if it needs no more empty microbatches than before.
    """
    merging, place = _Merging(list(mixes), capacity_tokens, tile_tokens, num_stages), 0
    while place < len(merging.mixes):
        while merging.room(place) >= merge_tokens and merging.fill(place, lookahead):
            pass
        place += 1
    return merging.mixes


def _in_order(mixes: list[Mix]) -> bool:
    """Whether the examples of each global batch come after those of the batch before."""
    at: dict[Id, int] = {}
    for part in [part for mix in mixes for part in mix.parts]:
        if at.get(part.job, part.batch) > part.batch:
            return False
        at[part.job] = part.batch
    return True
