"""How evenly tokens came: the gap before each token but the first of a request."""

from __future__ import annotations

from collections.abc import Sequence

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

    def one(self, gap_s: Seconds) -> None:
        """Note the gap before a token of one request."""
        self.itl_s.add(gap_s)

    def all(self, decodes: Cohort[RequestState], times_s: Sequence[Seconds]) -> None:
        """Note that all decodes are given a token at each of these times; called before they are."""
        add, num, before_s = self.itl_s.add, len(decodes), decodes.last_s
        if decodes.fresh:
            for state in decodes.fresh.values():
                add(times_s[0] - state.last_token_s)
            if len(decodes.fresh) < num:
                add(times_s[0] - before_s, num - len(decodes.fresh))
            before_s, times_s = times_s[0], times_s[1:]
        for now_s in times_s:
            add(now_s - before_s, num)
            before_s = now_s
