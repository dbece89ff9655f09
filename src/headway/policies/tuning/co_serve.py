"""Tokens of fine-tuning in the same batch as those of requests, within a budget of tokens per step."""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.harli import next_layers
from headway.policies.tuning.observed import carrying


class CoServe:
    """Fills every step up to a budget of tokens with fine-tuning.

    Tokens of requests come first. What the budget leaves is spent on a microbatch: its tokens through so many layers as
    come to that many tokens through all. Both are computed in one batch where the executor can do so (it reads weights
    once then, and hands out all tokens at the end); otherwise the units follow the pieces.

    Parameters
    ----------
    serve : str or table
        Who serves; ``"serving/sarathi"``. Its own budget should not be larger than this one's.
    token_budget : int
        Tokens of a step, both together, >= 1; 384. It must suit the promised time per token.

    Source
    ------
    Token-level co-serving in the style of "FlexLLM: Token-Level Co-Serving of LLM Inference and Finetuning with SLO
    Guarantees", Oliaro, Miao, Cheng, Kada, Wu, Gao, Huang, Delacourt, Yang, Wang, Unger, Jia, 2024, arXiv 2402.18789,
    from memory: one of the baselines that the specification of Harli (arXiv 2511.11729) lists.

    Faithful to the paper
    ---------------------
    In that inference goes first and the rest of a budget is for fine-tuning, in one batch. There, the budget follows
    from a profile and the objectives, at every step; tokens of one sequence are cut along the sequence, here a
    microbatch is cut along the layers. Memory of activations is not reduced by graph pruning.
    """

    def __init__(self, *, serve: str | dict[str, Any] = "serving/sarathi", token_budget: int = 384) -> None:
        if token_budget < 1:
            raise ConfigError(f"tuning/co-serve: token_budget must be >= 1, got {token_budget}. Try 384.")
        self.serve = serve
        self.token_budget = token_budget

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def hear(self, event: Event, view: ServingView) -> None:
        """Nothing to learn."""

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        """Return a step filled up to the budget."""
        num_layers = layers_worth(job, self.token_budget - step.num_tokens)
        if step.speculate or num_layers < 1:
            return step
        return carrying(step, job, num_layers, fused="fuse" in view.can)

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return a step with a budget full of fine-tuning alone."""
        num_layers = max(1, layers_worth(job, self.token_budget))
        return Step(instance=instance.id, pieces=(), tune=next_layers(job, num_layers))


def layers_worth(job: JobState, tokens: int) -> int:
    """Return through how many layers a microbatch passes for what so many tokens through all layers cost."""
    return max(0, tokens) * job.job.num_layers // max(1, job.tokens)
