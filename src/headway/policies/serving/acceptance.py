"""How often drafted tokens prove right, learnt from what requests were given."""

from __future__ import annotations

from collections.abc import Mapping

from headway.core.nouns import Id
from headway.policies.serving.state import InstanceState

PRIOR_FRAC = 0.7
PRIOR_TOKENS = 20.0
FORGET = 0.9995


class Acceptance:
    """The share of drafted tokens that are right, each given that those before it were."""

    def __init__(self) -> None:
        self._right, self._checked = PRIOR_FRAC * PRIOR_TOKENS, PRIOR_TOKENS
        self._drafted: dict[Id, dict[Id, tuple[int, int]]] = {}

    @property
    def frac(self) -> float:
        """The share, in (0, 1)."""
        return self._right / self._checked

    def note(self, instance: InstanceState, drafts: Mapping[Id, int]) -> None:
        """Note what a step that is about to begin drafts."""
        self._drafted[instance.id] = {
            name: (num, instance.running[name].output_tokens)
            for name, num in drafts.items()
            if name in instance.running
        }

    def look(self, instance: InstanceState) -> None:
        """Learn from the latest step of an idle instance. Who has ended with it is left out."""
        for name, (drafted, before) in self._drafted.pop(instance.id, {}).items():
            state = instance.running.get(name)
            right = state.output_tokens - before - 1 if state is not None else -1
            if right >= 0:
                self._right = self._right * FORGET + right
                self._checked = self._checked * FORGET + right + (right < drafted)
