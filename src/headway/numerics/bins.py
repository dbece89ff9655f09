"""Items into as few bins of one size as can be, and the last of them as empty as can be.

Items are of kinds. Within a bin the items of a kind lie together, and what they take is rounded up to a multiple.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import ConfigError

MAX_ITEMS = 400
"""With more items than this nothing is searched: the search calls itself once per item."""


def rounded_up(size: int, multiple: int) -> int:
    """Return the smallest multiple that is no smaller than a size."""
    return -(-size // multiple) * multiple


class Bin:
    """What lies in one bin: the numbers of the items, and how much of it they take."""

    def __init__(self, multiple: int) -> None:
        self.items: list[int] = []
        self.plain = 0
        self.taken = 0
        self.sums: dict[str, int] = {}
        self._multiple = multiple

    def with_one(self, size: int, kind: str) -> int:
        """Return how much would be taken with another item in it."""
        old = self.sums.get(kind, 0)
        return self.taken + rounded_up(old + size, self._multiple) - rounded_up(old, self._multiple)

    def put(self, item: int, size: int, kind: str) -> None:
        """Lay an item into it."""
        self.taken = self.with_one(size, kind)
        self.plain += size
        self.sums[kind] = self.sums.get(kind, 0) + size
        self.items.append(item)

    def take_out(self, size: int, kind: str) -> None:
        """Take the last item out again."""
        self.items.pop()
        self.plain -= size
        self.sums[kind] -= size
        if not self.sums[kind]:
            del self.sums[kind]
        self.taken = sum([rounded_up(one, self._multiple) for one in self.sums.values()])


def first_fit(sizes: Sequence[int], kinds: Sequence[str], capacity: int, *, multiple: int = 1) -> list[list[int]]:
    """Put items into bins, the largest first, each into the first bin that has room for it.

    The parameters, the result and the errors are those of `pack`.
    """
    bins: list[Bin] = []
    for item in _decreasing(sizes, capacity, multiple):
        fitting = (one for one in bins if one.with_one(sizes[item], kinds[item]) <= capacity)
        found = next(fitting, None)
        if found is None:
            bins.append(found := Bin(multiple))
        found.put(item, sizes[item], kinds[item])
    return [one.items for one in bins]


def pack(
    sizes: Sequence[int], kinds: Sequence[str], capacity: int, *, multiple: int = 1, max_nodes: int = 2000
) -> list[list[int]]:
    """Put items into as few bins as can be, so that the smallest takes as little as can be; it comes last.

    It starts from first fit and searches depth first, for a smaller number of bins, and then for a smaller last one.

    Parameters
    ----------
    sizes : sequence of int
        How much each item takes, >= 1.
    kinds : sequence of str
        The kind of each item.
    capacity : int
        How much a bin holds, >= 1.
    multiple : int
        What the items of a kind in a bin take together is rounded up to a multiple of this, >= 1; 1.
    max_nodes : int
        How many times an item may be laid into a bin in each of the two searches, >= 0; 2000. No clock: every
        machine finds the same. With 0 the answer is that of first fit.

    Returns
    -------
    list of list of int
        The items of each bin, by number.

    Raises
    ------
    ConfigError
        When an item does not fit into an empty bin.

    Examples
    --------
    >>> pack([5, 4, 4, 3, 2, 2], ["a"] * 6, capacity=10)
    [[1, 2, 5], [0, 3, 4]]
    >>> pack([5, 5], ["a", "b"], capacity=10, multiple=4)
    [[0], [1]]
    """
    found = first_fit(sizes, kinds, capacity, multiple=multiple)
    if max_nodes and len(found) > 1 and len(sizes) <= MAX_ITEMS:
        least = -(-sum(sizes) // capacity)
        for num_bins in range(len(found) - 1, max(least, 1) - 1, -1):
            fewer = _Search(sizes, kinds, capacity, multiple, num_bins, max_nodes).run(capacity, once=True)
            if fewer is None:
                break
            found = fewer
        taken = [_taken(one, sizes, kinds, multiple) for one in found]
        search = _Search(sizes, kinds, capacity, multiple, len(found), max_nodes)
        found = search.run(min(taken) - 1) or found
    return sorted(found, key=lambda one: -_taken(one, sizes, kinds, multiple))


def _taken(items: Sequence[int], sizes: Sequence[int], kinds: Sequence[str], multiple: int) -> int:
    found = Bin(multiple)
    for item in items:
        found.put(item, sizes[item], kinds[item])
    return found.taken


def _decreasing(sizes: Sequence[int], capacity: int, multiple: int) -> list[int]:
    order = sorted(range(len(sizes)), key=lambda item: -sizes[item])
    if order and rounded_up(sizes[order[0]], multiple) > capacity:
        raise ConfigError(
            f"bins: every item must fit into an empty bin, got one of {sizes[order[0]]}, rounded up to a multiple of "
            f"{multiple}, and bins of {capacity}. Make bins larger or cut the item."
        )
    return order


class _Search:
    """Lays the items, the largest first, into a number of bins in all ways that may lead to a smaller first bin."""

    def __init__(
        self, sizes: Sequence[int], kinds: Sequence[str], capacity: int, multiple: int, num_bins: int, max_nodes: int
    ) -> None:
        self._sizes, self._kinds, self._capacity = sizes, kinds, capacity
        self._order = _decreasing(sizes, capacity, multiple)
        self._small, *self._others = (Bin(multiple) for _ in range(num_bins))
        self._nodes_left = max_nodes
        self._rest = sum(sizes)
        self._found: list[list[int]] | None = None

    def run(self, most: int, *, once: bool = False) -> list[list[int]] | None:
        """Return the bins, the first with at most `most` in it, as far below as was found; None if there are none.

        With `once` the first answer is taken.
        """
        self._most, self._once = most, once
        self._lay(0)
        return self._found

    def _lay(self, nth: int) -> None:
        if nth == len(self._order):
            self._found = [list(one.items) for one in (self._small, *self._others)]
            self._most = self._small.taken - 1
            return
        item = self._order[nth]
        size, kind = self._sizes[item], self._kinds[item]
        for one, limit in self._places():
            if self._nodes_left <= 0 or (self._once and self._found is not None):
                return
            if one.with_one(size, kind) > limit:
                continue
            self._nodes_left -= 1
            one.put(item, size, kind)
            self._rest -= size
            if self._may_do():
                self._lay(nth + 1)
            self._rest += size
            one.take_out(size, kind)

    def _places(self) -> list[tuple[Bin, int]]:
        """Return the bins worth a try, and what they may hold: of equal ones one, the fullest first, the small last."""
        distinct = {tuple(sorted(one.sums.items())): one for one in self._others}
        fullest = sorted(distinct.values(), key=lambda one: -one.taken)
        return [(one, self._capacity) for one in fullest] + [(self._small, self._most)]

    def _may_do(self) -> bool:
        """Whether what is left may fit: the other bins take what they have room for, the small one the rest."""
        room = sum([self._capacity - one.plain for one in self._others])
        return self._small.plain + max(0, self._rest - room) <= self._most
