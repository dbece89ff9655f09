"""When a policy is given up: it leaves requests waiting for nothing, or wakes itself without end."""

from __future__ import annotations

from headway.core.nouns import Seconds

SILENT_S: Seconds = 2.0
"""So long may requests wait without a step under way, an alarm or an answer; then the fallback decides."""
STUCK_S: Seconds = 10.0
"""So long may they wait without a step under way, whatever alarms are set."""
MOST_WAKES = 1000
"""So often may a policy be woken before one step, and `WAKES_EACH` times more for each request that is here."""
WAKES_EACH = 20


class Patience:
    """Watches a policy that decides in somebody else's loop, which it could keep from going on."""

    def __init__(self) -> None:
        self._silent_since_s: Seconds | None = None
        self._num_wakes = 0

    def begin(self) -> None:
        """Note that the next step is asked for."""
        self._num_wakes = 0

    def is_over(self, num_requests: int) -> bool:
        """Note that it is woken once more; says whether that is too often."""
        self._num_wakes += 1
        return self._num_wakes > MOST_WAKES + WAKES_EACH * num_requests

    def is_out(self, now_s: Seconds, *, waits: bool, has_alarm: bool) -> bool:
        """Whether requests have waited for too long; `waits` says that they do, and that no step is under way."""
        if not waits:
            self._silent_since_s = None
            return False
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        if now_s - self._silent_since_s <= (STUCK_S if has_alarm else SILENT_S):
            return False
        self._silent_since_s = None
        return True
