"""Memory reserved for predicted outputs: a request starts when what it and those that run will grow to fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.lengths import MostTokens
from headway.policies.serving.seats import Neighbours, Predict
from headway.policies.serving.state import InstanceState, RequestState


class Reserve:
    """Lets a request start only when memory is left for its predicted output and for that of those who run.

    Reserving much wastes memory and makes others wait; reserving little leads to preemptions when outputs grow.

    Parameters
    ----------
    by : str
        What of a prediction is reserved: ``"mean"``, ``"quantile"`` or ``"max"``, all that was asked for;
        ``"quantile"``.
    quantile : float
        Which, in (0, 1); 0.9.
    sort : bool
        Whether who is predicted to be shortest starts first, instead of who came first; False.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: what "CASTILLO: Characterizing Response Length Distributions of Large Language Models" (2025, arXiv
    2505.16881) says that predicted lengths are good for; ``"max"`` is Orca's rule.

    Changed: nothing is set aside in the books. The seat counts how many blocks those who run will still need, and
    leaves the others in the queue. It lets somebody start whenever nothing runs.

    Cost: a prediction for each that runs and for each that starts, per step.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> instance = InstanceState("gpu", BlockPool(64, block_size=16), num_layers=2)
    >>> for name in "abc":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=160, max_tokens=320)
    ...     instance.waiting[name] = RequestState(request)
    >>> [state.id for state in Reserve(by="max").queue(instance, 0.0)]
    ['a', 'b']
    """

    def __init__(
        self, *, by: Literal["mean", "quantile", "max"] = "quantile", quantile: float = 0.9, sort: bool = False
    ) -> None:
        if not 0 < quantile < 1:
            raise ConfigError(f"serving/reserve: quantile must be in (0, 1), got {quantile}. Try 0.9, the default.")
        self.by = by
        self.quantile = quantile
        self.sort = sort
        self._predict: Predict = MostTokens()

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def join(self, stack: Neighbours) -> None:
        """Use the stack's predictor."""
        self._predict = stack.predict

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Yield those who wait while memory for them is left."""
        return self._fitting(instance) if instance.waiting else ()

    def _fitting(self, instance: InstanceState) -> Iterator[RequestState]:
        kv, waiting = instance.kv, list(instance.waiting.values())
        if self.sort:
            waiting.sort(key=lambda state: (not state.num_preempted, self._predict.output_tokens(state)))
        running = [*instance.running.values(), *instance.flying.values()]
        free = kv.num_free - sum(max(0, kv.blocks_for(self._end(state)) - len(state.blocks)) for state in running)
        alone = not running
        for state in waiting:
            needed = kv.blocks_for(self._end(state))
            if needed > free and not alone:
                return
            yield state
            free, alone = free - needed, False

    def _end(self, state: RequestState) -> int:
        """Return the tokens that a request is taken to come to."""
        most = state.request.max_tokens
        if self.by != "max":
            quantile = self.quantile if self.by == "quantile" else None
            most = min(most, round(self._predict.output_tokens(state, quantile)))
        return state.request.prompt_tokens + max(most, state.output_tokens + 1)
