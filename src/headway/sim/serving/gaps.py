"""How evenly tokens came: the gap before each token but the first of a request."""

from __future__ import annotations

from headway.core.nouns import Id, Seconds
from headway.core.quantiles import Quantiles
from headway.policies.serving.state import RequestState


class TokenGaps:
    """Keeps `itl_s`, the time between two tokens of one request; give it to a world as `on_token`.

    Attributes
    ----------
    itl_s : Quantiles
        Of every gap of every request, in seconds.
    """

    def __init__(self) -> None:
        self.itl_s = Quantiles()
        self._last_s: dict[Id, Seconds] = {}

    def __call__(self, state: RequestState, now_s: Seconds) -> None:
        """Note that a request was given a token."""
        before_s = self._last_s.get(state.id)
        if before_s is not None:
            self.itl_s.add(now_s - before_s)
        self._last_s[state.id] = now_s
