"""Units of fine-tuning computed beside the pieces of a step, each with their share of the device's threads."""

from __future__ import annotations

from headway.core.nouns import Seconds
from headway.engines.llm.loop.tuning import Tuning
from headway.policies.serving.nouns import Step


class Beside:
    """Begins the units of a step in a thread of their own; the pieces are computed in this one meanwhile.

    A share of the compute is so many threads, at least one for either. On a GPU both take turns, for there are no
    streams of their own here.

    Parameters
    ----------
    tuning : Tuning
        Who computes units.
    step : Step
        With a share below 1.
    """

    def __init__(self, tuning: Tuning, step: Step) -> None:
        import torch

        self._num_threads = torch.get_num_threads()
        own = min(max(1, round(step.share * self._num_threads)), max(1, self._num_threads - 1))
        rest = max(1, self._num_threads - own)
        torch.set_num_threads(own)  # each thread has a number of its own

        def compute() -> Seconds:
            torch.set_num_threads(rest)
            return tuning.run(step.tune)

        self._units = tuning.beside().submit(compute)

    def join(self) -> Seconds:
        """Wait for the units, and give this thread back what it had; returns how long they took, in seconds."""
        import torch

        took_s = self._units.result()
        torch.set_num_threads(self._num_threads)
        return took_s
