"""How evenly tokens came: the gap before each token but the first of a request."""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub

from headway.core.nouns import Seconds
from headway.core.quantiles import Quantiles
from headway.policies.serving.cohort import Cohort
from headway.policies.serving.state import RequestState


class TokenGaps:
    """Keeps `itl_s`, the time between two tokens of one request; give it to a world.

    Attributes
    ----------
    itl_s : Quantiles
        Of every gap of every request, in seconds.
    """

    def __init__(self) -> None:
        self.itl_s = Quantiles()

    def one(self, gap_s: Seconds, num: int = 1) -> None:
        """Note the gap before a token of one request, or before each of `num`."""
        self.itl_s.add(gap_s, num)

    def all(self, decodes: Cohort[RequestState], times_s: Sequence[Seconds]) -> None:
        """Note that all decodes are given a token at each of these times; called before they are."""
        num, before_s = len(decodes), decodes.last_s
        if decodes.fresh:
            add = self.itl_s.add
            for state in decodes.fresh.values():
                add(times_s[0] - state.last_token_s)
            if len(decodes.fresh) < num:
                add(times_s[0] - before_s, num - len(decodes.fresh))
        else:
            self.itl_s.add(times_s[0] - before_s, num)
        if len(times_s) > 1:
            self.itl_s.add_all(map(sub, times_s[1:], times_s), num)
